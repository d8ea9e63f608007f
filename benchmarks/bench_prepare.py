"""How fast `stylellm prepare` is beside the tokenizer alone, and beside other ways to do it.

    python benchmarks/bench_prepare.py --sizes 1 4 16 100 [--output FILE]

Every row is measured in a process of its own (time without imports, peak memory with them), one
thread, all of them on the same text in the same run: books of the corpus, later copies of them with
a third of their characters exchanged, and anthologies that reprint a tenth of all chapters with
small changes, so that the search for duplicates has work. Ratios are to the tokenizer alone on the
raw text; `cpu` is the processor time, which other work on the machine disturbs less.

The datatrove row needs `pip install datatrove orjson` and is printed as not run without them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shelf import CHAPTER, make_shelf

DATATROVE = "datatrove MinHash (no cleaning, no windows)"
DATATROVE_NEEDS = ("datatrove", "orjson")


# ---- what is measured ---------------------------------------------------------------------------


def load_tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def case_tokenizer(shelf: Path, tokenizer: str, work: Path) -> Callable[[], Any]:
    """The tokenizer alone: pieces of 4,000 characters, a hundred a call."""
    loaded = load_tokenizer(tokenizer)
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(shelf.iterdir()))
    pieces = [text[i : i + 4000] for i in range(0, len(text), 4000)]

    def run() -> None:
        for i in range(0, len(pieces), 100):
            loaded(pieces[i : i + 100], add_special_tokens=False)

    return run


def ours(**options: Any) -> Callable[[Path, str, Path], Callable[[], Any]]:
    def case(shelf: Path, tokenizer: str, work: Path) -> Callable[[], Any]:
        import datasets  # noqa: F401 - imports are not timed
        import jinja2  # noqa: F401
        import opencc

        from stylellm.corpus.prepare import prepare

        opencc.OpenCC("t2s"), opencc.OpenCC("s2t")
        loaded = load_tokenizer(tokenizer)
        arguments = {"num_workers": 1, "near_duplicates": 0.0, **options}
        if arguments.pop("cached", False):
            arguments["cache_dir"] = work / "cache"
            prepare(
                [shelf], tokenizer=loaded, output_dir=work / "first", progress=False, **arguments
            )
        return lambda: prepare(
            [shelf], tokenizer=loaded, output_dir=work / "out", progress=False, **arguments
        )

    return case


def case_map(shelf: Path, tokenizer: str, work: Path) -> Callable[[], Any]:
    """What many scripts do: lines, stripped, tokenised, joined and cut into rows of 512, saved."""
    from datasets import load_dataset

    loaded = load_tokenizer(tokenizer)

    def tokenise(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        lines = [re.sub(r"\s+", " ", line).strip() for line in batch["text"]]
        return {"input_ids": loaded([line for line in lines if line])["input_ids"]}

    def group(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        joined = [token for ids in batch["input_ids"] for token in ids]
        return {"input_ids": [joined[i : i + 512] for i in range(0, len(joined), 512)]}

    def run() -> None:
        files = sorted(map(str, shelf.iterdir()))
        data = load_dataset("text", data_files=files, split="train", cache_dir=str(work / "hf"))
        data = data.map(tokenise, batched=True, remove_columns=["text"])
        data.map(group, batched=True).save_to_disk(str(work / "rows"))

    return run


def case_datatrove(shelf: Path, tokenizer: str, work: Path) -> Callable[[], Any]:
    """The four MinHash steps of datatrove, with its defaults, one worker; nothing is tokenised.

    https://github.com/huggingface/datatrove (examples/minhash_deduplication.py). Documents are the
    chapters by the expression that the shelf is made with (a book without any is one document: the
    longest one sets the peak memory). Shingles are of five characters in place of words: its own
    tokenizer for Chinese wants spaCy and jieba, and is slower. `kept`: share of the characters.
    """
    import xxhash
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.logging import logger
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Characters(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return list(text.replace(" ", ""))

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    def read(_: Any, rank: int, world_size: int) -> Iterator[Document]:
        for file in sorted(shelf.iterdir()):
            for number, chapter in enumerate(CHAPTER.split(file.read_text(encoding="utf-8"))):
                yield Document(text=chapter, id=f"{file.stem}/{number}")

    def count(key: str) -> Callable[..., Iterator[Document]]:
        def step(documents: Iterator[Document], rank: int, world_size: int) -> Iterator[Document]:
            for document in documents:
                characters[key] += len(document.text)
                yield document

        return step

    logger.disable("datatrove")
    characters = {"in": 0, "kept": 0}
    config = minhash.MinhashConfig()
    signed, pairs, removed, kept = (str(work / name) for name in ("1", "2", "3", "kept"))
    sign = minhash.MinhashDedupSignature(signed, config=config, language=Characters())
    # xxhash 4 takes no str, which datatrove 0.10.1 gives it (its issue 508); the hashes are the same
    sign._hash_func = lambda shingle: xxhash.xxh64_intdigest(shingle.encode())
    filtered = [count("in"), minhash.MinhashDedupFilter(removed), count("kept")]
    stages = [
        ([read, sign], 1),
        ([minhash.MinhashDedupBuckets(signed, pairs, config=config)], config.num_buckets),
        ([minhash.MinhashDedupCluster(pairs, removed, config=config)], 1),
        ([read, *filtered, JsonlWriter(kept, compression=None)], 1),
    ]

    def run() -> dict[str, Any]:
        for number, (steps, tasks) in enumerate(stages):
            logs = str(work / f"logs{number}")
            LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=logs).run()
        return {"sources": [{"characters": characters}]}

    return run


CASES: dict[str, Callable[[Path, str, Path], Callable[[], Any]]] = {
    "tokenizer alone": case_tokenizer,
    "prepare, exact duplicates": ours(),
    "prepare, MinHash": ours(near_duplicates=0.8),
    "prepare, MinHash, all cores": ours(near_duplicates=0.8, num_workers=0),
    "prepare, MinHash, second run": ours(near_duplicates=0.8, cached=True),
    "datasets.map (no cleaning)": case_map,
    DATATROVE: case_datatrove,
}


def run_case(name: str, shelf: Path, tokenizer: str, work: Path) -> None:
    """Measure one case in this process and print it as JSON."""
    run = CASES[name](shelf, tokenizer, work)
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**seconds, "peak_mb": _peak_megabytes(), "kept": _kept(result)}))


def _kept(result: Any) -> float | None:
    """Share of the characters read that were kept, where the case says so."""
    if not isinstance(result, dict):
        return None
    counts = [source["characters"] for source in result["sources"]]
    return sum(count["kept"] for count in counts) / sum(count["in"] for count in counts)


def _peak_megabytes() -> float | None:
    """Peak resident memory of this process and of its largest child."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    scale = 1e6 if sys.platform == "darwin" else 1e3
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / scale


