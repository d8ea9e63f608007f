from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.clean import clean
from stylellm.corpus.modern import load_words, parse_words
from stylellm.errors import DataError


def places(text: str, **options: Any) -> dict[str, int]:
    return dict(clean(text, rules=[], script="keep", **options).modern)


def test_words_are_counted_with_examples() -> None:
    found = clean("他拿出手机，又放下手机。电视里正放新闻联播。", script="keep")
    assert found.modern == {"手机": 2, "电视": 1, "新闻": 1}
    assert any("拿出手机" in example for example in found.modern_examples["手机"])
    assert found.text == "他拿出手机，又放下手机。电视里正放新闻联播。"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("同志们好", "同志"),
        ("他是大学教授", "教授"),
        ("全国的经济发展", "经济"),
        ("他改行做了交通警察", "交通"),
        ("空中小姐送来报纸", "小姐"),
        ("她坐了两个小时", "小时"),
        ("搭火車去", "火车"),
        ("打開電腦", "电脑"),
        ("裝了wifi和WIFI", "WiFi"),
    ],
)
def test_modern_meanings(text: str, word: str) -> None:
    assert word in places(text)


@pytest.mark.parametrize(
    "text",
    [
        "志同道合，足见同志。",
        "小姐和先生都在后堂，太太也来了。",
        "他满腹经济，有经济之才。",
        "阡陌交通，鸡犬相闻。",
        "他是东宫教授，小时候读过书。",
        "随手机关一按，石门便开。",
        "晋公司馬昭大怒。",
        "晋公司马昭大怒。",
        "教授枪棒，思想起来。",
        "他是太医院的人。",
        "聽說英國公徐績到了。",
        "茶博士过来擦抹桌面。",
        "大家公推他做了主席，坐了首座。",
        "MAPPED 不是那个词。",
    ],
)
def test_old_meanings_are_protected(text: str) -> None:
    assert places(text) == {}


def test_protected_places_are_reported() -> None:
    found = clean("小姐说：“先生请坐。”", script="keep")
    assert found.modern_protected["小姐"] == 1


def test_sentences_are_dropped_and_shown() -> None:
    text = "他按剑不语。他拿出手机看了看。众人大笑。\n他打开电脑。\n雪下得正紧。"
    found = clean(text, script="keep", modern_words="sentence")
    assert found.text == "他按剑不语。众人大笑。\n雪下得正紧。"
    report = found.removed[-1]
    assert report.rule == "modern"
    assert report.count == 2
    assert "手机" in report.examples[0][0]
    assert "手机" not in report.examples[0][1]
    assert found.kept() + found.added() == len(found.text)
    assert found.modern == {"手机": 1, "电脑": 1}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("他说：“走罢。我的手机呢？”众人大笑。", "他说：“走罢。”众人大笑。"),
        ("他说：“我的手机呢？走罢。”众人大笑。", "他说：“走罢。”众人大笑。"),
        ("他说：“我的手机呢？”众人大笑。", "众人大笑。"),
        ("雪。“手机呢？电脑呢？”她问。", "雪。她问。"),
        ("（他有手机。）他走了。", "他走了。"),
    ],
)
def test_quotations_stay_whole(text: str, left: str) -> None:
    assert clean(text, rules=[], script="keep", modern_words="sentence").text == left


def test_paragraphs_are_dropped_and_headings_stay() -> None:
    text = "第一章 手机\n\n他按剑不语。\n他拿出手机。众人大笑。\n\n第二章 雪\n\n他有电脑。"
    found = clean(text, script="keep", modern_words="paragraph")
    assert found.text.split("\n") == ["第一章 手机", "", "他按剑不语。", "", "第二章 雪"]


def test_modes() -> None:
    assert clean("手机", modern_words="off").modern == {}
    assert clean("手机", modern_words="count").text == "手机"
    with pytest.raises(DataError, match=r"'all'.*count"):
        clean("手机", modern_words="all")


