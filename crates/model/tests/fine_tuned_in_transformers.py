"""Opens a classifier that `idiolect train` wrote in Transformers, and compares its answers with those of `idiolect predict`.

Usage: fine_tuned_in_transformers.py MODEL_DIR PREDICTIONS.jsonl
(idiolect predict --json --model MODEL_DIR < TEXTS > PREDICTIONS.jsonl)
"""
import json
import sys
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

folder, predictions = sys.argv[1:3]
config = AutoConfig.from_pretrained(folder)
assert config.architectures[0].endswith("ForSequenceClassification"), config.architectures
assert {name: number for number, name in config.id2label.items()} == config.label2id
model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
problems = {key: value for key, value in info.items() if value}
assert not problems, problems
tokenizer = AutoTokenizer.from_pretrained(folder)
worst, labels, count = 0.0, 0, 0
with torch.no_grad():
    for line in open(predictions, encoding="utf8"):
        ours = json.loads(line)
        inputs = tokenizer(ours["text"], return_tensors="pt", truncation=True, max_length=config.max_position_embeddings)
        theirs = model.eval()(**inputs).logits.softmax(-1)[0]
        difference = [abs(theirs[config.label2id[name]].item() - p) for name, p in ours["probabilities"].items()]
        assert len(difference) == config.num_labels
        worst = max(worst, *difference)
        labels += config.id2label[theirs.argmax().item()] == ours["label"]
        count += 1
print(f"{config.architectures[0]}: {labels} of {count} labels the same, probabilities differ by at most {worst:.1e}")
assert labels == count and worst < 1e-4
