from __future__ import annotations

from stylellm.corpus.dedup import Deduplicator
from stylellm.corpus.split import Chapter

LONG = "这一段文字足够长，超过了三十个汉字的下限，因此会被当作重复的段落来看待，绝不含糊。"
OTHER = "另有一段同样足够长的文字，与前面那一段毫无相似之处，所以应当原样保留下来，一字不少。"


def test_repeated_chapters_and_paragraphs_go_the_first_stay() -> None:
    seen = Deduplicator()
    first, nothing = seen.keep_new("甲", [Chapter("第一回", (LONG, "众人都笑了。"))])
    assert first == [Chapter("第一回", (LONG, "众人都笑了。"))]
    assert (nothing.chapters, nothing.paragraphs, nothing.characters) == (0, 0, 0)
    second, found = seen.keep_new(
        "乙",
        [
            Chapter("卷一", (LONG, "众人都笑了。")),
            Chapter("卷二", (OTHER, LONG.replace("，", "、"), "众人都笑了。")),
        ],
    )
    assert second == [Chapter("卷二", (OTHER, "众人都笑了。"))]
    assert (found.chapters, found.paragraphs) == (1, 1)
    assert found.characters == len(f"卷一\n{LONG}\n众人都笑了。") + len(LONG) + 1
    assert found.examples[0][:2] == ("甲 第一回", "乙 卷一")


def test_short_paragraphs_and_refrains_within_a_chapter_stay() -> None:
    chapter = Chapter("歌", (LONG, "罢了。", LONG))
    kept, found = Deduplicator().keep_new("甲", [chapter])
    assert kept == [chapter]
    assert found.paragraphs == 0


def test_a_chapter_of_which_nothing_new_is_left_goes() -> None:
    seen = Deduplicator()
    seen.keep_new("甲", [Chapter("一", (LONG,)), Chapter("二", (OTHER,))])
    kept, found = seen.keep_new("乙", [Chapter("三", (OTHER, LONG)), Chapter("题目而已", ())])
    assert kept == [Chapter("题目而已", ())]
    assert found.chapters == 1