def test_own_list(tmp_path: Path) -> None:
    path = tmp_path / "词表.txt"
    path.write_text("\ufeff# 注\n飞剑 -飞剑客\n\n机关 +机关枪 # 枪\n", encoding="utf-8")
    text = "飞剑一闪，飞剑客已死，機關重重，機關槍響，手机。"
    assert places(text, modern_word_list=path) == {"飞剑": 1, "机关": 1}
    with pytest.raises(DataError, match="cannot be read"):
        places("字", modern_word_list=tmp_path / "none.txt")


@pytest.mark.parametrize("line", ["字", "飞剑 飞剑客", "飞剑 -剑客", "+飞剑", "飞剑 -"])
def test_wrong_lines_are_named(line: str) -> None:
    with pytest.raises(DataError, match="line 2"):
        parse_words("手机\n" + line)


def test_shipped_list_is_sound() -> None:
    words = parse_words(
        (Path(__file__).parents[2] / "src/stylellm/assets/modern_words.txt").read_text("utf-8")
    )
    texts = [word.text for word in words]
    assert len(texts) == len(set(texts)) > 800
    assert not any(set(word.old) & set(word.modern) for word in words)


WORDS = [
    "手机",
    "手机关",
    "电脑",
    "小时",
    "半小时",
    "机",
    "手",
    "电",
    "\n",
    "。",
    "甲",
    "WiFi",
    "A",
]


@given(st.lists(st.sampled_from(WORDS), max_size=20).map("".join))
@settings(max_examples=100)
def test_the_search_agrees_with_a_plain_one(text: str) -> None:
    listed = ["手机", "电脑", "小时", "WiFi"]
    listing = "手机 -手机关\n电脑\n小时 +半小时\nWiFi"
    from stylellm.corpus.modern import _word_list

    found = _word_list(listing, "test").find(text)
    expected: list[tuple[int, int]] = []
    for start in range(len(text)):
        for word in listed:
            flanks = text[max(0, start - 1) : start] + text[start + 4 : start + 5]
            if (
                text.startswith(word, start)
                and not (word == "手机" and text.startswith("手机关", start))
                and not (word == "小时" and text[max(0, start - 1) : start] != "半")
                and not (
                    word == "WiFi" and any(char.isascii() and char.isalnum() for char in flanks)
                )
            ):
                expected.append((start, start + len(word)))
    assert found.spans == expected
    assert sum(found.places.values()) == len(expected)


@given(
    st.lists(
        st.sampled_from([*WORDS, "“", "”", "他说：", "（", "）", "第一章 雪\n"]), max_size=25
    ).map("".join)
)
@settings(max_examples=150)
@pytest.mark.parametrize("mode", ["sentence", "paragraph"])
def test_drops_are_accounted_for_and_complete(mode: str, text: str) -> None:
    found = clean(text, rules=[], script="keep", modern_words=mode)
    assert found.kept() + found.added() == len(found.text)
    if "\n\n\n" not in "\n\n" + text + "\n\n":
        assert "\n\n\n" not in found.text
    rest = [line for line in found.text.split("\n") if not line.startswith("第一章")]
    assert not load_words().find("\n".join(rest)).places


@pytest.mark.corpus
def test_old_novels_hold_no_modern_words(corpus_dir: Any) -> None:
    """Precision: 16th to 18th century novels of 1.4 million characters, hardly a hit."""
    hits = {}
    for name in ("wuxia/水浒传", "classic/西遊記", "classic/儒林外史"):
        text = (corpus_dir / f"{name}.txt").read_text(encoding="utf-8")
        hits[name] = load_words().find(text).places
    assert sum(sum(found.values()) for found in hits.values()) <= 5, hits


@pytest.mark.corpus
def test_modern_prose_is_full_of_them(corpus_dir: Any) -> None:
    import json

    lines = (corpus_dir / "modern" / "wikipedia.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines[:400]]
    assert sum(bool(load_words().find(text).places) for text in texts) >= 0.75 * len(texts)
