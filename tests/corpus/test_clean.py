from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.clean import clean, merge_reports, rule_names
from stylellm.corpus.rules import RULES
from stylellm.errors import DataError


def only(rule: str, text: str, title: str | None = None) -> str:
    """The text after this one rule."""
    return clean(text, rules=[rule], script="keep", title=title).text


def test_line_ends() -> None:
    assert only("line_ends", "一\r\n二\r三\u2028四\n五") == "一\n二\n三\n四\n五"


def test_control_characters() -> None:
    assert (
        only("control", "剑\x00光\u200b一\ufeff闪\ue000<|endoftext|>人\ufffd\tA") == "剑光一闪人\tA"
    )


def test_html() -> None:
    text = "<p>甲&nbsp;乙&amp;丙</p>1 < 2，a<b>粗</b><br/>末<!-- 注 -->"
    text += "<font color='red'>红</font>&#24515;"
    assert only("html", text) == "\n甲 乙&丙\n1 < 2，a粗\n末红心"
    assert only("html", "甲&lt;br&gt;乙&amp;nbsp;丙&nbsp丁[b]戊[/b]") == "甲\n乙 丙 丁戊"
    assert only("html", "甲\n　　document.write('x');\nvar a = 1;\n乙") == "甲\n\n\n乙"
    prose = "他说 f(x); 是函数。[甲] a<b & c>d；&乙;"
    assert only("html", prose) == prose


@pytest.mark.parametrize(
    "line",
    [
        "更多精彩好书，更多原创TXT手机电子书，请登陆奇书网--www.example.com",
        "本書由某某書庫整理提供下載",
        "http://www.example.org/novel/1.html",
        "欢迎光临某某小说网",
        "书友QQ群：123456789",
        "（未完待续）",
        "手机用户请浏览阅读，更优质的阅读体验",
    ],
)
def test_advertisements(line: str) -> None:
    assert only("ads", f"第一段。\n{line}\n第二段。") == "第一段。\n第二段。"


@pytest.mark.parametrize(
    "line",
    [
        "他欢迎光临的客人进门。",
        "他手打脚踢，好不热闹。",
        "“更多的书在哪里？”她问道。",
        "这本书由父亲传给了他。",
        "镖车上写着QQ二字，无人识得。",
    ],
)
def test_prose_is_no_advertisement(line: str) -> None:
    assert only("ads", f"第一段。\n{line}\n第二段。") == f"第一段。\n{line}\n第二段。"


def test_an_advertisement_inside_a_paragraph_goes_alone() -> None:
    assert only("ads", "“你是谁？”（www.example.com）那人不答。") == "“你是谁？”那人不答。"
    long = "没有句号的长句，" * 30
    assert only("ads", f"{long}见www.example.com，{long}") == f"{long}见，{long}"


def test_notes_and_their_markers() -> None:
    text = "猹(2)跑了。\n值年(3)到了。\n(1)本篇发表于某年。\n(2)猹：兽名。\n(3)值年：轮值。\n\n"
    text += "下一篇①。\n(1)甲事\n(2)乙事"
    assert only("notes", text) == "猹跑了。\n值年到了。\n\n下一篇。\n(1)甲事\n(2)乙事"


def test_notes_of_every_form() -> None:
    text = "甲[1]。乙【2】。丙（３）。丁〔注4〕。戊[注５]。己①庚⑵辛¹。"
    assert only("notes", text) == "甲。乙。丙。丁。戊。己庚辛。"


def test_numbers_in_brackets_that_are_no_notes() -> None:
    text = "开宝八年(975)建塔。乾符二年(875)，他三十(30)岁。有三种：(1)失足；(2)被打；(3)自落。分为：①甲；②乙。"
    assert only("notes", text) == text


def test_separators() -> None:
    assert only("separators", "甲\n※ ※ ※\n乙\n======\n丙\n**") == "甲\n乙\n丙\n**"


WRAPPED = "　　" + "这是一个很长的段落，" * 9
PARAGRAPHS = [WRAPPED + "说到这里为止。", "　　“短句。”", WRAPPED + "又说了一遍。"] * 6


def test_hard_wrapped_lines_are_joined() -> None:
    broken = ["\n".join(p[i : i + 30] for i in range(0, len(p), 30)) for p in PARAGRAPHS]
    assert only("wrapped", "\n".join(broken)) == "\n".join(PARAGRAPHS)


def test_text_that_is_not_wrapped_is_left_alone(make_book: Any) -> None:
    assert only("wrapped", "\n".join(PARAGRAPHS)) == "\n".join(PARAGRAPHS)
    book = make_book()
    assert only("wrapped", book) == book


