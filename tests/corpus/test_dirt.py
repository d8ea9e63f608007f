"""Dirt planted in clean prose: exactly the dirt goes, whatever its kind and wherever it stands."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.clean import clean

PROSE = [
    "月色如霜，林远山在破庙之中按剑不语，忽听得沈三娘说道：“且慢动手！”众人闻言都吃了一惊，回头看时，那人早已去得远了。",
    "“你是谁？”老道人低声问道，“这柄剑你从何处得来？”",
    "雪下得正紧。那白衣少年立在渡口边上，望着对岸的灯火，一句话也没有说。过了半晌，他才转过身来，慢慢地往回走。",
    "赵虎拔刀出鞘，喝道：“此事与你无干，江湖路远，就此别过！”",
    "店小二端上一壶热酒，又切了两斤牛肉。众人围着火炉坐下，谁也不提昨夜的事情，只听得窗外风声一阵紧似一阵。",
    "她在网里捞了半日，只得了两条小鱼，便坐在船头叹气。更多的鱼，都在下游。",
]
LINES = [
    "更多精彩好书，更多原创TXT手机电子书，请登陆某某书网--www.example.com",
    "本书由某某书库整理提供下载",
    "一秒记住【某某阁】，精彩小说无弹窗免费阅读！",
    "手机用户请浏览阅读，更优质的阅读体验。",
    "书友QQ群：123456789，欢迎加入",
    "微信公众号：abcde_12",
    "本章未完，请点击下一页继续阅读！",
    "声明：本书仅供试读，请在下载后24小时内删除。",
    "http://www.example.org/novel/1.html?id=3",
    "（未完待续）",
    "联系邮箱：someone@example.com",
    "全本小说TXT下载 www.example.net",
    "※※※※※※",
    '<div class="ad"></div>',
    "document.write('<a href=1>x</a>');",
    "第12页",
    "第 3 页 共 200 页",
    "Page 17",
    "（全书完）",
    "『www.example.com』",
]
BETWEEN_SENTENCES = [
    "（本书由某某网整理）",
    "【某某中文网www.example.com首发】",
    "更多精彩小说请访问某某网www.example.com。",
    "本书来自www.example.com。",
    "[img]http://www.example.com/1.jpg[/img]",
    "<!-- 广告 -->",
    "求月票，求推荐票！",
]
INSIDE = [
    "www.example.com",
    "（www.example.com）",
    "[www.example.com]",
    "w·w·w·e·x·a·m·p·l·e·c·o·m",
    "ｗｗｗ．ｅｘａｍｐｌｅ．ｃｏｍ",
    "w.ww.ex★am·ple.c.o.m",
    "www。example。com",
    "（本 书 来 自 某 某 小 说 网）",
    "\u200b\u200d\ufeff",
    "\x00\x07",
    "\ue5e5",
    "<font color=red></font>",
    "</span>",
    "(www.example.com)",
    "【某某小说网】",
]


def cleaned(paragraphs: list[str]) -> str:
    return clean("\n".join(paragraphs), script="keep").text


@pytest.mark.parametrize("dirt", LINES)
@given(st.data())
@settings(max_examples=6)
def test_dirt_on_a_line_of_its_own(dirt: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(PROSE)))
    indent = data.draw(st.sampled_from(["", "　　", "  "]))
    dirty = [*PROSE[:at], indent + dirt, *PROSE[at:]]
    assert cleaned(dirty) == cleaned(PROSE)


@pytest.mark.parametrize("dirt", BETWEEN_SENTENCES)
@given(st.data())
@settings(max_examples=10)
def test_dirt_between_sentences(dirt: str, data: st.DataObject) -> None:
    paragraph = data.draw(st.integers(0, len(PROSE) - 1))
    text = PROSE[paragraph]
    places = [i + 1 for i, char in enumerate(text) if char == "。"] + [0, len(text)]
    at = data.draw(st.sampled_from(places))
    dirty = [*PROSE[:paragraph], text[:at] + dirt + text[at:], *PROSE[paragraph + 1 :]]
    assert cleaned(dirty) == cleaned(PROSE)


@pytest.mark.parametrize("dirt", INSIDE)
@given(st.data())
@settings(max_examples=15)
def test_dirt_inside_a_sentence(dirt: str, data: st.DataObject) -> None:
    paragraph = data.draw(st.integers(0, len(PROSE) - 1))
    text = PROSE[paragraph]
    at = data.draw(st.integers(0, len(text)))
    dirty = [*PROSE[:paragraph], text[:at] + dirt + text[at:], *PROSE[paragraph + 1 :]]
    assert cleaned(dirty) == cleaned(PROSE)


@pytest.mark.parametrize("dirt", [*LINES, *BETWEEN_SENTENCES, *INSIDE])
def test_every_removal_is_reported(dirt: str) -> None:
    text = "\n".join([*PROSE[:3], dirt, *PROSE[3:]])
    found = clean(text, script="keep")
    assert found.characters_in == len(text)
    assert found.kept() + found.added() == len(found.text)
    assert sum(rule.removed for rule in found.removed) >= len(dirt.strip())


PROSE_LIKE_ADS = [
    "他欢迎光临的客人进门，又命人下去备茶。",
    "圣上传旨，命他即刻进京。",
    "天罗地网早已布下，欢迎来到这里的人，没有一个活着出去。",
    "更多的书在哪里？她问道。父亲说最新的章节还没有写完。",
    "本书由作者口述，三日而成。",
    "本书乃先师所传，由弟子三人分章抄录，历时十年。",
    "他一秒也不敢耽搁，记住了那张脸。",
    "两人结网而渔，网中得一物，书上从未有过记载。",
    "群雄聚义，推荐他做了首领，又求推其故。",
    "约翰·史密斯·琼斯先生来了。春、夏、秋、冬，各有各的好处。",
    "他 说 道 ： 我 不 去 了 。",
    "U.S.A. 是三个字母，3.14,15 是数字。",
    "他手打脚踢，好不热闹。",
    "只听他道：“求收留！”说罢拜倒在地。",
    "这一段公案至此终局，完了。",
    "第十二页上写着他的名字。",
]


@pytest.mark.parametrize("line", PROSE_LIKE_ADS)
def test_prose_that_looks_like_dirt_stays(line: str) -> None:
    rules = [
        *("publisher", "watermarks", "ads", "contents", "running_titles", "page_numbers"),
        *("html", "control", "notes", "separators"),
    ]
    text = "\n".join([*PROSE[:2], line, *PROSE[2:]])
    assert clean(text, rules=rules, script="keep").text == text


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["wuxia/水浒传", "wuxia/綠牡丹", "modern/鲁迅-二心集"])
def test_rules_against_dirt_take_nothing_from_real_prose(corpus_dir: Any, name: str) -> None:
    text = (corpus_dir / f"{name}.txt").read_text(encoding="utf-8")
    found = clean(text, script="keep", title=name.split("/")[1])
    counts = {rule.rule: rule.count for rule in found.removed}
    for rule in ("publisher", "watermarks", "ads", "contents", "running_titles", "page_numbers"):
        assert counts[rule] == 0, next(r for r in found.removed if r.rule == rule)


@pytest.mark.corpus
def test_dirt_in_a_real_book_goes_and_nothing_else(corpus_dir: Any) -> None:
    """A real book with a hundred pieces of dirt, cleaned, is the book cleaned."""
    text = (corpus_dir / "wuxia" / "水浒传.txt").read_text(encoding="utf-8")[:150_000]
    lines = text.replace("\r\n", "\n").split("\n")
    generator = random.Random(4)
    places = sorted(generator.sample(range(20, len(lines)), 60), reverse=True)
    dirty = list(lines)
    own_line = [dirt for dirt in LINES if dirt != "（全书完）"]
    for at in places:
        dirty.insert(at, "    " + generator.choice(own_line))
    prose = [i for i, line in enumerate(dirty) if len(line) > 80 and line not in own_line]
    for at in generator.sample(prose, 40):
        middle = generator.randrange(10, len(dirty[at]) - 1)
        dirty[at] = dirty[at][:middle] + generator.choice(INSIDE) + dirty[at][middle:]
    one = clean("\n".join(dirty), script="keep", title="水浒传").text
    other = clean("\n".join(lines), script="keep", title="水浒传").text
    assert one == other


def test_many_pages_of_a_scanned_book(make_book: Callable[..., str]) -> None:
    """Running titles and page numbers between hard-wrapped lines: the pages join again."""
    text = make_book(chapters=8, paragraphs=8)
    paragraphs = [block for block in text.split("\n") if block]
    wrapped = [
        part
        for block in paragraphs
        for part in (
            [block]
            if block.startswith("第")
            else [("　　" + block)[i : i + 36] for i in range(0, len(block) + 2, 36)]
        )
    ]
    pages = [wrapped[i : i + 15] for i in range(0, len(wrapped), 15)]
    scanned = "\n".join(
        "\n".join(["夜行录", *page, f"- {number} -"]) for number, page in enumerate(pages, 1)
    )
    kept = clean(scanned, script="keep", title="夜行录").text
    assert kept == clean("\n".join(wrapped), script="keep").text
