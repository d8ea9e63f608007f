"""What is hidden: a pure function of (seed, epoch, index), in the amounts that were asked for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_texts import texts
from scipy import stats

from stylellm.errors import StyleLLMError
from stylellm.masking.plan import (
    MIN_TEXT_LENGTH,
    MaskPlan,
    MaskSettings,
    draw_strategy,
    plan_mask,
    window_rng,
)
from stylellm.stylometry.function_words import FUNCTION_WORDS

FORMS = [("span", True), ("span", False), ("token", True)]


def plan_of(text, strategy, single_gap=True, *, seed=0, epoch=0, index=0, settings=None):
    rng = window_rng(seed, epoch, index)
    return plan_mask(text, strategy, rng, settings or MaskSettings(), single_gap=single_gap)


def prose(story, length):
    return (story * (length // len(story) + 1))[:length]


@pytest.mark.parametrize(("strategy", "single_gap"), FORMS)
def test_same_arguments_give_the_same_plan(story, strategy, single_gap):
    first = plan_of(story, strategy, single_gap, seed=3, epoch=1, index=7)
    assert first.spans
    assert plan_of(story, strategy, single_gap, seed=3, epoch=1, index=7) == first


@pytest.mark.parametrize(("strategy", "single_gap"), FORMS)
@pytest.mark.parametrize("changed", ["seed", "epoch", "index"])
def test_seed_epoch_and_index_each_change_the_plan(story, strategy, single_gap, changed):
    plans = {plan_of(story, strategy, single_gap, **{changed: i}) for i in range(5)}
    assert len(plans) >= 4


def test_global_random_state_is_neither_used_nor_changed(story):
    np.random.seed(0)
    before = plan_of(story, "token")
    state = np.random.get_state()[1].copy()
    np.random.seed(1)
    assert plan_of(story, "token") == before
    np.random.seed(0)
    assert (np.random.get_state()[1] == state).all()


def test_strategies_are_drawn_by_their_ratios():
    wanted = {"span": 0.6, "token": 0.3, "none": 0.1}
    n = 6000
    drawn = Counter(draw_strategy(window_rng(1, 0, i), MaskSettings()) for i in range(n))
    for strategy, share in wanted.items():
        low, high = stats.binom.interval(0.9999, n, share)
        assert low <= drawn[strategy] <= high, strategy


@pytest.mark.parametrize("sure", ["span", "token", "none"])
def test_a_ratio_of_one_draws_only_that_strategy(sure):
    ratios = {f"{s}_mask_ratio": float(s == sure) for s in ("span", "token")}
    chosen = MaskSettings(**ratios, no_mask_ratio=float(sure == "none"))
    assert {draw_strategy(window_rng(0, 0, i), chosen) for i in range(50)} == {sure}


@pytest.mark.parametrize(("strategy", "single_gap"), FORMS)
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_mask_rate_is_met_on_average(story, strategy, single_gap, rate):
    text = prose(story, 400)
    chosen = MaskSettings(mask_rate=rate)
    hidden = [
        plan_of(text, strategy, single_gap, index=i, settings=chosen).num_hidden / len(text)
        for i in range(300)
    ]
    # One gap varies between 0 and 2 * rate; the other forms hide nearly the same share every time.
    assert np.mean(hidden) == pytest.approx(rate, rel=0.1)
    assert max(hidden) <= 2 * rate
    if (strategy, single_gap) != ("span", True):
        assert min(hidden) >= 0.9 * rate


def test_single_gap_length_is_uniform_up_to_twice_the_mean():
    sizes = [plan_of("字" * 200, "span", index=i).num_hidden for i in range(4000)]
    assert set(sizes) == set(range(4, 57))  # 4 ... 2 * 30 - 4
    counts = Counter(sizes)
    assert stats.chisquare([counts[n] for n in range(4, 57)]).pvalue > 1e-4


def test_span_lengths_are_geometric_with_mean_3_and_at_most_10():
    text = "字" * 1000
    sizes = []
    for index in range(60):
        spans = plan_of(text, "span", single_gap=False, index=index).spans
        sizes += [end - start for start, end in spans]
    counts = Counter(sizes)
    assert max(counts) == 10
    assert np.mean(sizes) == pytest.approx(3, abs=0.15)
    expected = [stats.geom.pmf(n, 1 / 3) for n in range(1, 10)] + [stats.geom.sf(9, 1 / 3)]
    # The last span of a window takes what is left of the budget, hence some slack.
    shares = np.array([counts[n] for n in range(1, 11)]) / len(sizes)
    assert np.abs(shares - expected).max() < 0.03


def test_several_spans_fall_equally_often_on_every_arrangement():
    chosen = MaskSettings(mask_rate=0.25, span_length_mean=1, span_length_max=1)
    n = 6000
    drawn = Counter(
        plan_of("字" * 8, "span", single_gap=False, index=i, settings=chosen).spans
        for i in range(n)
    )
    # Two single characters of the last 7 that do not touch: C(6, 2) = 15 ways.
    assert len(drawn) == 15
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-4


def test_function_words_are_drawn_bias_times_as_often():
    text = "，的，山，却，水，竟，刀，又，火"
    chosen = MaskSettings(mask_rate=1 / len(text), function_word_bias=3.0)
    n = 4000
    drawn = Counter(
        plan_of(text, "token", index=i, settings=chosen).hidden(text)[0] for i in range(n)
    )
    assert set(drawn) == set("的却竟又山水刀火")
    of_function_words = sum(count for word, count in drawn.items() if word in FUNCTION_WORDS)
    low, high = stats.binom.interval(0.9999, n, 3 / 4)
    assert low <= of_function_words <= high


def test_token_strategy_hides_characters_and_whole_words_but_no_punctuation(story):
    import rjieba

    words = set(rjieba.cut(story, hmm=False))
    hidden = [h for i in range(40) for h in plan_of(story, "token", index=i).hidden(story)]
    assert all(any(c.isalnum() for c in piece) for piece in hidden)
    assert all(len(piece) == 1 or piece in words for piece in hidden)
    assert {len(piece) for piece in hidden} >= {1, 2}


def test_none_strategy_hides_nothing(story):
    assert plan_of(story, "none") == MaskPlan("none", ())


@pytest.mark.parametrize(("strategy", "single_gap"), FORMS)
def test_short_texts_are_left_whole(strategy, single_gap):
    assert plan_of("字" * (MIN_TEXT_LENGTH - 1), strategy, single_gap).strategy == "none"
    assert plan_of("字" * MIN_TEXT_LENGTH, strategy, single_gap).spans


def test_text_without_words_gives_the_token_strategy_nothing_to_hide():
    assert plan_of("……？！，。；：“”" * 4, "token") == MaskPlan("token", ())


def check_spans(text, plan, *, text_behind):
    assert all(1 <= start < end <= len(text) for start, end in plan.spans)
    for (_, end), (start, _) in pairwise(plan.spans):
        assert start - end >= 1
    visible, hidden = plan.visible(text), plan.hidden(text)
    assert len(visible) == len(hidden) + 1
    whole = "".join(v + h for v, h in zip(visible, [*hidden, ""], strict=True))
    assert whole == text
    assert plan.num_hidden == sum(map(len, hidden)) < max(len(text), 1)
    if text_behind and plan.spans:
        assert plan.spans[-1][1] <= len(text) - 1


@given(
    texts(), st.integers(0, 2**32 - 1), st.sampled_from(FORMS), st.sampled_from([0.02, 0.15, 0.5])
)
def test_spans_are_sorted_apart_and_inside_any_text(text, seed, form, rate):
    strategy, single_gap = form
    plan = plan_of(text, strategy, single_gap, seed=seed, settings=MaskSettings(mask_rate=rate))
    check_spans(text, plan, text_behind=strategy == "span" and single_gap)
    if strategy == "token":
        assert plan.num_hidden <= max(1, round(rate * len(text)))


@settings(max_examples=50)
@given(st.floats(0.01, 0.99), st.integers(8, 60), st.integers(1, 10), st.data())
def test_every_rate_and_span_length_gives_a_valid_plan(rate, length, longest, data):
    mean = data.draw(st.floats(1, longest))
    chosen = MaskSettings(mask_rate=rate, span_length_mean=mean, span_length_max=longest)
    text = "一" * length
    for strategy, single_gap in FORMS:
        plan = plan_of(text, strategy, single_gap, settings=chosen)
        if strategy == "span":
            assert plan.spans
        check_spans(text, plan, text_behind=single_gap and strategy == "span")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"span_mask_ratio": 0.7}, ["sum to 1.1", "token_mask_ratio"]),
        ({"span_mask_ratio": -0.1, "token_mask_ratio": 1.0}, ["non-negative"]),
        ({"mask_rate": 0.0}, ["mask_rate is 0.0"]),
        ({"mask_rate": 1.0}, ["mask_rate is 1.0"]),
        ({"span_length_mean": 0.5}, ["span_length_mean 0.5"]),
        ({"span_length_mean": 11}, ["span_length_max 10"]),
        ({"function_word_bias": 0}, ["function_word_bias is 0"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, words):
    with pytest.raises(StyleLLMError) as raised:
        MaskSettings(**options)
    for word in words:
        assert word in str(raised.value)
