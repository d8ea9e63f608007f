"""Function words against the published list, plain counting and scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from stylellm.errors import DataError
from stylellm.stylometry import function_words
from stylellm.stylometry.function_words import FUNCTION_WORDS, counts, jsd, load_words, rates

ATTESTED = [
    *"之其或亦方于即皆因仍故尚乃呀吗咧啊罢",
    "罢了",
    *"么呢了的着一不把让向往是在别好可便就但越再更比很偏儿又也都要这那你我他来去道说",
]
OURS = [*"却竟倒只才忽已曾未莫岂倘若虽且而则所者将被与从"]

prose = st.text(alphabet="罢了的之不是剑光他A \n，", max_size=60)
not_blank = prose.filter(lambda text: bool(text.strip()))


def slow_counts(text: str, words: tuple[str, ...]) -> dict[str, int]:
    """The definition, one position at a time."""
    found, at = dict.fromkeys(words, 0), 0
    while at < len(text):
        fitting = [word for word in words if text.startswith(word, at)]
        best = max(fitting, key=len, default="")
        if best:
            found[best] += 1
        at += len(best) or 1
    return found


def test_list_is_the_published_one() -> None:
    assert len(ATTESTED) == 58
    assert list(FUNCTION_WORDS) == ATTESTED + OURS


def test_longest_word_first() -> None:
    found = counts("罢了罢，了罢了了")
    assert (found["罢了"], found["罢"], found["了"]) == (2, 1, 2)


def test_rates_are_per_thousand_characters_without_whitespace() -> None:
    text = "他 来\n了　的的" + "剑" * 15
    assert rates(text)["的"] == pytest.approx(1000 * 2 / 20)
    assert rates(text)["了"] == pytest.approx(1000 * 1 / 20)
    assert rates(text)["罢了"] == 0.0
    assert list(rates(text)) == list(FUNCTION_WORDS)


def test_a_word_does_not_span_a_line_break() -> None:
    assert counts("罢\n了")["罢了"] == 0


def test_own_list_with_pattern_characters() -> None:
    assert counts("a]b^c-d.e]", ["]", "^", "-", "c-"]) == {"]": 2, "^": 1, "-": 0, "c-": 1}


def test_empty_text_has_zero_rates_but_no_distribution() -> None:
    assert set(rates("").values()) == {0.0}
    with pytest.raises(DataError, match="without characters"):
        jsd(" \n", "的")


@pytest.mark.parametrize("words", [[], ["的", ""]])
def test_bad_word_lists_are_refused(words: list[str]) -> None:
    with pytest.raises(DataError, match="word list"):
        counts("的", words)


def test_jsd_by_hand() -> None:
    # shares: 的 1/2 and 1/4, other 1/2 and 3/4; m = 3/8, 5/8
    half = 0.5 * np.log2(0.5 / 0.375) + 0.5 * np.log2(0.5 / 0.625)
    other = 0.25 * np.log2(0.25 / 0.375) + 0.75 * np.log2(0.75 / 0.625)
    assert jsd("的剑", "的剑光寒") == pytest.approx((half + other) / 2, abs=1e-12)


def test_jsd_of_texts_with_nothing_in_common_is_one() -> None:
    assert jsd("的了", "剑光") == pytest.approx(1.0)


@given(prose)
def test_counts_match_the_definition(text: str) -> None:
    assert counts(text) == slow_counts(text, FUNCTION_WORDS)


@given(not_blank, not_blank)
def test_jsd_matches_scipy_and_is_a_divergence(one: str, other: str) -> None:
    bins = []
    for text in (one, other):
        length = sum(not c.isspace() for c in text)
        found = list(slow_counts(text, FUNCTION_WORDS).values())
        bins.append(np.array([*found, length - sum(found)], dtype=float))
    value = jsd(one, other)
    assert value == pytest.approx(float(jensenshannon(*bins, base=2)) ** 2, abs=1e-9)
    assert value == jsd(other, one)
    assert 0.0 <= value <= 1.0
    assert jsd(one, one) == 0.0


def test_word_list_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "我的 词表.txt"
    file.write_text("# comment\n之 其\n罢了\n", encoding="utf-8")
    assert load_words(file) == ("之", "其", "罢了")
    file.write_text("之 其 之", encoding="utf-8")
    with pytest.raises(DataError, match="holds twice: 之"):
        load_words(file)
    file.write_text("# nothing", encoding="utf-8")
    with pytest.raises(DataError, match="no word"):
        load_words(file)
    file.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="cannot be read"):
        load_words(file)


@pytest.mark.corpus
def test_an_author_is_closer_to_himself_than_to_another(corpus_dir: Path) -> None:
    own = (corpus_dir / "wuxia" / "三俠五義.txt").read_text(encoding="utf-8")
    other = (corpus_dir / "classic" / "聊齋志異.txt").read_text(encoding="utf-8")
    half = len(own) // 2
    assert 0 < jsd(own[:half], own[half:]) < jsd(own, other) / 5
    assert sum(function_words.rates(own).values()) > 100
