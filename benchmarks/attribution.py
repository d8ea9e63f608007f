"""Attribution on the real shelf: who wrote a passage, by its length; and the confusion matrix.

    python benchmarks/attribution.py --only 凌濛初,李伯元,石玉昆 --lengths 2000 --characters 20000
    python benchmarks/attribution.py --output attribution.json > attribution.md     # all, minutes

A passage is attributed by classifiers that have seen nothing of its work. Authors with several
works are held out work by work (`works` below). Of authors with one work blocks of consecutive
chapters are held out (`blocks`): their other chapters have the same people and scenes, so that
their figures are higher than they would be for an unseen work. The two are reported apart.

Who wrote what is the usual attribution of literary history, for several of these novels a tradition
rather than a fact; the editors of the story collections stand for their authors. Left out: 今古奇觀
(reprints of others), 平妖傳 (Luo Guanzhong's, rewritten by Feng Menglong), the last forty chapters of
紅樓夢. Of 二刻拍案驚奇 one story stands in 初刻拍案驚奇 too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stylellm.corpus.clean import clean
from stylellm.corpus.read import read_book
from stylellm.corpus.split import chapters
from stylellm.files import write_text
from stylellm.stylometry.attribution import HeldOut, cross_validate
from stylellm.stylometry.held_out import Passage, cut
from stylellm.stylometry.intervals import clustered_share
from stylellm.stylometry.normalise import normalise

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = 5

AUTHORS = {
    "罗贯中": ("classic/三國志演義",),
    "施耐庵": ("wuxia/水浒传",),
    "吴承恩": ("classic/西遊記",),
    "许仲琳": ("classic/封神演義",),
    "冯梦龙": ("classic/喻世明言", "classic/警世通言", "classic/醒世恆言"),
    "凌濛初": ("classic/初刻拍案驚奇", "classic/二刻拍案驚奇"),
    "席浪仙": ("classic/石點頭",),
    "周清原": ("classic/西湖二集",),
    "方汝浩": ("classic/東度記",),
    "西周生": ("classic/醒世姻緣",),
    "褚人获": ("classic/隋唐演義",),
    "蒲松龄": ("classic/聊齋志異",),
    "纪昀": ("classic/閱微草堂筆記",),
    "吴敬梓": ("classic/儒林外史",),
    "曹雪芹": ("classic/紅樓夢",),
    "嫏嬛山樵": ("classic/補紅樓夢",),
    "陈朗": ("classic/雪月梅傳",),
    "李汝珍": ("classic/鏡花緣",),
    "庾岭劳人": ("classic/蜃樓志",),
    "汪寄": ("classic/海國春秋",),
    "魏秀仁": ("classic/花月痕",),
    "吟梅山人": ("classic/蘭花夢奇傳",),
    "韩邦庆": ("classic/海上花列傳",),
    "李伯元": ("classic/官場現形記", "classic/文明小史"),
    "吴趼人": ("classic/二十年目睹之怪現狀",),
    "曾朴": ("classic/孽海花",),
    "王浚卿": ("classic/冷眼观",),
    "评花主人": ("classic/九尾狐",),
    "石玉昆": ("wuxia/三俠五義",),
    "文康": ("wuxia/兒女英雄傳",),
    "无名氏": ("wuxia/綠牡丹",),
    "竹溪山人": ("wuxia/粉妝樓全傳",),
}
LU_XUN = "鲁迅"
FIRST_CHAPTERS = {"紅樓夢": 80}


def texts_of(corpus: Path, only: Sequence[str]) -> dict[str, dict[str, str]]:
    """author -> work or work/block -> its text, simplified and normalised."""
    wanted = {
        author: [corpus / f"{work}.txt" for work in works] for author, works in AUTHORS.items()
    }
    wanted[LU_XUN] = sorted((corpus / "modern").glob(f"{LU_XUN}-*.txt"))
    found = {}
    for author, paths in wanted.items():
        if only and author not in only:
            continue
        missing = [path.name for path in paths if not path.is_file()]
        if missing or not paths:
            print(f"{author}: not in the folder: {' '.join(missing)}", file=sys.stderr)
            continue
        parts = {path.stem: book_chapters(path) for path in paths}
        if len(parts) == 1:
            ((title, rows),) = parts.items()
            found[author] = in_blocks(title, rows)
        else:
            found[author] = {title: "\n".join(rows) for title, rows in parts.items()}
    return found


def book_chapters(path: Path) -> list[str]:
    book = read_book(path)
    cleaned = clean(book.text, rules="all", script="simplified", title=book.title)
    rows = [normalise(chapter.text) for chapter in chapters(cleaned.text)]
    return rows[: FIRST_CHAPTERS.get(path.stem, len(rows))]


def in_blocks(title: str, rows: list[str]) -> dict[str, str]:
    """Consecutive chapters in blocks of about the same number of characters."""
    ends = np.cumsum([len(row) for row in rows])
    blocks: dict[str, list[str]] = defaultdict(list)
    for row, end in zip(rows, ends, strict=True):
        blocks[f"{title}/{int((end - 1) * BLOCKS // ends[-1]) + 1}"].append(row)
    return {name: "\n".join(parts) for name, parts in blocks.items()}


def passages_of(
    texts: dict[str, dict[str, str]], length: int, characters: int
) -> tuple[list[Passage], list[str]]:
    """Passages of one length, `characters` of each author; and the authors with too little text."""
    found: list[Passage] = []
    short = []
    for author, works in texts.items():
        limit = max(characters // length // len(works), 1)
        own = [
            passage
            for work, text in works.items()
            for passage in cut(author, work, text, length, limit)
        ]
        if len({passage.work for passage in own}) < 2:
            short.append(author)
        else:
            found += own
    return found, short


def figures(result: HeldOut) -> dict[str, Any]:
    """Accuracy of all passages and of the two kinds of authors apart."""
    right = result.predicted == result.truth
    block = np.array(["/" in group for group in result.groups])
    kinds = {"all": np.ones(len(block), dtype=bool), "works": ~block, "blocks": block}
    found: dict[str, Any] = {
        kind: asdict(clustered_share(right[which].tolist(), groups_of(result, which)))
        | {"passages": int(which.sum())}
        for kind, which in kinds.items()
        if which.any()
    }
    recalls = [float(right[result.truth == a].mean()) for a in range(len(result.authors))]
    return found | {
        "mean_of_authors": float(np.mean(recalls)),
        "calibration_error": result.calibration_error(),
        "log_loss": result.log_loss(),
        "authors": list(result.authors),
        "confusion": result.confusion().tolist(),
    }


def groups_of(result: HeldOut, which: np.ndarray) -> list[str]:
    return [group for group, keep in zip(result.groups, which, strict=True) if keep]


def accuracy_table(results: dict[int, dict[str, Any]]) -> str:
    lines = [
        "| characters | classifier | passages | authors | all | unseen works | unseen chapters "
        "| mean of authors | calibration error |",
        "|--:|---|--:|--:|---|---|---|--:|--:|",
    ]
    for length, both in results.items():
        for name, row in both.items():
            shares = [share(row.get(kind)) for kind in ("all", "works", "blocks")]
            lines.append(
                f"| {length:,} | {name} | {row['all']['passages']:,} | {len(row['authors'])} | "
                f"{' | '.join(shares)} | {row['mean_of_authors']:.3f} "
                f"| {row['calibration_error']:.3f} |"
            )
    return "\n".join(lines)


def share(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    interval = f" ({row['low']:.3f} to {row['high']:.3f})" if row["low"] is not None else ""
    return f"{row['value']:.3f}{interval}"


def confusion_table(row: dict[str, Any]) -> str:
    """Rows: who wrote it; columns: whom it was given to, by number; a dot for none."""
    authors = row["authors"]
    lines = ["| | " + " | ".join(str(k) for k in range(1, len(authors) + 1)) + " |"]
    lines.append("|---|" + "--:|" * len(authors))
    for number, (author, counts) in enumerate(zip(authors, row["confusion"], strict=True), 1):
        cells = " | ".join(str(count) if count else "·" for count in counts)
        lines.append(f"| {number} {author} | {cells} |")
    return "\n".join(lines)


def measure(args: argparse.Namespace) -> dict[int, dict[str, Any]]:
    corpus = Path(os.environ.get("STYLELLM_CORPUS") or ROOT.parent / "shared" / "corpus")
    started = time.perf_counter()
    texts = texts_of(corpus, args.only)
    print(f"read in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    results = {}
    for length in args.lengths:
        started = time.perf_counter()
        passages, short = passages_of(texts, length, args.characters)
        both = cross_validate(passages, folds=args.folds or None)
        results[length] = {name: figures(result) for name, result in both.items()}
        seconds = time.perf_counter() - started
        left_out = f"; too little text: {' '.join(short)}" if short else ""
        print(f"{length}: {len(passages)} passages, {seconds:.0f} s{left_out}", file=sys.stderr)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Attribution on the real shelf.")
    parser.add_argument("--lengths", type=lambda text: [int(one) for one in text.split(",")],
                        default=[200, 500, 1000, 2000, 5000, 10000])  # fmt: skip
    parser.add_argument("--characters", type=int, default=100_000, help="of each author, at most")
    parser.add_argument("--folds", type=int, default=5, help="0: strictly one work of an author")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="AUTHORS")
    parser.add_argument("--confusion_at", type=int, default=2000, help="length of the matrix")
    parser.add_argument("--output", type=Path, help="all figures as JSON")
    args = parser.parse_args()
    results = measure(args)
    print(accuracy_table(results))
    for name, row in results.get(args.confusion_at, {}).items():
        print(f"\n{name}, passages of {args.confusion_at} characters\n\n{confusion_table(row)}")
    if args.output:
        settings = {"characters": args.characters, "folds": args.folds, "blocks": BLOCKS}
        write_text(args.output, json.dumps({"settings": settings, "results": results},
                                           ensure_ascii=False, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
