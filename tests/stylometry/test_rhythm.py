"""Rhythm, register, richness, most frequent items."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom, wasserstein_distance

from stylellm.errors import DataError
from stylellm.stylometry import frequent, register, rhythm, richness

TEXT = "剑光一闪，人已倒地。他道：“好快的剑！”\n没有人说话……风、雪、夜——都静了？"


def test_rhythm_by_hand() -> None:
    found = rhythm.rhythm(TEXT)
    assert (found.sentences.n, found.sentences.mean) == (4, 25 / 4)
    assert found.sentences.quantiles[2] == 6.0
    assert found.clauses.mean == pytest.approx(25 / 7)
    assert (found.utterances.n, found.utterances.mean) == (1, 4)
    assert (found.paragraphs.n, found.paragraphs.mean) == (2, 12.5)
    # 25 letters and 13 characters of marks (…… and —— are two each); 好快的剑！ is spoken
    assert found.dialogue_share == pytest.approx(5 / 38)


def test_a_text_of_one_line_has_no_paragraphs_and_an_empty_one_nothing() -> None:
    assert rhythm.rhythm("剑。光。").paragraphs is None
    found = rhythm.rhythm("")
    assert (found.sentences, found.clauses, found.utterances) == (None, None, None)
    assert rhythm.distances("", "剑。") == dict.fromkeys(rhythm.distances(TEXT, TEXT))


def test_distances_are_wassersteins() -> None:
    other = "剑。光影。人已倒地，“走”。"
    found = rhythm.distances(TEXT, other)
    assert found["sentences"] == pytest.approx(wasserstein_distance([8, 6, 5, 6], [1, 2, 5]))
    assert found["utterances"] == pytest.approx(3.0)
    assert set(rhythm.distances(TEXT, TEXT).values()) == {0.0}


def test_punctuation_distance_by_hand() -> None:
    assert rhythm.punctuation_distance("剑，光，影，人。", "剑。光影人") == pytest.approx(3 / 4)
    assert rhythm.punctuation_distance("剑，", "光影，") == 0.0
    with pytest.raises(DataError, match="no punctuation"):
        rhythm.punctuation_distance("剑", "光，")


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30))
def test_summary_is_numpys(lengths: list[int]) -> None:
    found = rhythm.summary(lengths)
    assert (found.n, found.mean) == (len(lengths), pytest.approx(np.mean(lengths)))
    assert found.deviation == pytest.approx(np.std(lengths, ddof=1))
    assert list(found.quantiles) == sorted(found.quantiles)


def test_register_orders_texts() -> None:
    old = "吾闻之，其人已去，岂复来哉？遂与之俱往。"
    new = "我听说那个人已经走了，他不会再来了吧？我们就一起去了。"
    assert register.register(old).index > 0.5
    assert register.register(new).index < -0.5
    assert register.register("剑光").index == 0.0


def test_register_by_hand() -> None:
    found = register.register("之的的剑", wenyan=["之"], baihua=["的"])
    assert (found.wenyan, found.baihua, found.index) == (250, 500, pytest.approx(-1 / 3))
    assert found.words == {"之": 250, "的": 500}
    with pytest.raises(DataError, match="1 on both"):
        register.register("之", wenyan=["之"], baihua=["之"])


def test_the_shipped_lists_share_no_word() -> None:
    assert not set(register.WENYAN) & set(register.BAIHUA)
    assert {"之", "矣"} <= set(register.WENYAN)
    assert {"的", "了"} <= set(register.BAIHUA)


rows = st.lists(st.sampled_from("之的了剑光"), min_size=3, max_size=40)


@given(rows, st.integers(1, 3))
def test_mattr_is_the_mean_over_windows(row: list[str], window: int) -> None:
    windows = [row[i : i + window] for i in range(len(row) - window + 1)]
    expected = np.mean([len(set(one)) / window for one in windows])
    assert richness.mattr(row, window) == pytest.approx(expected)


@given(rows, st.integers(1, 3))
def test_hdd_is_the_sum_of_hypergeometric_chances(row: list[str], sample: int) -> None:
    chances = [1 - hypergeom.pmf(0, len(row), k, sample) for k in Counter(row).values()]
    assert richness.hdd(row, sample) == pytest.approx(sum(chances) / sample)


def test_yule_by_hand() -> None:
    # counts 3, 2, 1 of 6: 10^4 (14 - 6) / 36
    assert richness.yule_k("之之之的的剑") == pytest.approx(1e4 * 8 / 36)
    assert richness.yule_k("之的剑") == 0


def test_richness_refuses_short_texts_and_drops_marks() -> None:
    assert richness.items("剑，光 。影") == ["剑", "光", "影"]
    for measure in (richness.mattr, richness.hdd):
        with pytest.raises(DataError, match="of 5"):
            measure("之的剑", 5)
    with pytest.raises(DataError):
        richness.yule_k("")


def test_most_frequent_by_hand() -> None:
    found = frequent.most_frequent("之之，之的 剑", "之的的", n=2)
    assert [(one.text, one.count) for one in found] == [("之", 3), ("剑", 1)]
    assert [(one.rate, one.reference) for one in found] == [
        (600, pytest.approx(1000 / 3)),
        (200, 0),
    ]


def test_ngrams_stop_at_marks_and_words_are_cut() -> None:
    assert frequent.counts("之的，之 的剑", kind="ngram") == {"之的": 2, "的剑": 1}
    assert frequent.counts("他的宝剑，他的马", kind="word")["宝剑"] == 1
    assert frequent.most_frequent("", "之")[:1] == []
    with pytest.raises(DataError):
        frequent.counts("之", kind="letter")
    with pytest.raises(DataError):
        frequent.counts("之", kind="ngram", ngram=0)
