"""The text that stylellm-tiny learns from: 33 classic novels, 鲁迅, encyclopaedia paragraphs.

Cleaned and simplified by the project's own ``stylellm.corpus``. Held out and never trained on: two whole
classic works, one collection of 鲁迅, the last 150 encyclopaedia paragraphs, and everything in ``wuxia/``.
今古奇觀 reprints stories of other books on the shelf and is left out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from stylellm.corpus.clean import clean
from stylellm.corpus.encoding import decode
from stylellm.corpus.headings import is_heading_line

HELD_OUT_CLASSIC = ("雪月梅傳", "蜃樓志")
HELD_OUT_MODERN = ("鲁迅-彷徨",)
LEFT_OUT = ("今古奇觀",)
HELD_OUT_PARAGRAPHS = 150
MODERN_REPEATS = 2
"""Modern text is a seventh of the shelf; it is seen this often per pass, so that the base knows both."""


@dataclass(frozen=True)
class Document:
    """One text: a chapter of a novel, an essay, or an encyclopaedia paragraph."""

    source: str
    text: str


def _chapters(path: Path) -> list[Document]:
    """The chapters of a book: in cleaned text a heading stands alone between blank lines."""
    text = clean(decode(path.read_bytes()).text).text
    chapters: list[list[str]] = [[]]
    for block in text.split("\n\n"):
        if is_heading_line(block) and any(chapters[-1]):
            chapters.append([])
        chapters[-1].append(block)
    return [Document(path.stem, "\n\n".join(blocks)) for blocks in chapters]


def _paragraphs(path: Path) -> list[Document]:
    rows = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [Document(f"wikipedia-{i}", clean(row).text) for i, row in enumerate(rows)]


def collect(corpus: Path) -> dict[str, list[Document]]:
    """Reads the shelf; returns the splits train, held_out_classic, held_out_modern, held_out_wuxia."""
    splits: dict[str, list[Document]] = {
        "train": [],
        "held_out_classic": [],
        "held_out_modern": [],
        "held_out_wuxia": [],
    }
    for folder in ("classic", "modern", "wuxia"):
        for path in tqdm(sorted((corpus / folder).glob("*.txt")), desc=folder, unit="book"):
            if path.stem in LEFT_OUT:
                continue
            held_out = folder == "wuxia" or path.stem in HELD_OUT_CLASSIC + HELD_OUT_MODERN
            repeats = 1 if held_out or folder != "modern" else MODERN_REPEATS
            name = f"held_out_{folder}" if held_out else "train"
            splits[name].extend(_chapters(path) * repeats)
    paragraphs = _paragraphs(corpus / "modern" / "wikipedia.jsonl")
    splits["train"].extend(paragraphs[:-HELD_OUT_PARAGRAPHS] * MODERN_REPEATS)
    splits["held_out_modern"].extend(paragraphs[-HELD_OUT_PARAGRAPHS:])
    return splits


def save(splits: dict[str, list[Document]], path: Path) -> None:
    """Writes all splits as one JSON file (temporary name, then renamed)."""
    rows = {name: [asdict(document) for document in part] for name, part in splits.items()}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def load(path: Path) -> dict[str, list[Document]]:
    """Reads what ``save`` wrote."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {name: [Document(**row) for row in part] for name, part in rows.items()}
