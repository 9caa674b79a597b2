"""Gathers distinct text for `cargo xtask bench encode`.

Usage: gather_text.py FILE|FOLDER OUT BYTES
Reads the texts under a folder (also .gz) in the order of their names, keeps each line of 20 bytes or more once, stops at so many bytes.
"""
import gzip, os, sys


def files(path):
    if os.path.isfile(path):
        yield path
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names))


def text_of(path):
    try:
        data = (gzip.open if path.endswith(".gz") else open)(path, "rb").read()
        return None if b"\0" in data else data.decode("utf8")
    except (OSError, EOFError, UnicodeDecodeError):
        return None


def main():
    source, out, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seen, size = set(), 0
    with open(out + ".part", "w", encoding="utf8", newline="") as file:
        for path in files(source):
            for line in (text_of(path) or "").splitlines(keepends=True):
                if size >= wanted:
                    break
                if len(line) >= 20 and hash(line) not in seen:
                    seen.add(hash(line))
                    file.write(line)
                    size += len(line.encode())
    os.rename(out + ".part", out)
    print(f"{size / 1e6:.1f} MB of distinct text from {source}", file=sys.stderr)
    if size < wanted * 0.9:
        sys.exit(f"that is less than {wanted / 1e6:.0f} MB: give a folder with more text")


main()
