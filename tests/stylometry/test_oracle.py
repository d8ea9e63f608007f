"""Our measures against an independent R script on five real books (oracle.R, oracle.csv)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from stylellm.stylometry import delta, function_words, maps, ngrams, richness
from stylellm.stylometry.imposters import general_imposters
from stylellm.stylometry.rolling import rolling_delta
from stylellm.stylometry.zeta import zeta

BOOKS = {
    "sanxia": "wuxia/三俠五義.txt",
    "ernv": "wuxia/兒女英雄傳.txt",
    "lvmudan": "wuxia/綠牡丹.txt",
    "fenzhuang": "wuxia/粉妝樓全傳.txt",
    "honglou": "classic/紅樓夢.txt",
}
TABLE = Path(__file__).with_name("oracle.csv")


def table() -> dict[str, float]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["quantity"]: float(row["value"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def books(corpus_dir: Path) -> dict[str, str]:
    missing = [path for path in BOOKS.values() if not (corpus_dir / path).is_file()]
    if missing:
        pytest.skip(f"not in the corpus folder: {missing[0]}")
    return {
        name: re.sub("[^\u4e00-\u9fff]", "", (corpus_dir / path).read_text(encoding="utf-8"))
        for name, path in BOOKS.items()
    }


def half(n: int, k: int, a: int) -> list[int]:
    """The draw rule of oracle.R, counted from 0."""
    order = sorted(range(1, n + 1), key=lambda i: ((i * (7 * k + a) + k * k) % 101, i))
    return [i - 1 for i in order[: int(n / 2 + 0.5)]]


def delta_rows(books: dict[str, str], features: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for test, text in books.items():
        others = {name: other for name, other in books.items() if name != test}
        for kind, distance in (("burrows", delta.burrows_delta), ("cosine", delta.cosine_delta)):
            for other, value in distance(others, text, features=features).items():
                yield f"{kind}:{test}:{other}", value


def imposter_rows(books: dict[str, str], features: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    names = list(books)
    subsets = [(half(100, k, 3), half(4, k, 5)) for k in range(1, 41)]
    for b, name in enumerate(names):
        head, tail = books[name][:-20000], books[name][-20000:]
        for label, chosen in (("right", name), ("wrong", names[(b + 1) % len(names)])):
            candidate = head if label == "right" else books[chosen]
            others = {
                other: head if other == name else text
                for other, text in books.items()
                if other != chosen
            }
            for measure in ("burrows", "cosine", "minmax"):
                found = general_imposters(
                    tail, candidate, others, features=features, measure=measure, subsets=subsets
                )
                yield f"imposters:{measure}:{label}:{name}", found.wins


def zeta_rows(books: dict[str, str], ranked: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    first, *others = books.values()
    for formula in ("craig", "eder"):
        found = zeta(first, others, unit="character", formula=formula, min_share=0.0)
        values = {item.item: item.zeta for item in found.items}
        for rank in range(150, 501, 10):
            yield f"zeta:{formula}:{rank}", values[ranked[rank - 1]]
    yield "zeta:slices:author", found.author_slices
    yield "zeta:slices:others", found.other_slices


def map_rows(books: dict[str, str], features: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    space = delta.fit(books, features=features)
    found = maps.principal_components(space, 3)
    for k in range(3):
        yield f"pca:explained:{k + 1}", float(found.explained[k])
        for name, value in zip(found.names, found.coordinates[:, k], strict=True):
            yield f"pca:size:{k + 1}:{name}", abs(float(value))
    names, distances = maps.pairwise(space)
    for linkage in ("average", "complete", "single"):
        heights = maps.tree(names, distances, linkage=linkage).merges[:, 2]
        for k, height in enumerate(sorted(heights.tolist()), 1):
            yield f"tree:{linkage}:{k}", height


def rolling_rows(books: dict[str, str], features: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    *profiles, last = books.items()
    found = rolling_delta(dict(profiles), last[1][:35000], step=2500, features=features)
    for begin, row in zip(found.begins, found.distances, strict=True):
        for name, value in zip(found.names, row.tolist(), strict=True):
            yield f"rolling:{begin}:{name}", value


def text_rows(books: dict[str, str], features: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for one, other in combinations(books, 2):
        yield f"jsd:{one}:{other}", function_words.jsd(books[one], books[other], features)
    begins = {name: text[:20000] for name, text in books.items()}
    names = list(begins)
    for at, (name, text) in enumerate(begins.items()):
        yield f"length:{name}", len(books[name])
        reference = ngrams.NgramSet(books[names[(at + 1) % len(names)]], 3)
        for n in (1, 2, 3):
            yield f"overlap:{n}:{name}", ngrams.overlap(text, reference, n)
        yield f"distinct3:{name}", ngrams.distinct_n(text, 3)
        yield f"mattr:{name}", richness.mattr(text, 500)
        yield f"hdd:{name}", richness.hdd(text, 500)
        yield f"yule:{name}", richness.yule_k(text)


def test_the_table_holds_numbers_only() -> None:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 300
    assert all(line.isascii() for line in lines)


@pytest.mark.corpus
@pytest.mark.slow
def test_every_measure_agrees_with_r(books: dict[str, str]) -> None:
    expected = table()
    ranked = delta.most_frequent(books.values(), 500)
    features = ranked[:100]
    found = {f"feature:{i}": float(ord(item)) for i, item in enumerate(features, 1)}
    for rows in (delta_rows, imposter_rows, map_rows, rolling_rows, text_rows):
        found |= dict(rows(books, features))
    found |= dict(zeta_rows(books, ranked))
    assert found.keys() == expected.keys()
    wrong = {
        name: (value, expected[name])
        for name, value in found.items()
        if not np.isclose(value, expected[name], rtol=1e-9, atol=1e-12)
    }
    assert wrong == {}
