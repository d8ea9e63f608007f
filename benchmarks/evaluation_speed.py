"""What the evaluation costs on many books, apart from what the model reads and writes.

    python benchmarks/evaluation_speed.py --megabytes 100

The shelf is that of copy_index.py, in pieces of 2,000 characters as windows; every tenth work is held
out, one is another author. The written texts are 150 stretches of 400 characters of other books for
each model: how long measuring takes does not depend on who wrote them. Seconds of the clock by stage,
one thread, and the peak of memory. What the model adds does not grow with the books (docs/results.md).
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from copy_index import shelf

from stylellm.evaluation.settings import Clock, Settings
from stylellm.evaluation.texts import Texts
from stylellm.evaluation.written import style_table

PIECE = 2000


def windows(name: str, text: str) -> list[Any]:
    """A book as windows of ten to a chapter."""
    starts = range(0, len(text), PIECE)
    return [
        {"text": text[a : a + PIECE], "work": name, "chapter": f"第{i // 10 + 1}回",
         "ends_document": True}
        for i, a in enumerate(starts)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the evaluation on many books.")
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--texts", type=int, default=150)
    args = parser.parse_args()
    books = shelf(args.megabytes)
    names = list(books)
    draw = random.Random(0)
    stretches = [draw.choice(names[:20]) for _ in range(2 * args.texts)]
    written = [
        books[name][(at := draw.randrange(len(books[name]) // 2)) : at + 400] for name in stretches
    ]
    samples = [
        {"prompt": "", "base": written[2 * i], "policy": written[2 * i + 1]}
        for i in range(args.texts)
    ]
    parts = {name: windows(name, text) for name, text in books.items()}
    other, held_out = names[1], names[::10]
    texts = Texts(
        author_train=[w for n in names if n not in (other, *held_out) for w in parts[n]],
        author_test=[w for n in held_out for w in parts[n]],
        other_test=parts[other],
    )
    print(f"{len(books)} works, {sum(map(len, books.values())) / 1e6:.1f} million characters, before: "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")  # fmt: skip
    for name in ("first", "again, the index kept"):
        clock, started = Clock(), time.perf_counter()
        cache = Path(tempfile.gettempdir()) / "stylellm_evaluation_speed"
        style_table(samples, texts, Settings(), clock=clock, cache=cache)
        stages = ", ".join(f"{k} {v:.1f}" for k, v in clock.seconds.items())
        print(f"{name}: {time.perf_counter() - started:.1f} s ({stages}); peak "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
