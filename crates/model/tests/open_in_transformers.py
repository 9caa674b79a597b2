"""Opens each folder given, as `examples/save_all.rs` writes it, in Transformers, and compares logits. Every family is among them.

Usage: cargo run -p idiolect-model --example save_all -- OUT && python open_in_transformers.py OUT/*
"""
import pathlib
import sys
import warnings
import torch
import transformers as tf
from safetensors.torch import load_file

for name in sys.argv[1:]:
    folder = pathlib.Path(name)
    expected = load_file(folder / "expected.safetensors")
    config = tf.AutoConfig.from_pretrained(folder)
    kind = getattr(tf, config.architectures[0])
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    problems = {key: value for key, value in info.items() if value}
    assert not problems, (name, problems)
    with torch.no_grad():
        logits = model.eval()(input_ids=expected["ids"]).logits
    error = (logits - expected["logits"]).abs().max().item()
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{folder.name}: {config.architectures[0]}, {count} parameters, logits of deviation {logits.std():.2f} differ by {error:.1e}")
    assert error < 2e-5 * max(1.0, logits.std().item())
