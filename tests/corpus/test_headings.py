from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.corpus.headings import (
    heading_key,
    inline_headings,
    is_heading_line,
    looks_like_title,
    parse_number,
)


@pytest.mark.parametrize(
    ("numeral", "number"),
    [
        *(("一", 1), ("十", 10), ("十二", 12), ("廿四", 24), ("一百零八", 108), ("一百二十", 120)),
        *(
            ("卅六", 36),
            ("一百廿", 120),
            ("〇七", 7),
            ("壹佰贰拾", 120),
            ("四十两", 42),
            ("２０", 20),
        ),
        *(("一千零一", 1001), ("一○八", 108), ("三三", 33), ("12", 12), ("３", 3), ("两百", 200)),
    ],
)
def test_numerals(numeral: str, number: int) -> None:
    assert parse_number(numeral) == number


def _chinese(number: int) -> str:
    """An independent writer of numerals below 1000."""
    digits = "零一二三四五六七八九"
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    text = f"{digits[hundreds]}百" if hundreds else ""
    if tens:
        text += ("" if tens == 1 and not hundreds else digits[tens]) + "十"
    elif hundreds and ones:
        text += "零"
    return text + (digits[ones] if ones else "")


@given(st.integers(1, 999))
def test_numerals_round_trip(number: int) -> None:
    assert parse_number(_chinese(number)) == number


@pytest.mark.parametrize(
    "line",
    [
        *(
            "第一回 风雪惊变",
            "第十二章",
            "　　第3章 夜奔",
            "正文 第一百零八回 大结局",
            "楔子",
            "序",
        ),
        *("番外一 旧事", "【第二章】", "卷三 江湖", "后记", "第五章夜奔"),
        "第二十二回　　横海郡柴进留宾　景阳冈武松打虎",
        *(
            "第卅六回 夜渡",
            "第〇七章",
            "第两百章 雪",
            "第壹卷",
            "第五集 剑",
            "第二部 断雁",
            "第三篇",
        ),
        *("第12-13章 合章", "第十二、十三回 夜话", "Chapter 12 Snow", "上卷", "中部 江湖"),
        *(
            "第三夜",
            "第四话 灯",
            "尾声",
            "番外（二）",
            "附录一",
            "序章",
            "引子",
            "跋",
            "终章",
            "外传",
        ),
        *("第五回谁是英雄？", "第３节", "第十二回"),
    ],
)
def test_heading_lines(line: str) -> None:
    assert is_heading_line(line)


@pytest.mark.parametrize(
    "line",
    [
        *("第三回合，两人已斗了数十招。", "第一回见他，还是三年之前的事。", "跋涉千里"),
        *(
            "第三夜他没有来",
            "第一集我看完了！",
            "第二部手机响了！",
            "上卷他已读过",
            "序曲响起来的时候",
        ),
        *("第三节课他睡着了…", "“第三章”", "第一部说“走罢”"),
        *("", "他说：第三章写得最好。", "第二日清晨，众人起身。", "序幕刚刚拉开，众人便都散了。"),
    ],
)
def test_lines_that_are_no_headings(line: str) -> None:
    assert not is_heading_line(line)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        *(
            ("第三回 夜渡", "回3"),
            ("第３回", "回3"),
            ("卷十二 江湖", "卷12"),
            ("Chapter 7 a", "chapter7"),
        ),
        *(("第一節", "节1"), ("上卷", "上卷"), ("楔子", ""), ("他走了", "")),
    ],
)
def test_keys_of_headings(line: str, key: str) -> None:
    assert heading_key(line) == key


def test_titles_without_numbers() -> None:
    assert looks_like_title("“革命军马前卒”和“落伍者”")
    assert not looks_like_title("一九三三年七月十九夜，于上海寓庐，鲁迅记。")


ONE_LINE = (
    "第一回林少俠夜走渡口沈三娘雪嶺試劍詩曰：月色如霜夜未央，江湖路遠劍光寒。話說林遠山離了師門，"
    "一路行來。這第二回下山，他心裡卻想：第三回中說的那人在何處？未知後事如何，且聽下回分解。"
    "第二回破廟中群雄聚義客棧裡小賊偷刀且說沈三娘進得廟來。要知端底，且聽下回分解。"
    "第三回莊子休鼓盆成大道富貴五更春夢，功名一片浮雲。卻說眾人散去。且聽下回分解。"
    "第四回：定蘭譜顏生識英雄，看魚書柳老嫌寒士話說顏生見他去了。且聽下回分解。"
    "四十五回老道人說破前緣卻說那道人。且聽下回分解。第四十六回雪中送炭話說天寒。"
)


def test_headings_run_into_the_text_are_found_and_mentions_are_not() -> None:
    found = inline_headings(ONE_LINE)
    assert [heading.number for heading in found] == [1, 2, 3, 4, 45, 46]
    titles = [ONE_LINE[heading.title_start : heading.end] for heading in found]
    assert titles == [
        "林少俠夜走渡口沈三娘雪嶺試劍",
        "破廟中群雄聚義客棧裡小賊偷刀",
        "莊子休鼓盆成大道",
        "：定蘭譜顏生識英雄，看魚書柳老嫌寒士",
        "老道人說破前緣",
        "雪中送炭",
    ]


def test_titles_between_blanks() -> None:
    body = "他走了过来，看着她。众人大笑，谁也不说话。" * 6
    text = "".join(f"第{n}章 夜渡寒江 {body}" for n in "一二三")
    titles = [text[found.title_start : found.end] for found in inline_headings(text)]
    assert titles == [" 夜渡寒江"] * 3
    text = "".join(f"第{n}节 {body}" for n in "一二三")
    assert [found.number for found in inline_headings(text)] == [1, 2, 3]


def test_two_mentions_make_no_chapters() -> None:
    assert inline_headings("這是第一回。他又說第二回。" + "閒話少說。" * 50) == []


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("book", "chapters"),
    [("三俠五義", 120), ("兒女英雄傳", 40), ("粉妝樓全傳", 80), ("綠牡丹", 64)],
)
def test_every_chapter_of_the_real_novels_is_found(corpus_dir, book: str, chapters: int) -> None:
    text = (corpus_dir / "wuxia" / f"{book}.txt").read_text(encoding="utf-8")
    assert len(inline_headings(text)) == chapters  # the number of chapters these novels have
