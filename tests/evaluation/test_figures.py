"""Figures, gate and copied runs on cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.corpus.read import decode
from stylellm.evaluation.copies import Shelf
from stylellm.evaluation.figures import ratio
from stylellm.evaluation.gate import Limits, failures, judge
from stylellm.evaluation.style import Author, describe
from stylellm.evaluation.texts import Place, stretches
from stylellm.stylometry import ngrams


def test_a_ratio_is_of_sums_and_its_interval_a_bootstrap() -> None:
    above, below = np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 3.0])
    found = ratio(above, below, fewest=3, seed=1)
    assert found["value"] == pytest.approx(12 / 5) and found["n"] == 3 and not found["small"]
    assert 1 <= found["low"] < 12 / 5 < found["high"] <= 3
    alone = ratio(above[:1], below[:1], fewest=3)
    assert alone == {"value": 1.0, "low": None, "high": None, "n": 1, "small": True}
    assert (
        ratio(np.full(4, 2.0), np.ones(4))["low"] == ratio(np.full(4, 2.0), np.ones(4))["high"] == 2
    )


def result(**changes: object) -> dict:
    longest = {"length": 51, "work": "某书", "chapter": "第三回", "text": "字" * 51}
    memory = {"longest": longest, "copied": {"value": 0.01}}
    policy = {
        "memorisation": {"author": memory},
        "degeneration": {"rep_4": {"value": 0.3, "real": {"high": 0.1}}},
    }
    bits = {"bits_per_character": {"value": -0.5}}
    return {
        "style": {"policy": policy},
        "drift_kl": 0.1,
        "likelihood": {"author": {"difference": bits}, "general": None},
    } | changes


def test_the_gate_names_each_limit() -> None:
    gate = judge(result(), Limits())
    passed = {row["name"]: row["passed"] for row in gate["limits"]}
    assert passed == {
        "longest_copy": False, "copied_share": True, "drift_kl": True, "general_loss": None,
        "author_gain": True, "repetition": False,
    }  # fmt: skip
    assert not gate["passed"]
    assert failures(gate) == [
        f"longest copy: 51 > 50 (某书 第三回: {'字' * 40})",
        "repetition above real text: 0.2 > 0.1",
    ]
    assert judge(result(), Limits(longest_copy=51, repetition=None))["passed"]
    assert not judge(result(drift_kl=0.6), Limits(longest_copy=51, repetition=None))["passed"]


def test_runs_say_where_they_stand_in_sample_and_book() -> None:
    book = {
        Place("甲书", "第一回"): "天下大势，分久必合，合久必分。",
        Place("甲书", "第二回"): "话说剑光一闪",
    }
    shelf = Shelf(book)
    # Dots and quotes change their length when punctuation is made one.
    text = '"走"....他说:天下大势,\n分久必合呀'
    (run,) = shelf.runs(text, 8)
    assert text[run["start"] : run["end"]] == "天下大势,\n分久必合"
    assert (run["length"], run["work"], run["chapter"], run["offset"]) == (9, "甲书", "第一回", 0)
    assert run["context"] == "【天下大势，分久必合】，合久必分。"
    found = shelf.memorised(["话说剑光", "云"], 3)
    assert found["longest"]["chapter"] == "第二回" and found["lengths"] == [4, 0]
    assert found["copied"]["value"] == 0.5 and found["copied"]["small"]
    assert found["novelty"]["5"] is None


@given(st.text(alphabet="甲乙 \n", max_size=60), st.lists(st.integers(0, 9), max_size=6))
def test_stretches_are_in_order_of_these_lengths_and_do_not_overlap(text, lengths) -> None:
    pieces = stretches(text, lengths)
    ink = "".join(text.split())
    at = 0
    for piece in pieces:
        at = text.index(piece, at) + len(piece)
    sizes = [len("".join(piece.split())) for piece in pieces]
    wanted = [length for length in lengths if length]
    if len(ink) >= sum(lengths):
        assert sizes == wanted
    else:
        assert sum(sizes) <= len(ink)


def test_a_row_agrees_with_the_plain_measures(repo_root) -> None:
    paths = sorted((repo_root / "data" / "demo" / "author").rglob("*.txt"))
    text = "\n".join(decode(path.read_bytes()).text for path in paths)
    author, pieces = Author(text[:6000]), [text[6000:6400], text[6400:7000]]
    found = describe(pieces, author, length=900, seed=0)
    for n in (1, 3, 6):
        assert found["ngram_overlap"][str(n)]["value"] == pytest.approx(
            ngrams.overlap(pieces, text[:6000], n)
        )
        assert found["ngram_divergence"][str(n)]["value"] == pytest.approx(
            ngrams.divergence(pieces, text[:6000], n)
        )
    from stylellm.stylometry import rhythm

    whole = rhythm.distances("\n".join(pieces), text[:6000])
    assert found["rhythm"]["clauses"]["wasserstein"]["value"] == pytest.approx(
        whole["clauses"], abs=0.5
    )
    assert found["degeneration"]["rep_4"]["value"] == ngrams.rep_n(pieces, 4)
    assert found["degeneration"]["rep_4"]["real"]["low"] >= 0
    assert found["small"]
