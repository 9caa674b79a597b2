"""The PyTorch side of `cargo xtask bench train-step`: a GPT-2-shaped model, one process, CPU.

Usage: train_step.py tiny|small|gpt2 eager|compile f32|bf16
Prints one JSON line: median milliseconds a step, tokens a second, and the peak of resident memory net of what the
process held once the library was loaded. A step is forward, cross-entropy, backward, clipping to norm 1, fused AdamW, reading the loss.
"""
import json, resource, statistics, sys, time
import torch
import torch.nn as nn
import torch.nn.functional as F

#          layers heads width context batch vocab steps
SHAPES = {
    "tiny":  (4,  4, 128,  64, 12,    65, 60),
    "small": (6,  6, 384, 256,  4,    65, 10),
    "gpt2":  (12, 12, 768, 256, 2, 50304,  5),
}


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, layers, heads, width, context, vocab):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids, labels):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.token.weight.T
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


def main():
    shape, mode, dtype = sys.argv[1:4]
    layers, heads, width, context, batch, vocab, steps = SHAPES[shape]
    torch.manual_seed(0)
    loaded = peak_mib()
    model = Gpt(layers, heads, width, context, vocab)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    run = torch.compile(model) if mode == "compile" else model
    ids, labels = torch.randint(vocab, (batch, context)), torch.randint(vocab, (batch, context))
    times = []
    for step in range(steps + 3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            loss = run(ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        if step >= 3:
            times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(json.dumps({
        "side": "pytorch-" + mode, "shape": shape, "dtype": dtype, "ms_per_step": round(median * 1e3, 3),
        "tokens_per_s": round(batch * context / median), "peak_mib": round(peak_mib() - loaded),
    }))


main()
