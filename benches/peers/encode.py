"""The tiktoken side of `cargo xtask bench encode`: the same byte-level BPE vocabulary, one thread.

Usage: encode.py TEXT tokenizer.json
Prints one JSON line: megabytes a second for the first pass over the text (cold) and the best of three more (warm), the number of
ids, and their sum weighted by position, modulo 2^64, by which the sides' ids are compared.
"""
import json, sys, time
import numpy
import tiktoken


def byte_of_character():
    """GPT-2's printable stand-ins for bytes, turned around."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + index): byte for index, byte in enumerate(rest)}


def pattern(pre_tokenizer):
    """The regular expression that the file splits by, else GPT-2's."""
    for part in pre_tokenizer.get("pretokenizers", [pre_tokenizer]):
        if part["type"] == "Split":
            return part["pattern"]["Regex"]
    return r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def load(path):
    file = json.load(open(path, encoding="utf8"))
    special = {token["content"] for token in file["added_tokens"] if token["special"]}
    characters = byte_of_character()
    ranks = {bytes(characters[c] for c in token): rank for token, rank in file["model"]["vocab"].items() if token not in special}
    return tiktoken.Encoding("bench", pat_str=pattern(file["pre_tokenizer"]), mergeable_ranks=ranks, special_tokens={})


def main():
    text = open(sys.argv[1], encoding="utf8", newline="").read()
    megabytes = len(text.encode()) / 1e6
    encoding = load(sys.argv[2])
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        ids = encoding.encode_ordinary(text)
        seconds.append(time.perf_counter() - start)
    ids = numpy.array(ids, dtype=numpy.uint64)
    weighted = (ids * numpy.arange(1, len(ids) + 1, dtype=numpy.uint64)).sum(dtype=numpy.uint64)
    print(json.dumps({
        "side": "tiktoken", "cold_mb_per_s": round(megabytes / seconds[0], 2), "warm_mb_per_s": round(megabytes / min(seconds[1:]), 2),
        "ids": len(ids), "ids_sum": str(weighted),
    }))


main()
