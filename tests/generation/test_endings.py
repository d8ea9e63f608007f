"""Texts end where they were asked to, and a stream shows exactly what is returned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.generation.endings import SENTENCE_END, cut
from stylellm.generation.sampler import Sampling, draw, generate

WRITTEN = st.text(alphabet="剑光他笑道。！？”，…", max_size=60)
DRAWN = Sampling(max_new_tokens=40)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("他笑道：“好剑！”却不", {"sentence_end": True}, "他笑道：“好剑！”"),
        ("雪停了……他不", {"sentence_end": True}, "雪停了……"),
        ("没有句号", {"sentence_end": True}, "没有句号"),
        ("一句。半句", {"sentence_end": True, "finished": True}, "一句。半句"),
        ("一句。半句", {"sentence_end": True, "finished": True, "max_chars": 4}, "一句。"),
        ("第一。第二。", {"max_chars": 5}, "第一。第二"),
        ("他去了。第二回 夜雨", {"stop": ("第二回",)}, "他去了。"),
        ("甲乙丙丁", {"stop": ("丁", "乙", "")}, "甲"),
        ("剑光\ufffd", {}, "剑光"),
        ("剑光\ufffd", {"finished": True}, "剑光\ufffd"),
        ("v1.5 is out. And", {"sentence_end": True}, "v1.5 is out."),
    ],
)
def test_cuts(text: str, options: dict[str, Any], expected: str) -> None:
    assert cut(text, **options) == expected


@given(WRITTEN, st.none() | st.integers(1, 40), st.booleans(), st.booleans())
def test_any_cut_is_a_beginning_that_keeps_its_promises(
    text: str, max_chars: int | None, sentence_end: bool, finished: bool
) -> None:
    found = cut(text, max_chars=max_chars, sentence_end=sentence_end, finished=finished)
    assert text.startswith(found)
    assert max_chars is None or len(found) <= max_chars
    if sentence_end and found != text and SENTENCE_END.search(found):
        assert any(match.end() == len(found) for match in SENTENCE_END.finditer(found))
    assert cut(found, max_chars=max_chars, sentence_end=sentence_end, finished=finished) == found


@pytest.fixture(scope="module")
def policy(make_policy: Any) -> Any:
    return make_policy(trained=True)


@pytest.mark.parametrize("most", [1, 7])
def test_length_in_characters(policy: Any, tiny_tokenizer: Any, most: int) -> None:
    prompts = ["剑光一闪", "他", ""]
    free = generate(policy, tiny_tokenizer, prompts, DRAWN, seed=1)
    short = generate(policy, tiny_tokenizer, prompts, replace(DRAWN, max_chars=most), seed=1)
    assert short == [text[:most] for text in free]


def test_stop_strings(policy: Any, tiny_tokenizer: Any) -> None:
    (free,) = generate(policy, tiny_tokenizer, ["剑光一闪"], DRAWN, seed=1)
    word = free[5:7]
    sampling = replace(DRAWN, stop=(word,))
    assert generate(policy, tiny_tokenizer, ["剑光一闪"], sampling, seed=1) == [free.split(word)[0]]


@pytest.mark.parametrize(
    "change", [{}, {"sentence_end": True}, {"max_chars": 9}, {"stop": ("。",)}]
)
def test_a_stream_shows_what_is_returned(
    policy: Any, tiny_tokenizer: Any, change: dict[str, Any]
) -> None:
    for seed in range(4):
        pieces: list[str] = []
        sampling = replace(DRAWN, **change)
        (text,) = generate(
            policy, tiny_tokenizer, ["他笑道"], sampling, seed=seed, on_text=pieces.append
        )
        assert generate(policy, tiny_tokenizer, ["他笑道"], sampling, seed=seed) == [text]
        shown = "".join(pieces)
        # Without a whole sentence the text is left as it is, and it had been shown as it grew.
        assert shown == text or (change.get("sentence_end") and shown.startswith(text))


def test_tokens_and_ends_are_counted(policy: Any, tiny_tokenizer: Any) -> None:
    """Against the ids of transformers' own generate: what ended by words was padded, not written."""
    ids = [tiny_tokenizer(t)["input_ids"] for t in ("剑光一闪", "他", "雪下了一夜，")]
    free = draw(policy, tiny_tokenizer, ids, DRAWN, seeds=[1, 2, 3])
    assert all(w.tokens == 40 and not w.ended for w in free if not w.ended)
    word = free[0].text[5:7]
    stopped = draw(policy, tiny_tokenizer, ids, replace(DRAWN, stop=(word,)), seeds=[1, 2, 3])
    first = stopped[0]
    assert first.ended
    assert first.text == free[0].text.split(word)[0]
    whole = tiny_tokenizer(free[0].text)["input_ids"]
    assert len(tiny_tokenizer(first.text)["input_ids"]) <= first.tokens <= len(whole)
    short = draw(policy, tiny_tokenizer, ids[:1], replace(DRAWN, max_chars=3), seeds=[1])[0]
    assert not short.ended
    assert short.tokens < 40
