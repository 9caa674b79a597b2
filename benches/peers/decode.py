"""The peers' side of `cargo xtask bench decode` and `prefill`: llama.cpp and Transformers on one model, CPU, 2 threads.

Usage: decode.py prepare FILE.gguf FOLDER      a Hugging Face folder of it in FOLDER/f32, and Q8_0 of it in FOLDER/q8_0.gguf
       decode.py llama FILE.gguf
       decode.py transformers FOLDER f32|bf16
       decode.py rows FOLDER TEXT ROWS.json     the last tenth of a text as rows of 513 ids
       decode.py perplexity-llama FILE.gguf ROWS.json        and perplexity-transformers FOLDER f32|bf16 ROWS.json
Prints one JSON line: tokens a second of greedy decoding (batch 1, 128 tokens after six; llama.cpp's and
ours from the first token on) and of a 512-token prefill, the best of three.
"""
import json, os, sys, time

PROMPT = [504, 3108, 282, 24581, 2496, 338]
NEW, LONG = 128, [(i * 97 + 13) % 49000 for i in range(512)]


def best(count, run):
    rates = []
    for _ in range(3):
        begin = time.perf_counter()
        run()
        rates.append(count / (time.perf_counter() - begin))
    return max(rates)


def llama(path):
    from llama_cpp import Llama
    model = Llama(path, n_ctx=1024, n_threads=2, n_threads_batch=2, verbose=False)

    def decode():
        model.reset()
        for count, _ in enumerate(model.generate(PROMPT, temp=0.0, top_k=1), 1):
            if count == 1:
                begin = time.perf_counter()
            if count == NEW:
                return (NEW - 1) / (time.perf_counter() - begin)

    def prefill():
        model.reset()
        model.eval(LONG)

    decode(), prefill()
    return max(decode() for _ in range(3)), best(len(LONG), prefill)


def transformers(folder, dtype):
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(2)
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).eval()
    ids, long = torch.tensor([PROMPT]), torch.tensor([LONG])
    length = dict(max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)
    with torch.no_grad():
        model.generate(ids, max_new_tokens=8, do_sample=False), model(long)
        return best(NEW, lambda: model.generate(ids, **length)), best(len(LONG), lambda: model(long))


def prepare(path, out):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    folder, name = os.path.split(os.path.abspath(path))
    plain, eight = os.path.join(out, "f32"), os.path.join(out, "q8_0.gguf")
    if not os.path.exists(os.path.join(plain, "model.safetensors")):
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        model.hf_quantizer, model.is_quantized = None, False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(plain)
        model.save_pretrained(plain)
    if not os.path.exists(eight):
        import llama_cpp
        wanted = llama_cpp.llama_model_quantize_default_params()
        wanted.ftype, wanted.allow_requantize, wanted.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, True, 2
        if llama_cpp.llama_model_quantize(path.encode(), (eight + ".part").encode(), wanted) != 0:
            sys.exit("llama.cpp made no Q8_0 file")
        os.rename(eight + ".part", eight)


def rows(folder, text, out):
    from transformers import AutoTokenizer
    text = open(text, encoding="utf-8").read()
    ids = AutoTokenizer.from_pretrained(folder)(text[len(text) * 9 // 10:]).input_ids
    json.dump([ids[i:i + 513] for i in range(0, len(ids) - 513, 512)], open(out, "w"))


def report(side, losses):
    import math
    nats = sum(losses) / len(losses)
    print(json.dumps({"side": side, "tokens": len(losses), "nats": nats, "perplexity": math.exp(nats)}))


def nats_of(logits, row):
    import torch
    return torch.nn.functional.cross_entropy(torch.as_tensor(logits).float(), torch.tensor(row[1:]), reduction="none").tolist()


def perplexity_llama(path, path_rows):
    from llama_cpp import Llama
    model = Llama(path, n_ctx=1024, n_threads=2, n_threads_batch=2, logits_all=True, verbose=False)
    losses = []
    for row in json.load(open(path_rows)):
        model.reset()
        model.eval(row[:-1])
        losses += nats_of(model.scores[:len(row) - 1], row)
    report("llama", losses)


def perplexity_transformers(folder, dtype, path_rows):
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(2)
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).eval()
    losses = []
    with torch.no_grad():
        for row in json.load(open(path_rows)):
            losses += nats_of(model(torch.tensor([row[:-1]])).logits[0], row)
    report("transformers", losses)


def main():
    side, *rest = sys.argv[1:]
    others = {"prepare": prepare, "rows": rows, "perplexity-llama": perplexity_llama,
              "perplexity-transformers": perplexity_transformers}
    if side in others:
        others[side](*rest)
        return
    decode, prefill = {"llama": llama, "transformers": transformers}[side](*rest)
    print(json.dumps({"side": side, "decode_tokens_per_s": decode, "prefill_tokens_per_s": prefill}))


main()
