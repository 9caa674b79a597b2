"""The peers' side of `cargo xtask bench embed`: sentences through a BERT by ONNX Runtime or Transformers, CPU, 2 threads, f32.

Usage: embed.py prepare MODEL_DIR ROWS.tsv FOLDER   1,000 sentences in FOLDER/sentences.txt, the model in FOLDER/encoder.onnx
       embed.py onnx|transformers MODEL_DIR FOLDER
Batches of 32 sorted by length, padded. Prints one JSON line: sentences a second, the best of three; tokenising is not counted.
"""
import json, pathlib, sys, time
import torch
from transformers import AutoModel, AutoTokenizer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
torch.set_num_threads(2)


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


def batches_of(model, sentences):
    tokenizer = AutoTokenizer.from_pretrained(model)
    return [tokenizer(sentences[i:i + 32], padding=True, return_tensors="pt") for i in range(0, len(sentences), 32)]


def prepare(model, rows, folder):
    lines = pathlib.Path(rows).read_text(encoding="utf8").splitlines()
    sentences = sorted((line.rsplit("\t", 1)[0] for line in lines), key=len)[::6][:1000]
    (folder / "sentences.txt").write_text("\n".join(sentences) + "\n", encoding="utf8")
    batch = batches_of(model, sentences[:32])[0]
    exported = Encoder(AutoModel.from_pretrained(model, attn_implementation="eager").eval())
    axes = {name: {0: "batch", 1: "time"} for name in (*INPUTS, "hidden_states")}
    torch.onnx.export(exported, tuple(batch[name] for name in INPUTS), str(folder / "encoder.onnx"), input_names=list(INPUTS),
                      output_names=["hidden_states"], dynamic_axes=axes, dynamo=False, opset_version=17)


def run(side, model, folder):
    sentences = (folder / "sentences.txt").read_text(encoding="utf8").splitlines()
    batches = batches_of(model, sentences)
    if side == "onnx":
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), options)
        embed = lambda batch: session.run(None, {name: batch[name].numpy() for name in INPUTS})
    else:
        encoder = AutoModel.from_pretrained(model).eval()
        embed = lambda batch: encoder(**batch)
    rates = []
    with torch.no_grad():
        for _ in range(3):
            begin = time.perf_counter()
            for batch in batches:
                embed(batch)
            rates.append(len(sentences) / (time.perf_counter() - begin))
    print(json.dumps({"side": side, "sentences_per_s": max(rates)}))


if sys.argv[1] == "prepare":
    prepare(sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4]))
else:
    run(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))
