from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.corpus.clean import Removed, clean
from stylellm.corpus.pairs import CharacterSearch, PairSearch, differing


def only(rule: str, text: str) -> str:
    return clean(text, rules=[rule], script="keep").text


def report(rule: str, text: str) -> Removed:
    found = clean(text, rules=[rule], script="keep")
    assert found.text == text
    return found.removed[0]


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("他走了．她也走了｡", "他走了。她也走了。"),
        ("他走了.\n“好.”", "他走了。\n“好。”"),
        ("约翰.史密斯 v1.2 a.b", "约翰.史密斯 v1.2 a.b"),
        ("他说......走罢。。。。好．．．嗯···", "他说……走罢……好……嗯……"),
        ("wait... no", "wait... no"),
        ("－－半月之前－－", "——半月之前——"),
        ("他──她—她━她--她", "他——她—她——她——她"),
        ("１９３６年ＡＢＣ", "1936年ABC"),
        ("﹁甲﹐乙﹒﹂", "﹁甲，乙。﹂"),
        ("他(笑)说:好;不好?3:15,a;b", "他（笑）说：好；不好？3:15,a;b"),
        ("约翰•史密斯‧琼斯", "约翰·史密斯·琼斯"),
    ],
)
def test_forms_of_marks(text: str, equal: str) -> None:
    assert only("width", text) == equal


def test_quotes_of_every_kind() -> None:
    text = "「甲『乙』」﹁丙﹂〝丁〞＂戊＂"
    assert only("quotes", text) == "“甲‘乙’”“丙”“丁”“戊”"


def test_doubled_marks_are_counted_and_stay() -> None:
    text = "他走了，，她也走了。。好，。不！！！真的？！……嗯。。。完。"
    found = report("doubled_marks", text)
    assert found.count == 3
    assert (found.removed, found.added, found.changed) == (0, 0, 0)
    assert "，，" in found.examples[0][0]


def test_missing_marks_are_counted_and_stay() -> None:
    good = "月色如霜，他按剑不语。雪下得正紧，众人都吃了一惊。"
    assert report("missing_marks", good).count == 0
    assert report("missing_marks", good[:-1] + "这一句没有句号").count == 1
    assert report("missing_marks", "他说：“走罢。" + good).count == 1
    assert report("missing_marks", "走罢。”" + good).count == 1
    assert report("missing_marks", "“他说了很久。" + good + "\n“又说。”" + good).count == 0
    assert report("missing_marks", "第一章 夜奔在风雪之中的少年与他手里的剑没有句号").count == 0


@given(st.text(alphabet="剑光电脑手机ab\n😀", max_size=60))
def test_pair_search_agrees_with_find(text: str) -> None:
    wanted = ["电脑", "手机关", "剑", "ab"]
    expected = [
        i
        for i in range(len(text) - 1)
        if text[i] == "剑" or text[i : i + 2] in ("电脑", "手机", "ab")
    ]
    assert PairSearch(wanted).places(text) == expected


def test_pair_search_over_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylellm.corpus.pairs._SLICE", 7)
    text = "电脑和手机，" * 20
    assert PairSearch(["电脑", "手机"]).places(text) == sorted(
        [i * 6 for i in range(20)] + [i * 6 + 3 for i in range(20)]
    )


@given(st.text(alphabet="剑，。a\n😀\ue000", max_size=60), st.integers(1, 3))
def test_character_search_finds_runs(text: str, shortest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylellm.corpus.pairs._SLICE", 7)
        found = CharacterSearch(re.compile("[，。😀]")).runs(text, shortest)
    expected = [match.span() for match in re.finditer("[，。😀]+", text)]
    assert found == [(a, b) for a, b in expected if b - a >= shortest]


@given(st.text(max_size=30), st.text(max_size=30))
def test_differing(one: str, other: str) -> None:
    expected = [i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    assert differing(one, other).tolist() == expected
