"""Every measure of what was written, for the four rows at equal length: no model is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stylellm.errors import DataError
from stylellm.evaluation import style
from stylellm.evaluation.copies import Shelf
from stylellm.evaluation.figures import Figure
from stylellm.evaluation.nearness import Attribution, Space, zeta_words
from stylellm.evaluation.settings import Clock, Settings
from stylellm.evaluation.style import SMALL_SAMPLE
from stylellm.evaluation.texts import Texts, chapters, join, rows_of, works
from stylellm.stylometry import function_words, ngrams
from stylellm.stylometry.text import without_whitespace


def style_table(
    samples: Sequence[dict[str, Any]],
    texts: Texts,
    settings: Settings,
    *,
    clock: Clock | None = None,
    cache: Path | None = None,
    mauve: Callable[[Mapping[str, Sequence[str]], str], dict[str, Figure]] | None = None,
) -> dict[str, Any]:
    """Every measure of what was written, for the four rows at equal length.

    Each sample gets its copied runs (`copies`). The copy index is kept in `cache`. `mauve` takes the
    rows and the author's text, as `mauve_of_rows` does for a model.
    """
    clock = clock or Clock()
    rows = rows_of([s["base"] for s in samples], [s["policy"] for s in samples], texts)
    parts = chapters(texts.author_train)
    with clock.stage("style"):
        author = style.Author("\n".join(works(parts).values()), settings.ngram_max)
        table = _described(rows, author, settings.seed)
    found = _plain(rows, author)
    found["author_words"] = style.word_table(author.text, settings.seed)
    found["reference"] = {"author": _reference(author, rows, settings.seed)}
    with clock.stage("copies"):
        shelf = Shelf(parts, cache=cache)
        _memorisation(table, rows, shelf, texts, settings.copy_limit)
        for sample in samples:
            sample["copies"] = {m: shelf.runs(sample[m]) for m in ("base", "policy")}
    for name, row in table.items():
        longest = row["memorisation"]["author"]["longest"]
        found["longest_copy"][name] = longest or {"length": 0, "text": ""}
    with clock.stage("nearness"):
        found |= _nearness(table, rows, texts, parts, settings)
    if mauve:
        with clock.stage("mauve"):
            for name, figure in mauve(rows, author.text).items():
                table[name]["mauve"] = figure
    found["style"] = table
    return found


def _shortest(rows: Mapping[str, Sequence[str]]) -> int:
    """Characters of the shortest row."""
    return min(len(without_whitespace("".join(pieces))) for pieces in rows.values())


def _described(
    rows: Mapping[str, Sequence[str]], author: style.Author, seed: int
) -> dict[str, dict[str, Any]]:
    shortest = _shortest(rows)
    return {
        name: style.describe(pieces, author, length=shortest, seed=seed)
        for name, pieces in rows.items()
    }


def _plain(rows: Mapping[str, Sequence[str]], author: style.Author) -> dict[str, Any]:
    """The design's own keys: plain numbers by row."""
    pooled = {name: "".join(pieces) for name, pieces in rows.items()}
    orders = range(1, author.ngram_max + 1)
    sizes = {name: len(without_whitespace(text)) for name, text in pooled.items()}
    return {
        "ngram_overlap": {
            name: {str(n): ngrams.overlap(pieces, author.grams, n) for n in orders}
            for name, pieces in rows.items()
        },
        "function_word_jsd": {n: function_words.jsd(t, author.text) for n, t in pooled.items()},
        "function_word_rates": {
            name: function_words.rates(text)
            for name, text in {"author": author.text, **pooled}.items()
        },
        "rep_4": {name: ngrams.rep_n(pieces, 4) for name, pieces in rows.items()},
        "distinct_2": {name: ngrams.distinct_n(pieces, 2) for name, pieces in rows.items()},
        "longest_copy": {},
        "num_characters": sizes,
        "small_sample": max(sizes.get(name, 0) for name in ("base", "policy")) < SMALL_SAMPLE,
    }


def _reference(
    author: style.Author, rows: Mapping[str, Sequence[str]], seed: int
) -> dict[str, Any]:
    """The author's training text by itself, in the shape of a row."""
    shortest = _shortest(rows)
    return {
        "characters": len(without_whitespace(author.text)),
        "rhythm": style.rhythm_of(author.text[:200_000], author.text, seed),
        "register": style.register_of(author.text[:200_000], seed),
        "richness": style.richness_of(author.text, shortest, seed),
    }


def _memorisation(
    table: dict[str, dict[str, Any]],
    rows: Mapping[str, Sequence[str]],
    shelf: Shelf,
    texts: Texts,
    limit: int,
) -> None:
    """Every row against the training text, the held-out text and the other author's books."""
    shelves: dict[str, Callable[[], Shelf]] = {"author": lambda: shelf}
    for name, windows in (
        ("held_out_author", texts.author_test),
        ("other_author", texts.other_test),
    ):
        parts = chapters(windows) if len(windows) else {}
        if any(map(str.strip, parts.values())):
            shelves[name] = lambda parts=parts: Shelf(parts)  # type: ignore[misc]
    for row in table.values():
        row["memorisation"] = {}
    for name, build in shelves.items():
        books = build()
        for kind, pieces in rows.items():
            if kind != name:
                table[kind]["memorisation"][name] = books.memorised(pieces, limit)


def _nearness(
    table: dict[str, dict[str, Any]],
    rows: Mapping[str, Sequence[str]],
    texts: Texts,
    parts: Any,
    settings: Settings,
) -> dict[str, Any]:
    """Delta, imposters, map, rolling Delta, attribution, two-sample test and Zeta.

    What the texts do not allow is None, with the reason in `not_measured`.
    """
    pooled = {name: "\n".join(pieces) for name, pieces in rows.items()}
    sources = {"author": works(parts)}
    for name, windows in (
        ("other_author", texts.other_test),
        ("general", [*texts.general_train, *texts.general_test]),
    ):
        if len(windows) and join(windows).strip():
            sources[name] = works(chapters(windows))
    found: dict[str, Any] = {
        "not_measured": {}, "map": None, "tree": None, "rolling": None, "attribution": None, "zeta": None,
    }  # fmt: skip
    try:
        space = Space(sources)
        for name, text in pooled.items():
            table[name]["burrows_delta"] = space.distances(text, "burrows", settings.seed)
            table[name]["cosine_delta"] = space.distances(text, "cosine", settings.seed)
            table[name]["imposters"] = space.imposters(text, settings.seed)
        found |= {"map": space.map(pooled), "tree": space.tree(pooled)}
        found["rolling"] = space.rolling(pooled)
    except DataError as error:
        found["not_measured"]["delta"] = str(error)
    try:
        judge_of = Attribution(sources, min(map(len, map(without_whitespace, pooled.values()))))
        found["attribution"] = judge_of.summary(len(sources["author"]))
        for name, text in pooled.items():
            table[name]["attribution"] = judge_of.row(text)
            table[name]["two_sample"] = judge_of.two_sample(text, settings.seed)
    except DataError as error:
        found["not_measured"]["attribution"] = str(error)
    found["zeta"] = zeta_words(sources, pooled)
    if found["zeta"] is None:
        found["not_measured"]["zeta"] = "too little text of the author or of others"
    return found
