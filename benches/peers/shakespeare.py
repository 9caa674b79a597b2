"""The plain PyTorch side of `cargo xtask bench shakespeare`: nanoGPT's published CPU setting.

Usage: shakespeare.py tinyshakespeare.txt [steps]
4 layers, 4 heads, width 128, context 64, batch 12, no dropout, no biases, AdamW (0.9, 0.99), decay 0.1, rate 1e-3 to 1e-4 by cosine
after 100 warm-up steps, clip 1. Held out: the last tenth of the characters. One JSON line: training seconds, and the loss over the
whole held-out text after the last step, in windows of 64 with stride 64 (its time is not counted).
"""
import json, math, sys, time
import torch
import torch.nn as nn
import torch.nn.functional as F

T, B, D, HEADS, LAYERS = 64, 12, 128, 4, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(D, bias=False), nn.LayerNorm(D, bias=False)
        self.qkv, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
        self.up, self.down = nn.Linear(D, 4 * D, bias=False), nn.Linear(4 * D, D, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, HEADS, d // HEADS).transpose(1, 2) for y in self.qkv(self.norm_attention(x)).split(D, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x))))


class Gpt(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, D), nn.Embedding(T, D)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(D, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS))

    def forward(self, ids):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.token.weight.T


def held_out_loss(model, held):
    rows = (len(held) - 1) // T
    x, y = held[:rows * T].view(rows, T), held[1:rows * T + 1].view(rows, T)
    with torch.no_grad():
        total = sum(F.cross_entropy(model(x[i:i + 256]).flatten(0, 1), y[i:i + 256].flatten(), reduction="sum").item()
                    for i in range(0, rows, 256))
    return total / (rows * T)


def learning_rate(step, steps):
    if step < 100:
        return 1e-3 * (step + 1) / 100
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (steps - 100))) * 9e-4


def main():
    torch.manual_seed(1337)
    text, steps = open(sys.argv[1], encoding="utf8").read(), int((sys.argv[2:] or ["2000"])[0])
    chars = sorted(set(text))
    index = {c: i for i, c in enumerate(chars)}
    ids = torch.tensor([index[c] for c in text])
    cut = int(len(ids) * 0.9)
    train, held = ids[:cut], ids[cut:]
    model = Gpt(len(chars))
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.99), fused=True)
    start = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        rows = torch.randint(len(train) - T, (B,))
        x, y = torch.stack([train[i:i + T] for i in rows]), torch.stack([train[i + 1:i + T + 1] for i in rows])
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - start
    print(json.dumps({"side": "pytorch", "steps": steps, "train_s": round(seconds, 3), "held_out_nats": round(held_out_loss(model, held), 4)}))


main()
