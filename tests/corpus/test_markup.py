from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.markup import MARKS, NOTES, RUBY, read_html, read_markdown
from stylellm.errors import DataError


def lines(page: str) -> list[str]:
    return [line for line in read_html(page)[0].split("\n") if line]


def test_html_keeps_text_and_drops_the_rest() -> None:
    page = "<html><head><title>题</title></head><body><h1>第一章</h1><p>一 &amp;\n二<br>三</p>"
    page += "<script>var x;</script><p><ruby>汉<rt>hàn</rt></ruby>字</p></body></html>"
    assert lines(page) == ["第一章", "一 & 二", "三", "汉字"]


def test_a_line_broken_in_the_source_is_one_line_of_chinese() -> None:
    assert lines("<p>江湖之上，\n  有一少年</p><p>two\nwords</p>") == [
        "江湖之上，有一少年",
        "two words",
    ]
    assert lines("<pre>一\n二</pre><p>三</p>") == ["一", "二", "三"]


@pytest.mark.parametrize(
    "ruby",
    [
        "<ruby>汉<rp>(</rp><rt>hàn</rt><rp>)</rp></ruby>字",
        "<ruby>汉<rt>hàn</ruby>字",
        "<ruby><rb>汉</rb><rtc><rt>hàn</rt></rtc></ruby>字",
        "<ruby>汉<rt>hàn<p>字",
    ],
)
def test_ruby_keeps_the_characters_and_counts_the_readings(ruby: str) -> None:
    text, left_out = read_html(f"<p>{ruby}</p>")
    assert "".join(text.split()) == "汉字"
    assert 3 <= left_out[RUBY] <= 5


@pytest.mark.parametrize(
    ("page", "marks", "notes"),
    [
        ('<p>前<a epub:type="noteref" href="#n">1</a>后</p><aside epub:type="footnote">注</aside>', 1, 1),
        ('<p>前<a href="#n">[12]</a>后</p><p><a href="#r">[12]</a> 注文。</p>', 4, 8),
        ('<p>前<sup><a href="x.html#n">3</a></sup>后</p>', 1, 0),
        ('<p>前<a href="#n"><sup>①</sup></a>后</p>', 1, 0),
        ('<p>前后</p><ol class="duokan-footnote-content"><li id="n">注<div>文</div></li></ol>', 0, 2),
        ('<p>前<a class="duokan-footnote" href="#n"><img src="n.png"/></a>后</p>', 0, 0),
        ('<p>前后</p><section role="doc-endnotes"><p>注<p>文</section>', 0, 2),
    ],
)  # fmt: skip
def test_footnotes_are_left_out_and_counted(page: str, marks: int, notes: int) -> None:
    text, left_out = read_html(page)
    assert text.strip() == "前后"
    assert (left_out[MARKS], left_out[NOTES]) == (marks, notes)


def test_links_that_are_no_footnotes_stay() -> None:
    assert lines('<p><a href="#c1">第一章</a> 见<a href="#y">[上文所说]</a></p>') == [
        "第一章 见[上文所说]"
    ]
    assert lines('<h2><a href="toc.html#1">1</a></h2><p>正文</p>') == ["1", "正文"]


def test_a_picture_of_one_character_is_that_character() -> None:
    assert lines('<p>名<img class="gaiji" src="x.png" alt="𣲗"/>者<img alt="封面"></p>') == [
        "名𣲗者"
    ]


def test_nothing_is_lost_behind_a_tag_left_open() -> None:
    assert lines("<html><head><title>题<body><p>正文") == ["正文"]
    assert lines("<p>一</p><![if !IE]><p>二</p><![endif]><p>三<![CDATA[<四>]]></p>") == [
        "一",
        "二",
        "三<四>",
    ]


@given(st.text(alphabet="<>/!&;[]-=\"' apbrtuyhd1#汉字\n", max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_markup_gives_text_or_one_clear_line(markup: str) -> None:
    try:
        found = read_html(markup, "页")[0]
    except DataError as error:
        found = str(error).replace("\n", "LINE")
    assert "LINE" not in found


def test_markdown_marks_go_and_the_text_stays() -> None:
    source = (
        "第一章\n===\n\n他**忽然**说：*好*！\n\n> 旧诗云\n\n---\n\n见[此处](http://x.cn/a)。"
        "![图](a.png)\n\n雨[^1]下。\n\n[^1]: 注文\n    又一行\n\n2 \\* 3 * 4 = snake_case_name\n"
    )
    text, title, author, left_out = read_markdown(source)
    assert [line for line in text.split("\n") if line.strip()] == [
        "第一章",
        "他忽然说：好！",
        "旧诗云",
        "见此处。",
        "雨下。",
        "2 * 3 * 4 = snake_case_name",
    ]
    assert (title, author) == ("", "")
    assert left_out == {MARKS: 4, NOTES: 16}


@given(st.text(alphabet="江湖夜雨，。“”\n　", max_size=200))
def test_markdown_without_marks_is_the_text(text: str) -> None:
    assert read_markdown(text)[0] == text
