"""What stands twice on a shelf of old novels, against what literary history knows.

    python benchmarks/duplicates.py --books 初刻拍案驚奇,二刻拍案驚奇      # smallest: two books
    python benchmarks/duplicates.py --output duplicates.json             # all of classic/: a minute

The file 今古奇觀 of the corpus is not the well-known selection of 40 stories but a later anthology of
80, in which most of those 40 stand under the same titles. Which of its chapters come from which of
the five great story collections (三言二拍) is written down below from their titles; six more come from
two other collections of the folder. Chapters are named by the numeral of their heading.

The collections are read first and the anthology last, all other books between them as distractors,
so that what is dropped should be the anthology's reprints and nothing else. Precision: of the
chapters dropped as a whole, the share whose match is the known one (and once more with chapters that
these files hold twice). Recall: of the known reprints, the share dropped as a whole; also the share
of their characters that goes at all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from stylellm.corpus.clean import clean
from stylellm.corpus.dedup import DuplicatePlan, Signature, find_duplicates, sign
from stylellm.corpus.read import read_book
from stylellm.corpus.split import Chapter, chapters

ROOT = Path(__file__).resolve().parent.parent
ANTHOLOGY = "今古奇觀"
COLLECTIONS = ("喻世明言", "警世通言", "醒世恆言", "初刻拍案驚奇", "二刻拍案驚奇")

# Chapter of the anthology -> chapter of the collection it is taken from.
KNOWN = {
    "喻世明言": {
        17: 1, 3: 2, 15: 6, 36: 10, 51: 12, 67: 23, 45: 26, 20: 27, 53: 35, 63: 36, 49: 40,
    },
    "警世通言": {
        34: 1, 56: 2, 80: 9, 55: 13, 11: 22, 31: 23, 5: 24, 61: 26, 6: 28, 42: 29, 22: 30,
        13: 32, 2: 33, 43: 34, 57: 35, 21: 38,
    },
    "醒世恆言": {
        30: 3, 41: 7, 4: 8, 28: 10, 58: 11, 64: 13, 38: 14, 26: 15, 72: 16, 77: 29, 40: 30,
        37: 33, 1: 34, 39: 36,
    },
    "初刻拍案驚奇": {59: 1, 46: 2, 73: 3, 8: 9, 33: 18, 79: 27, 24: 36},
    "二刻拍案驚奇": {71: 5, 9: 6, 60: 9, 25: 10, 65: 17, 70: 25, 27: 28, 35: 34, 47: 35, 16: 38},
    # Not of the five: the same titles stand in these two.
    "石點頭": {14: 1, 18: 13},
    "西湖二集": {50: 9, 29: 12, 75: 19, 76: 27},
}  # fmt: skip
# The story of 大姊魂遊完宿願 stands in both 拍案驚奇: the author put it into the second one again.
KNOWN_ELSEWHERE = {("二刻拍案驚奇", 23): ("初刻拍案驚奇", 23)}
# Faults of these files, not of history: first found by this script, then read. Counted apart.
REPEATED_IN_FILES = {
    ("儒林外史", 21): ("儒林外史", 21),
    ("官場現形記", 25): ("官場現形記", 23),
    ("蜃樓志", 12): ("蜃樓志", 1),
    ("醒世姻緣", 4): ("醒世姻緣", 4),
}

_NUMERAL = re.compile("第([一二三四五六七八九十百零〇]+)[卷回]")
_DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0}


@dataclass
class Shelf:
    """Books in reading order, their chapters, and the chapters' signatures."""

    titles: list[str]
    chapters: list[list[Chapter]]
    signed: list[tuple[int, int, Signature]]
    signing_seconds: float
    num_bytes: int


def main() -> int:
    args = parse()
    folder = Path(os.environ.get("STYLELLM_CORPUS") or ROOT.parent / "shared" / "corpus")
    shelf = read_shelf(order(folder / "classic", args.books))
    started = time.process_time()
    plan = find_duplicates(shelf.signed, threshold=args.threshold)
    seconds = time.process_time() - started
    alone = [one for one in shelf.signed if shelf.titles[one[0]] == ANTHOLOGY]
    itself = find_duplicates(alone, threshold=args.threshold)
    result = {
        "threshold": args.threshold,
        "books": len(shelf.titles),
        "chapters": len(shelf.signed),
        "megabytes": round(shelf.num_bytes / 1e6, 1),
        "sign_megabytes_per_second": round(shelf.num_bytes / 1e6 / shelf.signing_seconds, 1),
        "find_seconds": round(seconds, 2),
        **judged(shelf, plan),
        "paragraphs_dropped": paragraphs(shelf, plan),
        "anthology_against_itself": {
            "chapters": len(itself.chapters),
            "paragraphs": sum(map(len, itself.paragraphs.values())),
        },
    }
    written = json.dumps(result, ensure_ascii=False, indent=1)
    if args.output:
        Path(args.output).write_text(written + "\n", encoding="utf-8")
    print(written)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--books", default="", help="titles, comma-separated; all by default")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--output", help="write the result here, too")
    return parser.parse_args()