def test_width() -> None:
    text = "他说,你好!ＡＢ１２（甲）(乙)丙......丁――戊--己 3.14,a,b 庚．辛．．．壬"
    assert only("width", text) == "他说，你好！AB12（甲）（乙）丙……丁——戊——己 3.14,a,b 庚。辛……壬"


def test_quotes() -> None:
    assert only("quotes", "「甲『乙』丙」") == "“甲‘乙’丙”"
    assert (
        only("quotes", '他说:"好"又说"坏"。\n单独一个"引号') == '他说:“好”又说“坏”。\n单独一个"引号'
    )
    assert only("quotes", "don't 说'甲乙'") == "don't 说‘甲乙’"


def test_spaces() -> None:
    assert only("spaces", "　　甲　乙 \t丙\xa0\n \n丁") == "甲 乙 丙\n\n丁"
    prose = "这一句是散文，字数要超过三十个才会被当作散文来看待， 其中的空格是换行留下来的 痕迹。"
    assert only("spaces", prose) == prose.replace(" ", "")


def test_repeated_titles() -> None:
    text = "三俠五義三俠五義三俠五義第一回話說宋朝。" + "正文在此。" * 20 + "三俠五義"
    assert only("titles", text) == text[12:-4]
    body = "楔子\n\n话说" + "正文。" * 30
    assert only("titles", "《水浒传》施耐庵\n\n" + body) == body
    book = "《夜行录》\n作者：无名\n\n第一章 雨\n\n" + "正文。" * 30
    assert only("titles", book + "\n（全书完）\n", "夜行录") == "第一章 雨\n\n" + "正文。" * 30
    laugh = "哈哈哈哈哈哈，他笑道。" + "正文。" * 30
    assert only("titles", laugh) == laugh
    full_stop = "话说宋朝。" + "正文。" * 30
    assert only("titles", full_stop) == full_stop


NARRATION = (
    "月色如霜，林遠山按劍不語。忽聽一人說道：“且慢動手！”眾人都吃了一驚，"
    "回頭看時，那人早已去得遠了。"
)
ONE_LINE = "".join(
    f"第{number}回林少俠夜走渡口沈三娘雪嶺試劍話說{NARRATION * 30}且聽下回分解。"
    for number in "一二三四"
)


def test_one_line_novels_are_cut_into_chapters_and_paragraphs() -> None:
    cleaned = only("one_line", ONE_LINE)
    lines = [line for line in cleaned.split("\n") if line]
    headings = [line for line in lines if line.startswith("第")]
    assert headings == [f"第{n}回 林少俠夜走渡口 沈三娘雪嶺試劍" for n in "一二三四"]
    assert all(f"\n\n{heading}\n\n" in "\n\n" + cleaned for heading in headings)
    assert 40 < max(len(line) for line in lines) <= 460
    assert all(line[-1] in "。”" for line in lines if line not in headings)
    assert cleaned.replace("\n", "").replace(" ", "") == ONE_LINE


def test_long_paragraphs_of_a_book_with_paragraphs_stay() -> None:
    text = "一段很长的话。" * 400 + "\n" + "\n".join(["短短的一段话，自成一行。"] * 400)
    assert only("one_line", text) == text


def test_layout_sets_headings_apart_and_nothing_else() -> None:
    text = "\n\n第一章 雨\n甲。\n\n乙。\n第二章 雪\n\n\n丙。\n\n第三章\n丁。\n\n"
    assert only("layout", text) == "第一章 雨\n\n甲。\n乙。\n\n第二章 雪\n\n丙。\n\n第三章\n\n丁。"


def test_layout_finds_titles_by_the_blank_lines_around_them() -> None:
    body = "\n".join(["这是正文的一段，有标点。"] * 8)
    text = f"序言\n\n{body}\n\n\n透底\n\n{body}\n\n\n“以夷制夷”\n\n{body}\n"
    assert only("layout", text) == f"序言\n\n{body}\n\n透底\n\n{body}\n\n“以夷制夷”\n\n{body}"


def test_all_rules_together_and_what_they_report() -> None:
    text = "《夜行录》\r\n\r\n第一章\u3000雨\r\n\r\n　　他說：「走罷！」\r\n"
    text += "　　www.example.com\r\n　　雨很大,很冷。"
    cleaned = clean(text, title="夜行录")
    assert cleaned.text == "第一章 雨\n\n他说：“走罢！”\n雨很大，很冷。"
    counts = {removed.rule: removed.count for removed in cleaned.removed}
    assert counts["line_ends"] == 6
    assert counts["ads"] == 1
    assert counts["quotes"] == 2
    assert counts["width"] == 1
    ads = next(removed for removed in cleaned.removed if removed.rule == "ads")
    assert ads.removed == len("　　www.example.com\n")
    assert "www.example.com" in ads.examples[0][0]
    assert "www.example.com" not in ads.examples[0][1]
    assert cleaned.characters_in == len(text)
    assert cleaned.kept() + cleaned.added() == len(cleaned.text)