# ---- the table ----------------------------------------------------------------------------------


def measure(name: str, shelf: Path, tokenizer: str) -> dict[str, Any]:
    environment = os.environ | {
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, __file__, "--case", name, str(shelf), tokenizer, work]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def slope(sizes: list[float], seconds: list[float]) -> float:
    """Least-squares slope of log(seconds) over log(megabytes)."""
    x, y = [math.log(s) for s in sizes], [math.log(s) for s in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def table(sizes: list[float], cases: list[str], tokenizer: str) -> str:
    lines = ["| MB | what | s | MB/s | ratio | cpu ratio | kept | peak MB |",
             "|---:|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    missing = [name for name in DATATROVE_NEEDS if not importlib.util.find_spec(name)]
    missing = missing if DATATROVE in cases else []
    cases = [name for name in cases if not missing or name != DATATROVE]
    seconds: dict[str, list[float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            shelf = Path(folder) / "shelf"
            shelf.mkdir()
            megabytes = make_shelf(shelf, size) / 1e6
            base: dict[str, Any] = {}
            for name in cases:
                found = measure(name, shelf, tokenizer)
                base = base or found
                seconds.setdefault(name, []).append(found["cpu"])
                kept = "" if found["kept"] is None else f"{found['kept']:.0%}"
                peak = "" if found["peak_mb"] is None else f"{found['peak_mb']:.0f}"
                lines.append(
                    f"| {megabytes:.1f} | {name} | {found['wall']:.2f} | "
                    f"{megabytes / found['wall']:.2f} | {base['wall'] / found['wall']:.2f} | "
                    f"{base['cpu'] / found['cpu']:.2f} | {kept} | {peak} |"
                )
                print(lines[-1], flush=True)
    if missing:
        lines.append(f"| | {DATATROVE} | not run | | | | | | pip install {' '.join(missing)}")
        print(lines[-1])
    if len(sizes) > 1:
        for name in cases:
            lines.append(f"log-log slope (cpu), {name}: {slope(sizes, seconds[name]):.3f}")
            print(lines[-1])
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1, 4])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--tokenizer", help="a tokenizer folder in place of the Qwen ranks")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    parser.add_argument("--case", nargs=4, metavar=("NAME", "SHELF", "TOKENIZER", "WORK"))
    args = parser.parse_args()
    if args.case:
        name, shelf, tokenizer, work = args.case
        run_case(name, Path(shelf), tokenizer, Path(work))
        return
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = args.tokenizer
        if not tokenizer:
            from qwen_ranks import qwen_tokenizer, ranks_file

            if not ranks_file().is_file():
                sys.exit(f"no ranks at {ranks_file()}: set STYLELLM_TOKENIZER, or --tokenizer DIR")
            qwen_tokenizer(ranks_file()).save_pretrained(folder)
            tokenizer = folder
        text = table(args.sizes, args.cases, tokenizer)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
