"""The copy index on a shelf of books: build, memory, reload, longest copy; beside two peers.

    python benchmarks/copy_index.py --megabytes 100

Peers: pydivsufsort called on the characters as they are (uint16), and for the search a sliding
window over Python's own `in`, which needs no index. Each build runs in a process of its own, whose
peak memory is read from the system; `text` is a process that only reads the books.

Where the books at hand are fewer than asked for, they are used again with their characters
exchanged by a random permutation: the statistics of the language without long repeats.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
QUERY = 2000


def shelf(megabytes: float) -> dict[str, str]:
    corpus = Path(os.environ.get("STYLELLM_CORPUS") or ROOT.parent / "shared" / "corpus")
    paths = [
        p
        for folder in ("wuxia", "classic", "modern")
        for p in sorted((corpus / folder).glob("*.txt"))
    ]
    books: dict[str, str] = {}
    size, turn = 0, 0
    while size < megabytes * 1e6:
        for path in paths:
            text = path.read_text(encoding="utf-8", errors="replace")
            if turn:
                text = exchanged(text, turn)
            books[f"{path.stem} {turn}"] = text
            size += len(text.encode("utf-8"))
            if size >= megabytes * 1e6:
                break
        turn += 1
    return books


def exchanged(text: str, seed: int) -> str:
    letters = sorted({c for c in text if "\u4e00" <= c <= "\u9fff"})
    others = letters.copy()
    random.Random(seed).shuffle(others)
    return text.translate(str.maketrans("".join(letters), "".join(others)))


def queries(books: dict[str, str], count: int = 10) -> list[str]:
    """Texts of 2,000 characters: scraps of 3 to 60 characters of the books."""
    rng = random.Random(0)
    names = list(books)
    found = []
    for _ in range(count):
        pieces: list[str] = []
        while sum(map(len, pieces)) < QUERY:
            text = books[rng.choice(names)]
            at = rng.randrange(len(text) - 60)
            pieces.append(text[at : at + rng.randint(3, 60)])
        found.append("".join(pieces)[:QUERY])
    return found


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_window(text: str, books: list[str]) -> int:
    """Longest run by Python's `in`: the window grows while it is found, else moves on."""
    best = 0
    for begin in range(len(text)):
        while begin + best < len(text) and any(text[begin : begin + best + 1] in b for b in books):
            best += 1
    return best


def measure(what: str, megabytes: float, folder: str) -> None:
    from stylellm.stylometry.copying import CopyIndex

    books = shelf(megabytes)
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()

    def report(name: str) -> None:
        print(f"{name}: {time.process_time() - cpu:.2f} s of processor, "
              f"{time.perf_counter() - wall:.2f} s, peak {peak():.0f} MiB "
              f"({peak() - before:.0f} above the books)", flush=True)  # fmt: skip

    if what == "text":
        report("books alone")
    elif what == "peer":
        from pydivsufsort import divsufsort

        codes = np.frombuffer("\n".join(books.values()).encode("utf-16-be"), dtype=">u2")
        divsufsort(codes.astype(np.uint16))
        report("pydivsufsort on uint16")
    else:
        index = CopyIndex(books, ignore_whitespace=True, cache=Path(folder))
        report("built" if what == "ours" else "reloaded")
        if what == "reload":
            search(index, books)


def search(index: object, books: dict[str, str]) -> None:
    texts = queries(books)
    cpu = time.process_time()
    lengths = [index.longest_copy(text).length for text in texts]  # type: ignore[attr-defined]
    print(f"longest copy of {QUERY} characters: {(time.process_time() - cpu) / len(texts):.4f} s")
    bare = ["".join(text.split()) for text in books.values()]
    cpu = time.process_time()
    naive = by_window("".join(texts[0].split()), bare)
    print(f"the same by Python's `in`: {time.process_time() - cpu:.2f} s")
    print(f"lengths {lengths}; same answer: {naive == lengths[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The copy index on a shelf of books.")
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--measure", choices=("text", "ours", "reload", "peer"))
    parser.add_argument("--folder", default="")
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.megabytes, args.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        for what in ("text", "ours", "reload", "peer"):
            subprocess.run(
                [sys.executable, __file__, "--measure", what, "--folder", folder,
                 "--megabytes", str(args.megabytes)],
                check=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
