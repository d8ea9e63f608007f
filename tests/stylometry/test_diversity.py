"""Self-BLEU against sacrebleu, compression ratio, memorisation of a set of generations."""

from __future__ import annotations

import gzip
import random

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from stylellm.errors import DataError
from stylellm.stylometry.copying import CopyIndex
from stylellm.stylometry.diversity import compression_ratio, self_bleu
from stylellm.stylometry.memorisation import memorisation


def oracle(texts: list[str], **options: object) -> float:
    bleu = sacrebleu.metrics.BLEU(**options)
    scores = [
        bleu.sentence_score(text, texts[:k] + texts[k + 1 :]).score for k, text in enumerate(texts)
    ]
    return sum(scores) / len(scores) / 100


def test_self_bleu_is_sacrebleus_for_chinese() -> None:
    texts = [
        "剑光一闪，他已经倒在地上。没有人说话。",
        "剑光一闪，人已不见。没有人知道他去了哪里。",
        "他没有说话，只是看着那把剑。",
    ]
    assert self_bleu(texts) == pytest.approx(oracle(texts, tokenize="zh"), abs=1e-9)


@given(st.lists(st.text(alphabet="之的了剑光影", min_size=1, max_size=25), min_size=2, max_size=5))
def test_self_bleu_is_sacrebleus_for_any_characters(texts: list[str]) -> None:
    spaced = [" ".join(text) for text in texts]
    expected = oracle(spaced, tokenize="none", effective_order=False)
    assert self_bleu(texts) == pytest.approx(expected, abs=1e-9)


def test_self_bleu_at_the_ends() -> None:
    assert self_bleu(["剑光一闪没有人"] * 3) == pytest.approx(1.0)
    assert self_bleu(["剑光一闪", "他不说话"]) == 0.0
    with pytest.raises(DataError):
        self_bleu(["剑"])
    with pytest.raises(DataError, match="1 of them empty"):
        self_bleu(["剑", " "])


def test_compression_ratio_is_gzips() -> None:
    generator = random.Random(0)
    free = "".join(chr(generator.randrange(0x4E00, 0x9000)) for _ in range(3000))
    data = free.encode()
    assert compression_ratio(free) == pytest.approx(len(data) / len(gzip.compress(data)), rel=0.01)
    assert compression_ratio("剑光一闪。" * 600) > 20 * compression_ratio(free)
    with pytest.raises(DataError):
        compression_ratio([" "])


BOOK = "一二三四五六七八九十" * 2 + "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥"
BOOK_OF_30 = "".join(chr(0x4E00 + k) for k in range(60))


def test_memorisation_by_hand() -> None:
    index = CopyIndex({"甲": BOOK_OF_30, "乙": "剑光影"})
    copied = BOOK_OF_30[10:50]
    found = memorisation(index, ["新" * 10 + copied, "新" * 40, copied[:29]], lengths=(5, 40, 90))
    assert found.copied.value == pytest.approx(1 / 3)
    assert found.longest_each == (40, 0, 29)
    assert (found.longest.generation, found.longest.copy.source) == (0, "甲")
    assert (found.longest.copy.length, found.longest.copy.offset) == (40, 10)
    assert [(run.generation, run.copy.length) for run in found.runs] == [(0, 40)]
    # 5-grams: 46 with 36 known, 36 new, 25 known; 40-grams: 11 with one known, 1 new, none.
    assert found.novelty == {5: pytest.approx((10 + 36) / 107), 40: 11 / 12, 90: None}


def test_the_limit_counts_runs_of_exactly_that_length() -> None:
    index = CopyIndex({"甲": BOOK_OF_30})
    assert memorisation(index, [BOOK_OF_30[:30]]).copied.value == 1.0
    assert memorisation(index, [BOOK_OF_30[:29]]).copied.value == 0.0
    nothing = memorisation(index, ["新"])
    assert (nothing.longest, nothing.runs) == (None, ())
    for generations, options in (([], {}), (["新"], {"limit": 0}), (["新"], {"lengths": (0,)})):
        with pytest.raises(DataError):
            memorisation(index, generations, **options)


def test_pooled_novelty_is_that_of_the_parts() -> None:
    index = CopyIndex({"书": BOOK})
    generations = [BOOK[3:20] + "新" * 9, "戊己庚辛" * 8]
    found = memorisation(index, generations, lengths=(3,))
    sizes = [len(text) - 2 for text in generations]
    parts = [index.novelty(text, 3) for text in generations]
    assert found.novelty[3] == pytest.approx(
        sum(n * part for n, part in zip(sizes, parts, strict=True)) / sum(sizes)
    )
