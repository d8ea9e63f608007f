from __future__ import annotations

import pytest

from stylellm.corpus.clean import clean

PROSE = [
    "月色如霜，林远山在破庙之中按剑不语，忽听得沈三娘说道：“且慢动手！”众人闻言都吃了一惊。",
    "雪下得正紧，那白衣少年立在渡口边上，望着对岸的灯火，一句话也没有说。",
    "店小二端上一壶热酒，又切了两斤牛肉，众人围着火炉坐下，谁也不提昨夜的事情。",
]


def only(rule: str, text: str, title: str | None = None) -> str:
    return clean(text, rules=[rule], script="keep", title=title).text


def novel(chapters: int = 12) -> str:
    return "\n\n".join(
        f"第{n}章 夜奔{n}\n\n" + "\n".join(PROSE) for n in "一二三四五六七八九十"[:chapters]
    )


@pytest.mark.parametrize(
    "head",
    [
        "书名：夜行录\n作者：某某\n出版社：某某出版社\nISBN 7-02-000000-1\n",
        "夜行录\n图书在版编目（CIP）数据\n版权所有 翻印必究\n定价：2.50元\n",
        "書名：夜行錄\n作者：某某\n",
        "责任编辑：张三\n1985年5月第1版\n新华书店经销\n",
    ],
)
def test_publishers_front_matter(head: str) -> None:
    text = novel(6)
    left = only("publisher", head + "\n" + text).strip("\n")
    assert left in (text, "夜行录\n\n" + text)


def test_publishers_back_matter_and_the_end() -> None:
    text = novel(6)
    back = "（全书完）\n\n版次：1985年5月第1版\n印数：1—50000\n字数：300千字\n定价：2.50元"
    assert only("publisher", text + "\n\n" + back).rstrip("\n") == text
    for end in ("全书完", "——完——", "【正文完】", "《夜行录》全文终", "THE END", "（未完待续）"):
        assert only("publisher", text + "\n" + end) == text + "\n"


def test_prose_about_books_is_no_colophon() -> None:
    text = "作者：这两个字他看了半天。\n" + "\n".join(PROSE) + "\n定价两文，概不赊欠。\n他说完了。"
    assert only("publisher", text) == text
    middle = "\n".join(PROSE * 40 + ["书名：夜行录", "ISBN 7-02-000000-1"] + PROSE * 40)
    assert only("publisher", middle) == middle


def test_project_gutenberg() -> None:
    text = novel(4)
    start = "The Project Gutenberg eBook of X\n\nTitle: X\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n"
    start += "\nProduced by Someone\n\n"
    end = "\n\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n\nUpdated editions will replace ..."
    assert only("publisher", start + text + end).strip("\n") == text
    old = (
        "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n"
        + text
        + "\nEnd of Project Gutenberg's X"
    )
    assert only("publisher", old).strip("\n") == text
    assert only("publisher", text + "\n他提到古登堡 Gutenberg 的圣经。") != text


def contents(chapters: int = 10, pages: bool = False) -> str:
    return "\n".join(
        f"第{n}章 夜奔{n}" + (f"……{i * 12}" if pages else "")
        for i, n in enumerate("一二三四五六七八九十"[:chapters], 1)
    )


@pytest.mark.parametrize("pages", [False, True])
@pytest.mark.parametrize("word", ["目录\n\n", "目 錄\n", "CONTENTS\n", ""])
def test_contents(word: str, pages: bool) -> None:
    text = novel(10)
    assert only("contents", word + contents(10, pages) + "\n\n" + text).strip("\n") == text
    assert only("contents", "夜行录\n\n" + word + contents() + "\n" + text) == "夜行录\n\n" + text


def test_contents_without_numbers() -> None:
    titles = ["夜渡", "孤灯", "断雁", "归舟", "残雪"]
    text = "\n\n".join(title + "\n\n" + "\n".join(PROSE) for title in titles)
    assert only("contents", "目录\n" + "\n".join(titles) + "\n" + text) == text


def test_headings_that_are_no_contents() -> None:
    text = novel(10)
    assert only("contents", text) == text
    empty = "\n".join(f"第{n}章" for n in "一二三四五") + "\n" + "\n".join(PROSE)
    assert only("contents", empty) == empty
    volumes = "第一卷\n第一章\n" + "\n".join(PROSE) + "\n第二卷\n第一章\n" + "\n".join(PROSE)
    assert only("contents", volumes) == volumes
    assert only("contents", "他要看目录\n" + text) == "他要看目录\n" + text


def broken(width: int, every: int, line: str) -> str:
    """Prose with a page line after every so many characters, in the middle of sentences."""
    text = "".join(PROSE) * 12
    pieces = [text[i : i + every] for i in range(0, len(text), every)]
    return "\n".join(
        piece + ("\n" + line.format(number) if number < len(pieces) else "")
        for number, piece in enumerate(pieces, 57)
    ), text


@pytest.mark.parametrize("line", ["{}", "- {} -", "［{}］", "·{}·", "　{}", "第{}页", "Page {}"])
def test_page_numbers(line: str) -> None:
    dirty, text = broken(0, 110, line)
    dirty = dirty.rsplit("\n", 1)[0] if dirty.split("\n")[-1].strip(" -").isdigit() else dirty
    left = only("page_numbers", dirty)
    assert left.replace("\n", "") == text


def test_numbers_of_sections_are_no_page_numbers() -> None:
    text = "\n".join(f"{number}\n" + "\n".join(PROSE) for number in range(1, 12))
    assert only("page_numbers", text) == text
    years = "\n".join(f"{year}\n{PROSE[0]}" for year in (1911, 1919, 1927, 1937, 1945, 1949))
    assert only("page_numbers", years) == years
    assert only("page_numbers", "他数了数\n3\n刀") == "他数了数\n3\n刀"


@pytest.mark.parametrize("line", ["夜行录", "夜行录 {}", "{} 夜行录", "《夜行录》"])
def test_running_titles(line: str) -> None:
    dirty, text = broken(0, 110, line)
    assert only("running_titles", dirty, "夜行录").replace("\n", "") == text
    assert "夜行" not in only("running_titles", dirty, None)


def test_a_running_chapter_heading_stays_once() -> None:
    dirty, text = broken(0, 110, "第三回 风雪渡口")
    left = only("running_titles", "第三回 风雪渡口\n" + dirty)
    assert left.count("第三回 风雪渡口") == 1
    assert left.replace("\n", "") == "第三回 风雪渡口" + text


def test_refrains_and_speakers_stay() -> None:
    play = "\n".join(f"老道人\n{line}\n白衣少年\n{line}" for line in PROSE * 4)
    assert only("running_titles", play) == play
    assert (
        only("running_titles", "夜行录\n" + "\n".join(PROSE) + "\n夜行录", "夜行录").count("夜行录")
        == 2
    )


def test_one_break_is_left_where_a_page_ends_with_a_sentence() -> None:
    text = "\n".join(PROSE)
    assert only("page_numbers", text.replace("。\n", "。\n第12页\n")) == text
