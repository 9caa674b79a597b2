"""Writes GGUF files of a model by `idiolect export`, runs each in llama.cpp, and compares with ours and with its own quantiser.

Usage: python run_in_llama_cpp.py IDIOLECT MODEL [SCRATCH]    (needs llama-cpp-python, gguf, numpy; IDIOLECT is the binary)
For each type: greedy ids of llama.cpp and of ours on the same file; for the quantised ones the root mean square error against
F32, and bits a number, beside a file that llama.cpp's `llama_model_quantize` makes with the same types (`pure`).
"""
import ctypes, json, pathlib, subprocess, sys, tempfile, time
import gguf, llama_cpp, numpy as np

PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at", "1, 2, 3, 4,"]
N_NEW = 32
FTYPE = {"F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_K": 14}
idiolect, model = sys.argv[1:3]
scratch = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp())


def export(kind):
    path = scratch / f"ours-{kind}.gguf"
    path.unlink(missing_ok=True)
    started = time.time()
    done = subprocess.run([idiolect, "export", model, path, "--type", kind], check=True, capture_output=True, text=True)
    return path, time.time() - started, done.stderr


def requantised(source, kind):
    path = scratch / f"theirs-{kind}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.pure, params.nthread = FTYPE[kind], True, 2
    if kind.startswith("Q4"):
        params.token_embedding_type = params.output_tensor_type = 8  # Q8_0, as ours
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), ctypes.byref(params)) == 0
    return path


def errors(path, reference):
    """The root of the mean square error over all matrices, by type; and the bits a number takes."""
    sums, numbers, size = {}, 0, 0
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64).reshape(-1)
        if len(tensor.shape) > 1:
            square, count = sums.get(tensor.tensor_type.name, (0, 0))
            difference = values - reference[tensor.name]
            sums[tensor.tensor_type.name] = (square + (difference * difference).sum(), count + values.size)
        numbers, size = numbers + values.size, size + tensor.n_bytes
    return {name: round(float((square / count) ** 0.5), 8) for name, (square, count) in sums.items()}, size * 8 / numbers


def ours(path):
    prompts = "\n".join(PROMPTS) + "\n"
    command = [idiolect, "generate", "--model", path, "--json", "--max-new-tokens", str(N_NEW), "--dtype", "f32"]
    lines = subprocess.run(command, input=prompts, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line)["ids"] for line in lines]


def theirs(path):
    runner = llama_cpp.Llama(str(path), n_ctx=512, n_threads=2, verbose=False, logits_all=True)
    answers = []
    for prompt in PROMPTS:
        runner.reset()
        ids, new = runner.tokenize(prompt.encode(), add_bos=True, special=True), []
        runner.eval(ids)
        while len(new) < N_NEW:
            scores = np.asarray(runner.scores[runner.n_tokens - 1])
            best = np.argsort(scores)[-2:]
            new.append((int(best[1]), float(scores[best[1]] - scores[best[0]]), float(scores.std())))
            if new[-1][0] == runner.token_eos():
                break
            runner.eval([new[-1][0]])
        answers.append(new)
    return answers


def same(mine, other):
    """How many ids are the same before the first that is not, and how far apart llama.cpp's two best logits lie there."""
    for at, ((token, margin, deviation), id) in enumerate(zip(other, mine)):
        if token != id:
            return f"{at}, then a margin of {margin / deviation:.4f} deviations"
    return "all"


whole, _, _ = export("F32")
reference = {t.name: np.array(t.data, dtype=np.float64).reshape(-1) for t in gguf.GGUFReader(whole).tensors}
for kind in FTYPE:
    path, seconds, said = export(kind)
    print(f"== {kind}: {path.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s")
    print("   " + "\n   ".join(said.strip().splitlines()))
    error, bits = errors(path, reference)
    print(f"   ours:      {bits:.3f} bits, rms error {error}")
    if kind != "BF16":
        other = requantised(whole, kind)
        error, bits = errors(other, reference)
        print(f"   llama.cpp: {bits:.3f} bits, rms error {error}")
        blocks = {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(other).tensors}
        alike = [tensor.data.tobytes() == blocks[tensor.name] for tensor in gguf.GGUFReader(path).tensors]
        print(f"   tensors the same to the bit: {sum(alike)} of {len(alike)}")
    print("   greedy ids the same:", "; ".join(same(a, b) for a, b in zip(ours(path), theirs(path))))
