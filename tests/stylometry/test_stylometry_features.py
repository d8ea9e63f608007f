"""Sentence and clause lengths, punctuation, dialogue, and the normalisation before them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from stylellm.errors import DataError
from stylellm.stylometry.features import (
    clause_lengths,
    dialogue_share,
    punctuation_rates,
    sentence_lengths,
    wasserstein,
)
from stylellm.stylometry.normalise import normalise

TEXT = "剑光一闪，人已倒地。他道：“好快的剑！”\n没有人说话……风、雪、夜——都静了？"


def test_sentence_lengths_by_hand() -> None:
    assert sentence_lengths(TEXT) == [8, 6, 5, 6]


def test_clause_lengths_by_hand() -> None:
    assert clause_lengths(TEXT) == [4, 4, 2, 4, 5, 3, 3]


def test_numbers_are_not_cut() -> None:
    assert sentence_lengths("Pi is 3.14. Yes.") == [7, 3]
    assert clause_lengths("1,000 at 3:15, no") == [9, 2]


def test_no_sentence() -> None:
    assert sentence_lengths("") == sentence_lengths("……！\n") == []


def test_punctuation_rates_by_hand() -> None:
    rates = punctuation_rates("剑，光，一闪——" + "静" * 12)
    assert rates["，"] == pytest.approx(1000 * 2 / 20)
    assert rates["——"] == pytest.approx(1000 / 20)
    assert rates["。"] == 0.0
    assert punctuation_rates("a;b", [";"]) == {";": pytest.approx(1000 / 3)}


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("他道：“好快。”", 3 / 8),
        ("「好『快』。」道", 3 / 8),
        ('他道："好快"', 2 / 7),
        ("“好快\n他道", 2 / 5),  # speech that goes on in the next paragraph
        ("“好“快”他", 1 / 6),  # the first mark lost its partner
        ("他道", 0.0),
        ("", 0.0),
    ],
)
def test_dialogue_share_by_hand(text: str, share: float) -> None:
    assert dialogue_share(text) == pytest.approx(share)


def test_wasserstein_of_a_shift_is_the_shift() -> None:
    assert wasserstein([3, 5, 8], [5, 7, 10]) == pytest.approx(2.0)
    assert wasserstein([1, 2], [2, 1]) == 0.0
    with pytest.raises(DataError, match="empty"):
        wasserstein([], [1])


@given(*[st.lists(st.integers(1, 40), min_size=1, max_size=12)] * 2)
def test_wasserstein_is_the_area_between_the_distributions(
    one: list[int], other: list[int]
) -> None:
    area = sum(
        abs(sum(v <= x for v in one) / len(one) - sum(v <= x for v in other) / len(other))
        for x in range(41)
    )
    assert wasserstein(one, other) == pytest.approx(area)
    assert wasserstein(one, other) == pytest.approx(wasserstein_distance(one, other))


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ('他说:"走!"......他道,好.', "他说：“走！”……他道，好。"),
        ("「你『来』么？」——好", "“你‘来’么？”——好"),
        ("N进K学堂,1,000 at 3:15", "N进K学堂，1,000 at 3:15"),
        ("１２Ａａ，x, y", "12Aa，x, y"),
        ("他--走—了　好\u200b。\r\n去", "他——走——了 好。\n去"),
        ("路(一)好", "路（一）好"),
        ("好。.。…", "好……"),
        ("\uf900", "\u8c48"),
    ],
)
def test_normalise(given_text: str, expected: str) -> None:
    assert normalise(given_text) == expected


@settings(max_examples=1000)
@given(st.text(alphabet='剑光a1,.;:?!()"“”「」『』…—-。，·　 \n\r', max_size=30))
def test_normalise_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(max_size=30))
def test_normalise_takes_any_text(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
