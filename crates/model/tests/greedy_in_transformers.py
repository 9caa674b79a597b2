"""Greedy ids of `idiolect generate` beside Transformers', on the same weights in f32.

Usage: greedy_in_transformers.py IDIOLECT OURS FOLDER    (OURS: a GGUF file or a folder; FOLDER: the same weights for Transformers)
20 prompts, 64 ids each. Ids may differ only from a place on where the two best logits lie within 1e-4. Also compares the
log-probability of every id of prompt and answer, in units of the standard deviation of the logits there.
"""
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at", "1, 2, 3, 4,", "Dear Sir or Madam,",
    "Die Würde des Menschen", "The theory of relativity states that", "SELECT name FROM", "In 1969,", "Q: What is 12 * 12?\nA:",
    "She opened the door and", "The three laws of robotics are", "import numpy as np\n", "To make bread, you need", "Once  there   were",
    "日本の首都は", "Les enfants jouent dans", "<html>\n<body>", "The opposite of hot is",
]
N_NEW = 64
idiolect, ours, folder = sys.argv[1:4]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
same, near, worst = 0, 0, 0.0
for prompt in PROMPTS:
    options = ["--max-new-tokens", str(N_NEW), "--dtype", "f32", "--echo", "--logprobs", "--json"]
    run = subprocess.run([idiolect, "generate", "--model", ours, "--prompt", prompt, *options], check=True, capture_output=True, text=True)
    line = json.loads(run.stdout)
    start, ids = line["prompt_ids"], line["ids"]
    with torch.no_grad():
        logits = model(torch.tensor([start + ids])).logits[0].double()
    scores = logits.log_softmax(-1)
    said = line["prompt_logprobs"][1:] + line["logprobs"]
    for at, (id, score) in enumerate(zip((start + ids)[1:], said)):
        worst = max(worst, abs(scores[at, id].item() - score) / logits[at].std().item())
    place = next((i for i, id in enumerate(ids) if logits[len(start) - 1 + i].argmax().item() != id), None)
    if place is None:
        same += 1
    else:
        best = logits[len(start) - 1 + place].topk(2).values
        near += (best[0] - best[1]).item() < 1e-4
        print(f"{prompt!r}: id {place} differs, the two best logits there lie {(best[0] - best[1]).item():.2e} apart")
print(f"{len(PROMPTS)} prompts: {same} the same, {near} differ where two logits are nearly equal, {len(PROMPTS) - same - near} differ")
print(f"log-probabilities differ by at most {worst:.2e} of the logits' standard deviation")