def test_rules_can_be_chosen_and_unknown_ones_are_refused() -> None:
    assert rule_names("all") == list(RULES)
    assert rule_names(["quotes", "ads"]) == ["ads", "quotes"]
    assert rule_names([]) == []
    with pytest.raises(DataError, match=r"'adds'.*ads"):
        rule_names(["adds"])
    assert clean("「甲」", rules=["ads"], script="keep").text == "「甲」"


def test_reports_add_up() -> None:
    one, two = clean("「甲」", script="keep").removed, clean("「乙」「丙」", script="keep").removed
    merged = {removed.rule: removed for removed in merge_reports([one, two])}
    assert merged["quotes"].count == 6
    assert merged["quotes"].changed == 6


MESSY = st.lists(
    st.sampled_from(
        [
            *"剑光一闪，人已倒地。！？“”「」()（）.,;:\"' \t\u3000\r\n\u200b\ue000１Ａ…—―",
            *(
                "第一回",
                "第二章 雨\n",
                "第三回",
                "(1)",
                "www.a.com",
                "&nbsp;",
                "<p>",
                "</p>",
                "※※※\n",
            ),
            *("話說", "\n\n", "《书》", "《书》\n", "更多小说请下载", "全书完"),
        ]
    ),
    max_size=40,
).map("".join)


@given(MESSY, st.sampled_from(["simplified", "traditional", "keep"]))
@settings(max_examples=100, deadline=None)
def test_every_character_is_accounted_for(text: str, script: str) -> None:
    cleaned = clean(text, script=script, title="书")
    removed = sum(rule.removed for rule in cleaned.removed)
    added = sum(rule.added for rule in cleaned.removed)
    assert len(text) - removed + added == len(cleaned.text)
    assert cleaned.kept() == len(text) - removed
    assert cleaned.added() == added


@given(MESSY, st.sampled_from(sorted(RULES)))
@settings(max_examples=150, deadline=None)
def test_each_rule_leaves_what_it_does_not_edit(text: str, rule: str) -> None:
    """Rebuild the text from the rule's edits: in order, apart, and nothing else changed."""
    edits = [edit for edit in RULES[rule].find(text, "书") if text[edit[0] : edit[1]] != edit[2]]
    position, rebuilt = 0, ""
    for start, end, new in edits:
        if start < position:
            continue
        assert start <= end <= len(text)
        rebuilt += text[position:start] + new
        position = end
    assert only(rule, text, "书") == rebuilt + text[position:]


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_cleaned(text: str) -> None:
    cleaned = clean(text)
    assert "\r" not in cleaned.text
    cleaned.text.encode("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        *("(" * 50_000, "<!--" * 5_000, "." * 100_000, "第一回" * 20_000, "a" * 100_000),
        "".join(f"第{number}回。" for number in range(1, 4000)),
        *("第一回\n" * 9_000, "1\n" * 9_000, "w.w." * 6_000, "本 书 " * 6_000, "下载" * 6_000),
        *(
            "www" * 6_000,
            "a@" * 6_000,
            "网。" * 6_000,
            "（网" * 6_000,
            "目录\n" * 6_000,
            "[1]" * 6_000,
        ),
        *(
            "夜行录\n走\n" * 6_000,
            "，" * 16_000,
            "&lt;" * 6_000,
            "书名：\n" * 6_000,
            "完\n" * 6_000,
        ),
    ],
)
def test_degenerate_texts_take_no_forever(text: str) -> None:
    cleaned = clean(text, script="keep")
    assert len(cleaned.text) <= 2 * len(text)


@pytest.mark.corpus
@pytest.mark.slow
def test_real_novels_keep_their_chinese_characters(corpus_dir: Any) -> None:
    """Apart from titles, cleaning with the script kept loses no Chinese character of the novels."""
    import re

    for path in sorted((corpus_dir / "wuxia").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        cleaned = clean(text, script="keep", title=path.stem).text
        kept, before = (len(re.findall("[\u4e00-\u9fff]", t)) for t in (cleaned, text))
        assert 0 <= before - kept <= 60, path.name
        assert cleaned.count("\n\n") >= 80  # two around each of forty headings or more


def test_powers_are_no_notes_where_no_note_is_numbered_one():
    power = "能量等于质量乘光速²，占地三十米²。"
    assert clean(power, script="keep").text == power
    notes = "他去了¹，又来了²，终于走了³。"
    assert clean(notes, script="keep").text == "他去了，又来了，终于走了。"