def order(folder: Path, wanted: str) -> list[Path]:
    """The collections, the other books, the anthology."""
    files = sorted(
        path for path in folder.glob("*.txt") if not wanted or path.stem in wanted.split(",")
    )
    rank = {title: number for number, title in enumerate(COLLECTIONS)} | {ANTHOLOGY: 99}
    return sorted(files, key=lambda path: rank.get(path.stem, 50))


def read_shelf(files: list[Path]) -> Shelf:
    shelf = Shelf([], [], [], 0.0, 0)
    sign(Chapter("", ("第一次调用要建表。" * 20,)))
    for number, file in enumerate(files):
        book = read_book(file)
        cleaned = clean(book.text, rules="all", script="simplified", title=book.title)
        found = chapters(cleaned.text)
        started = time.process_time()
        shelf.signed += [(number, index, sign(chapter)) for index, chapter in enumerate(found)]
        shelf.signing_seconds += time.process_time() - started
        shelf.num_bytes += sum(len(chapter.text.encode()) for chapter in found)
        shelf.titles.append(file.stem)
        shelf.chapters.append(found)
    return shelf


def judged(shelf: Shelf, plan: DuplicatePlan) -> dict[str, object]:
    """The chapters found, right, wrong and missing."""
    found = {}
    listed = []
    for (work, chapter), match in plan.chapters.items():
        here, there = name(shelf, work, chapter), name(shelf, match.work, match.chapter)
        found[here] = there
        listed.append([text(here), text(there), round(match.similarity, 3)])
    known = {
        (ANTHOLOGY, number): (book, chapter)
        for book, reprints in KNOWN.items()
        for number, chapter in reprints.items()
    } | KNOWN_ELSEWHERE
    known = {here: there for here, there in known.items()
             if here[0] in shelf.titles and there[0] in shelf.titles}  # fmt: skip
    right = [here for here, there in found.items() if known.get(here) == there]
    faults = [here for here, there in found.items() if REPEATED_IN_FILES.get(here) == there]
    five = [
        here for here, there in known.items() if here[0] == ANTHOLOGY and there[0] in COLLECTIONS
    ]
    missed = [here for here in known if here not in right]
    return {
        "known": len(known),
        "found": len(found),
        "precision_by_titles": round(len(right) / max(len(found), 1), 4),
        "precision_with_faults_of_the_files": round(
            (len(right) + len(faults)) / max(len(found), 1), 4
        ),
        "recall": round(len(right) / max(len(known), 1), 4),
        "recall_of_the_five_collections": round(
            sum(here in right for here in five) / max(len(five), 1), 4
        ),
        "characters_of_known_reprints_dropped": round(dropped_share(shelf, plan, set(known)), 4),
        "unknown": [row for row in listed if row[0] not in map(text, right + faults)],
        "missed": [[text(here), text(known[here])] for here in missed],
        "list": listed,
    }


def dropped_share(shelf: Shelf, plan: DuplicatePlan, known: set[tuple[str, int | str]]) -> float:
    """Of all characters of the known reprints, the share that goes, by chapter or by paragraph."""
    total = kept = 0
    for work, found in enumerate(shelf.chapters):
        for index, chapter in enumerate(found):
            if name(shelf, work, index) in known:
                total += len(chapter.text)
                if (work, index) not in plan.chapters:
                    gone = plan.paragraphs.get((work, index), {})
                    kept += len(chapter.text) - sum(len(chapter.paragraphs[k]) + 1 for k in gone)
    return 1 - kept / max(total, 1)


def paragraphs(shelf: Shelf, plan: DuplicatePlan) -> list[list[object]]:
    """[book and chapter, book and chapter where they stand, paragraphs, least similar pair]."""
    pairs: Counter[tuple[str, str]] = Counter()
    least: dict[tuple[str, str], tuple[float, str, str]] = {}
    for (work, chapter), found in plan.paragraphs.items():
        for number, match in found.items():
            pair = tuple(
                text(name(shelf, *place))
                for place in ((work, chapter), (match.work, match.chapter))
            )
            here = shelf.chapters[work][chapter].paragraphs[number]
            there = shelf.chapters[match.work][match.chapter].paragraphs[match.paragraph]
            entry = (round(match.similarity, 2), here[:80], there[:80])
            least[pair] = min(least.get(pair, entry), entry)
            pairs[pair] += 1
    return [[*pair, count, least[pair]] for pair, count in pairs.most_common()]


def name(shelf: Shelf, work: int, chapter: int) -> tuple[str, int | str]:
    """Title, and the numeral of the chapter's heading."""
    heading = shelf.chapters[work][chapter].title.replace("\n", " ")
    numeral = _NUMERAL.search(heading)
    return shelf.titles[work], value(numeral[1]) if numeral else heading or chapter


def text(place: tuple[str, int | str]) -> str:
    return f"{place[0]} {place[1]}"


def value(numeral: str) -> int:
    """Of a numeral below a thousand."""
    total = last = 0
    for figure in numeral:
        if figure in "十百":
            total += (last or 1) * (10 if figure == "十" else 100)
            last = 0
        else:
            last = _DIGITS[figure]
    return total + last


if __name__ == "__main__":
    raise SystemExit(main())
