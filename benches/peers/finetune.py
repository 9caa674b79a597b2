"""The Transformers side of `cargo xtask bench finetune`: a sequence classifier on rows of sentence TAB label.

Usage: finetune.py MODEL_DIR DATA_DIR SEED [EPOCHS]
The settings of recipes/sentiment: batches of 32, AdamW at 5e-5 with decay 0.01, 40 warm-up steps, then linear to zero,
clipping to 1, at most 64 ids. Rows are sorted by length within 50 batches. f32, dropout as the model's configuration says.
One JSON line: seconds of all training steps (tokenising in them, evaluation not) and the accuracy after the last.
"""
import json, pathlib, random, sys, time
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROWS, RATE, WARMUP, WINDOW = 32, 5e-5, 40, 50


def rows_of(path):
    lines = path.read_text(encoding="utf8").splitlines()
    return [(text, int(label)) for text, label in (line.rsplit("\t", 1) for line in lines)]


def batches_of(rows, random):
    rows = random.sample(rows, len(rows))
    batches = []
    for start in range(0, len(rows), ROWS * WINDOW):
        window = sorted(rows[start:start + ROWS * WINDOW], key=lambda row: len(row[0]))
        batches += [window[i:i + ROWS] for i in range(0, len(window), ROWS)]
    random.shuffle(batches)
    return batches


def main():
    base, data, seed = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    epochs = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    torch.manual_seed(seed)
    order = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    train, dev = rows_of(data / "sst2_train.tsv"), rows_of(data / "sst2_dev.tsv")
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    steps = epochs * -(-len(train) // ROWS)
    share = lambda step: min((step + 1) / WARMUP, (steps - step) / (steps - WARMUP))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)

    def encoded(batch):
        texts = [text for text, _ in batch]
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        return inputs, torch.tensor([label for _, label in batch])

    model.train()
    seconds = 0.0
    for _ in range(epochs):
        batches = batches_of(train, order)
        begun = time.perf_counter()
        for batch in batches:
            inputs, labels = encoded(batch)
            model(**inputs, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        seconds += time.perf_counter() - begun
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(dev), 64):
            inputs, labels = encoded(dev[start:start + 64])
            right += (model(**inputs).logits.argmax(-1) == labels).sum().item()
    print(json.dumps({"side": "transformers", "seconds": seconds, "accuracy": {"value": right / len(dev)}}))


main()
