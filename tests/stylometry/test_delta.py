"""Delta: hand-worked cases, and a second implementation in the plainest Python."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stylellm.errors import DataError
from stylellm.stylometry.delta import burrows_delta, cosine_delta, fit, most_frequent


def text_of(zhi: int, de: int, length: int = 10) -> str:
    return "之" * zhi + "的" * de + "剑" * (length - zhi - de)


# Shares 之 .1 .2 .3 and 的 .3 .1 .2: means .2, sample deviations .1,
# so z is A (-1, 1), B (0, -1), C (1, 0), and the test text (.4, .3) is (2, 1).
PROFILES = {"A": text_of(1, 3), "B": text_of(2, 1), "C": text_of(3, 2)}
TEST = text_of(8, 6, 20)


def test_burrows_by_hand() -> None:
    distances = burrows_delta(PROFILES, TEST, features=["之", "的"])
    assert distances == pytest.approx({"A": 1.5, "B": 2.0, "C": 1.0}, abs=1e-12)


def test_cosine_by_hand() -> None:
    expected = {"A": 1 + 1 / math.sqrt(10), "B": 1 + 1 / math.sqrt(5), "C": 1 - 2 / math.sqrt(5)}
    assert cosine_delta(PROFILES, TEST, features=["之", "的"]) == pytest.approx(expected, abs=1e-12)


def test_two_profiles_and_words_by_hand() -> None:
    # Words: "the" 1/2, 1/4 and "cat" 1/4, 1/4 (no deviation: dropped). Mean of "the" 3/8, sample
    # deviation sqrt(2) / 8; the test text has "the" 0: z = -3 / sqrt(2); profiles +-1 / sqrt(2).
    profiles = {"one": "the the cat sat", "two": "the cat dog ran"}
    features = ["the", "cat"]
    distances = burrows_delta(profiles, "cat cat sat", features=features, unit="word")
    root = math.sqrt(2)
    assert distances == pytest.approx({"one": 4 / root, "two": 2 / root}, abs=1e-12)
    angles = cosine_delta(profiles, "cat cat sat", features=features, unit="word")
    assert angles == pytest.approx({"one": 2.0, "two": 0.0}, abs=1e-12)
    assert fit(profiles, features=features, unit="word").dropped == ("cat",)


def test_chinese_words_are_cut() -> None:
    # 他 的 宝剑 他 的 马: punctuation is no word
    profiles = {"one": "他的宝剑，他的马。", "two": "宝剑和宝剑。"}
    space = fit(profiles, features=["宝剑"], unit="word")
    assert space.mean.tolist() == pytest.approx([(1 / 6 + 2 / 3) / 2])


def test_equal_shares_count_as_zero_deviation() -> None:
    # 1/3, 2/6 and 3/9 are equal, though a computed deviation of them may be 1e-17.
    profiles = {"A": "之的剑", "B": "之之的的的剑", "C": "之之之剑剑剑剑剑剑"}
    space = fit(profiles, features=["之", "的"])
    assert (space.features, space.dropped) == (("的",), ("之",))


def test_the_test_text_does_not_move_the_scale() -> None:
    space = fit(PROFILES, features=["之", "的"])
    assert space.mean.tolist() == pytest.approx([0.2, 0.2])
    assert space.deviation.tolist() == pytest.approx([0.1, 0.1])
    assert space.scores(TEST).tolist() == pytest.approx([2.0, 1.0])


def test_a_profile_is_at_distance_zero_from_itself() -> None:
    assert burrows_delta(PROFILES, PROFILES["A"])["A"] == 0.0
    assert cosine_delta(PROFILES, PROFILES["A"])["A"] == pytest.approx(0.0, abs=1e-12)


def test_a_text_on_the_mean_has_no_direction() -> None:
    middle = text_of(2, 2)
    assert cosine_delta(PROFILES, middle, features=["之", "的"]) == {"A": 1, "B": 1, "C": 1}


def test_default_items_are_the_most_frequent_of_all_profiles() -> None:
    assert most_frequent(["之之，，，的 剑", "的之剑"], 3) == ("之", "剑", "的")
    assert set(fit(PROFILES).features) == {"之", "的", "剑"}
    assert fit(PROFILES, n_features=1).features == ("剑",)
    assert most_frequent(["the cat, the dog"], 1, "word") == ("the",)


def test_whitespace_does_not_count() -> None:
    spaced = {name: "\n".join(text) for name, text in PROFILES.items()}
    assert burrows_delta(spaced, " ".join(TEST)) == burrows_delta(PROFILES, TEST)


@pytest.mark.parametrize(
    ("profiles", "test", "options", "message"),
    [
        ({"A": "之"}, "之", {}, "2 or more"),
        ({"A": "之的", "B": " \n"}, "之", {}, "profile 'B' holds no character"),
        ({"A": "之的", "B": "之之"}, "", {}, "the test text holds no character"),
        ({"A": "之的", "B": "的之"}, "之", {}, "no item varies"),
        ({"A": "之的", "B": "之之"}, "之", {"features": []}, "no item to count"),
        ({"A": "，", "B": "。。"}, "之", {}, "no item to count"),
        ({"A": "之的", "B": "之之"}, "之", {"unit": "letter"}, "unknown unit 'letter'"),
        ({"A": "之的", "B": "之之"}, "，", {"unit": "word"}, "the test text holds no word"),
    ],
)
def test_bad_input_is_one_clear_error(profiles, test, options, message) -> None:
    for distance in (burrows_delta, cosine_delta):
        with pytest.raises(DataError, match=message):
            distance(profiles, test, **options)


characters = st.text(alphabet="之的了剑", min_size=1, max_size=30)


@given(st.lists(characters, min_size=2, max_size=5), characters)
def test_both_distances_match_the_plainest_code(texts: list[str], test: str) -> None:
    items = [
        item for item in "之的了剑" if len({text.count(item) / len(text) for text in texts}) > 1
    ]
    assume(items)
    z: list[list[float]] = []
    for text in [*texts, test]:
        row = []
        for item in items:
            shares = [one.count(item) / len(one) for one in texts]
            mean, deviation = statistics.mean(shares), statistics.stdev(shares)
            row.append((text.count(item) / len(text) - mean) / deviation)
        z.append(row)
    *own, seen = z
    profiles = {str(k): text for k, text in enumerate(texts)}
    burrows = {
        str(k): statistics.fmean(abs(a - b) for a, b in zip(row, seen, strict=True))
        for k, row in enumerate(own)
    }
    assert burrows_delta(profiles, test, features="之的了剑") == pytest.approx(burrows, abs=1e-9)
    angles = cosine_delta(profiles, test, features="之的了剑")
    for k, row in enumerate(own):
        if math.hypot(*row) > 1e-9 and math.hypot(*seen) > 1e-9:
            cosine = sum(a * b for a, b in zip(row, seen, strict=True))
            expected = 1 - cosine / math.hypot(*row) / math.hypot(*seen)
            assert angles[str(k)] == pytest.approx(expected, abs=1e-9)
