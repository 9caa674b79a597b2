"""Random models of each family that GGUF files are written of, exported by `idiolect export` as F32 and run in llama.cpp: logits
are Transformers' but for the 16 bits of llama.cpp's cache.

Usage: python families_in_llama_cpp.py IDIOLECT FOLDER    (needs llama-cpp-python, transformers; IDIOLECT is the binary)
FOLDER is a model's with a byte-level tokenizer that has a name in llama.cpp, such as SmolLM2's.
"""
import pathlib, shutil, subprocess, sys, tempfile
import llama_cpp, numpy as np, torch, transformers as tf

idiolect, texts = sys.argv[1], pathlib.Path(sys.argv[2])
vocab = tf.AutoTokenizer.from_pretrained(texts).vocab_size
sizes = dict(vocab_size=vocab, hidden_size=64, intermediate_size=128, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=256, tie_word_embeddings=True)
gemma = dict(sizes, head_dim=32, query_pre_attn_scalar=32, sliding_window=16)


def llama(**rope):
    return tf.LlamaForCausalLM(tf.LlamaConfig(**sizes, rope_parameters=dict(rope_theta=10000.0) | rope))


torch.manual_seed(0)
MODELS = {
    "llama": llama(rope_type="default"),
    "linear": llama(rope_type="linear", factor=4.0),
    "yarn": llama(rope_type="yarn", factor=4.0, original_max_position_embeddings=64),
    "llama3": llama(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
    "mistral": tf.MistralForCausalLM(tf.MistralConfig(**sizes, sliding_window=None)),
    "qwen2": tf.Qwen2ForCausalLM(tf.Qwen2Config(**sizes)),
    "qwen3": tf.Qwen3ForCausalLM(tf.Qwen3Config(**sizes, head_dim=32)),
    "gemma2": tf.Gemma2ForCausalLM(tf.Gemma2Config(**gemma)),
    "gemma3": tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**gemma)),
    "gpt2": tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=vocab, n_embd=64, n_layer=3, n_head=4, n_positions=256)),
}
scratch = pathlib.Path(tempfile.mkdtemp())
for name, model in MODELS.items():
    for key, parameter in model.named_parameters():
        # Norms near one, which Gemma's are without a number in its files.
        shift = 1.0 if ("norm" in key or "ln_" in key) and key.endswith("weight") and not name.startswith("gemma") else 0.0
        parameter.data = torch.randn_like(parameter) * (0.3 if parameter.dim() < 2 else 0.12) + shift
    folder, file = scratch / name, scratch / f"{name}.gguf"
    model.save_pretrained(folder)
    for other in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(texts / other, folder)
    subprocess.run([idiolect, "export", folder, file, "--type", "F32"], check=True, capture_output=True)
    ids = torch.randint(0, vocab, (1, 48))
    with torch.no_grad():
        expected = model.eval()(ids).logits[0].numpy()
    runner = llama_cpp.Llama(str(file), n_ctx=256, n_threads=2, verbose=False, logits_all=True)
    runner.eval(ids[0].tolist())
    got = np.asarray(runner.scores[:48])
    error = float(np.abs(got - expected).max() / expected.std())
    print(f"{name}: logits differ by at most {error:.4f} of their deviation", flush=True)
    assert error < 0.02
