"""The samples of a report, their copied runs marked with where they are from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stylellm.evaluation.tables import pick

MIN_HIGHLIGHT = 4
"""Characters of the longest copy from which it is marked where no runs were listed."""


class Piece(NamedTuple):
    """Characters of a sample; ``source`` says where a copied run is from, empty for its own words."""

    text: str
    copied: bool
    source: str = ""


def marked_samples(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Prompt, kind, and the texts of base and policy in pieces."""
    return [
        {"prompt": sample["prompt"], "kind": sample.get("kind", "")}
        | {name: list(_pieces(result, sample, name)) for name in ("base", "policy")}
        for sample in result.get("samples") or []
    ]


def _pieces(result: Mapping[str, Any], sample: Mapping[str, Any], name: str) -> Iterator[Piece]:
    if "copies" in sample:
        yield from by_runs(sample[name], sample["copies"].get(name) or [])
    else:
        yield from by_text(sample[name], pick(result, "longest_copy", name, "text") or "")


def by_runs(text: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    """The text cut at runs with ``start`` and ``end``; of two that overlap the first keeps its end."""
    place = 0
    for run in sorted(runs, key=lambda run: run["start"]):
        start, end = max(place, run["start"]), min(len(text), run["end"])
        if end <= start:
            continue
        if start > place:
            yield Piece(text[place:start], False)
        yield Piece(text[start:end], True, source(run))
        place = end
    if place < len(text) or not text:
        yield Piece(text[place:], False)


def by_text(text: str, run: str) -> Iterator[Piece]:
    """The text cut at every place where ``run`` stands."""
    if len(run) < MIN_HIGHLIGHT:
        yield Piece(text, False)
        return
    for piece in re.split(f"({re.escape(run)})", text):
        if piece:
            yield Piece(piece, piece == run)


def source(run: Mapping[str, Any]) -> str:
    """Length, book, chapter and offset of a copied run."""
    place = " · ".join(str(run[key]) for key in ("work", "chapter") if run.get(key))
    offset = run.get("offset")
    at = f" @ {offset:,}" if isinstance(offset, int) else ""
    return (
        f"{run['end'] - run['start'] if 'end' in run else run['length']} 字 characters: {place}{at}"
    )
