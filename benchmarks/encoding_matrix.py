"""Every encoding against the beginnings of real books: does the decoded text equal the source?

    python benchmarks/encoding_matrix.py --books 3 --sizes 1,2
    python benchmarks/encoding_matrix.py                        # all books; some minutes

Each book is converted by OpenCC to a script the encoding can hold; characters it cannot hold are left
out and counted. The encoded text is cut at exactly N kB and at one and two bytes more, so that the cut
falls inside characters; whatever is left of the last character is not expected back. Within the GB
and within the Big5 family the reading of any codec that holds the same characters counts.
With --damage N, N bytes of each text are also changed, removed or inserted at random places, and the
characters lost for each such byte are given beside those that Python's own errors="replace" loses.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stylellm.corpus.encoding import decode
from stylellm.corpus.script import convert
from stylellm.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
BIG5 = ("big5", "cp950", "big5hkscs")
# name -> (script, codecs whose reading counts)
ENCODINGS = {
    "utf-8": ("keep", ("utf-8",)),
    "utf-8-sig": ("keep", ("utf-8-sig",)),
    "utf-16": ("keep", ("utf-16",)),
    "utf-16-le": ("keep", ("utf-16-le",)),
    "utf-16-be": ("keep", ("utf-16-be",)),
    "utf-16-be with BOM": ("keep", ("utf-16",)),
    "gb2312": ("simplified", ("gb2312", "gb18030")),
    "gbk": ("simplified", ("gbk", "gb18030")),
    "gbk, traditional": ("traditional", ("gbk", "gb18030")),
    "gb18030": ("simplified", ("gb18030",)),
    "gb18030, traditional": ("traditional", ("gb18030",)),
    "hz": ("simplified", ("hz",)),
    "big5": ("traditional", BIG5),
    "cp950": ("traditional", BIG5),
    "big5hkscs": ("traditional", BIG5),
}


def main() -> int:
    args = parse()
    sizes = [float(size) for size in args.sizes.split(",")]
    started = time.perf_counter()
    tried: Counter[tuple[str, float]] = Counter()
    right: Counter[tuple[str, float]] = Counter()
    left_out: Counter[str] = Counter()
    failures: list[str] = []
    lost: dict[str, list[tuple[int, int, int]]] = {}
    for book, text in books(args.corpus, args.books):
        converted = {script: convert(text, script) for script in ("simplified", "traditional")}
        for name, (script, readers) in ENCODINGS.items():
            source = converted.get(script, text)
            for size in sizes:
                data, missing = encoded(source, name, int(size * 1000))
                left_out[name] += missing
                for extra in (0, 1, 2):
                    cut = data[: int(size * 1000) + extra]
                    tried[name, size] += 1
                    problem = check(cut, readers)
                    right[name, size] += not problem
                    if problem:
                        failures.append(f"{book}, {name}, {size:g} kB + {extra}: {problem}")
                if args.damage:
                    damaged = damage(data[: int(size * 1000)], readers[-1], args.damage)
                    lost.setdefault(name, []).append(damaged)
    report(sizes, tried, right, left_out, lost, args.damage)
    print(f"\n{sum(right.values())} of {sum(tried.values())} texts equal their source "
          f"({100 * sum(right.values()) / max(1, sum(tried.values())):.2f}%), "
          f"{time.perf_counter() - started:.0f} s")  # fmt: skip
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("STYLELLM_CORPUS") or ROOT.parent / "shared" / "corpus"
    parser.add_argument("--corpus", type=Path, default=default, help="folder of UTF-8 books")
    parser.add_argument("--books", type=int, default=0, help="only so many, spread (0: all)")
    parser.add_argument("--sizes", default="1,2,10,100", help="kB, with commas (1,2,10,100)")
    parser.add_argument("--damage", type=int, default=0, help="damaged bytes in each text (0)")
    return parser.parse_args()


def books(corpus: Path, number: int) -> Iterator[tuple[str, str]]:
    """(name, the beginning) of every book, or of some spread over the folder."""
    found = sorted(p for p in Path(corpus).rglob("*") if p.suffix in (".txt", ".jsonl"))
    if not found:
        sys.exit(f"no books in {corpus} (set STYLELLM_CORPUS or --corpus)")
    for path in found[:: max(1, len(found) // number)][:number] if number else found:
        with path.open(encoding="utf-8", newline="") as stream:
            text = stream.read(120_000)
        if path.suffix == ".jsonl":
            lines = text.split("\n")[:-1]
            text = "\n".join(json.loads(line)["text"] for line in lines if line.strip())
        yield path.stem, text.lstrip("\ufeff")


def encoded(text: str, name: str, size: int) -> tuple[bytes, int]:
    """Somewhat more than `size` bytes of the text, and how many characters were left out."""
    codec = name.split(",")[0].removesuffix(" with BOM")
    text = text[: size + 100]
    held = "".join(char for char in text if char.encode(codec, "ignore"))
    data = held.encode(codec)
    if name.endswith("with BOM"):
        data = codecs.BOM_UTF16_BE + data
    return data, len(text) - len(held)


def read_as(data: bytes, codec: str) -> str:
    """The source as its own codec reads it, without a character cut by the end."""
    return codecs.getincrementaldecoder(codec)("strict").decode(data)


def check(data: bytes, readers: tuple[str, ...]) -> str:
    """What is wrong with the decoded text; "" when nothing is."""
    wanted = []
    for reader in readers:
        try:
            wanted.append(read_as(data, reader))
        except UnicodeDecodeError:  # a codec of the family that lacks a character
            continue
    try:
        decoded = decode(data)
    except DataError as error:
        return str(error)
    if decoded.text not in wanted:
        pairs = enumerate(zip(decoded.text, wanted[0], strict=False))
        same = next((at for at, (ours, theirs) in pairs if ours != theirs), len(decoded.text))
        return f"differs at character {same}, read as {decoded.encoding} ({decoded.margin:.2f})"
    return f"{decoded.replacements} damaged" if decoded.replacements else ""


def damage(data: bytes, codec: str, number: int) -> tuple[int, int, int]:
    """Characters lost by us, by Python's "replace", and damage counted by us."""
    chance = random.Random(len(data))
    broken = bytearray(data)
    for at in sorted(chance.sample(range(4, len(data)), number), reverse=True):
        kind = chance.choice(("change", "remove", "insert"))
        byte = chance.randrange(256)
        if kind == "change":
            broken[at] = byte
        elif kind == "remove":
            del broken[at]
        else:
            broken.insert(at, byte)
    wanted = read_as(data, codec)
    decoded = decode(bytes(broken), accept_damaged=True)
    python = bytes(broken).decode(codec, "replace")
    return missing(wanted, decoded.text), missing(wanted, python), decoded.replacements


def missing(wanted: str, text: str) -> int:
    """Characters of `wanted` that `text` has not, in order."""
    matcher = difflib.SequenceMatcher(None, wanted, text, autojunk=False)
    return len(wanted) - sum(block.size for block in matcher.get_matching_blocks())


def report(
    sizes: list[float],
    tried: Counter[tuple[str, float]],
    right: Counter[tuple[str, float]],
    left_out: Counter[str],
    lost: dict[str, list[tuple[int, int, int]]],
    number: int,
) -> None:
    heads = [f"{size:g} kB" for size in sizes]
    more = ["lost/byte", "(Python)", "counted"] if lost else []
    print(f"{'encoding':<22}" + "".join(f"{head:>11}" for head in [*heads, *more]) + "   left out")
    for name in ENCODINGS:
        row = [f"{100 * right[name, size] / max(1, tried[name, size]):.1f}%" for size in sizes]
        if lost:
            sums = [sum(column) for column in zip(*lost[name], strict=True)]
            row += [f"{total / number / len(lost[name]):.2f}" for total in sums]
        print(f"{name:<22}" + "".join(f"{cell:>11}" for cell in row) + f"{left_out[name]:>11,}")


if __name__ == "__main__":
    sys.exit(main())
