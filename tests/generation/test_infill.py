"""Gaps: found, laid out as in training, filled to the asked length, ranked against a dense count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylellm.errors import DataError, ModelError
from stylellm.generation.infill import fill, layout, span_nll, split_gaps
from stylellm.generation.sampler import Sampling
from stylellm.masking.collate import encoder
from stylellm.masking.formats import Sentinels, format_example
from stylellm.masking.plan import MaskPlan

DRAWN = Sampling(max_new_tokens=40)


@pytest.fixture(scope="module")
def policy(make_policy: Any) -> Any:
    return make_policy(trained=True)


def test_gaps_are_found() -> None:
    assert split_gaps("他____道") == (["他", "道"], [None])
    assert split_gaps("____{12}，[MASK]{3}。______") == (["", "，", "。", ""], [12, 3, None])
    assert split_gaps("a___b____{0}c") == (["a___b", "c"], [None])
    with pytest.raises(DataError, match="no gap"):
        split_gaps("没有空___")


@given(st.lists(st.text(alphabet="剑光他_[]{}", max_size=5), min_size=2, max_size=4))
def test_pieces_and_gaps_make_the_text(parts: list[str]) -> None:
    text = "[MASK]{2}".join(parts)
    pieces, wanted = split_gaps(text)
    assert len(pieces) == len(wanted) + 1 and len(wanted) >= len(parts) - 1
    assert "".join(pieces).count("[MASK]") == 0


@pytest.mark.parametrize("order", ["prefix_first", "native"])
@pytest.mark.parametrize("spans", [((3, 6),), ((2, 4), (7, 9))])
def test_the_layout_is_the_one_of_training(tiny_tokenizer: Any, order: Any, spans: Any) -> None:
    text = "剑光一闪，灯便灭了。"
    encode, sentinels = encoder(tiny_tokenizer), Sentinels.from_tokenizer(tiny_tokenizer)
    plan = MaskPlan("span" if len(spans) == 1 else "token", spans)
    example = format_example(text, plan, encode, sentinels, order=order)
    ids = layout(plan.visible(text), encode, sentinels, order)
    assert example.input_ids[: len(ids)] == ids
    assert ids[-1] == sentinels.middle


@pytest.mark.parametrize("text", ["剑光一闪，____便灭了。", "他____道：“[MASK]{4}！”"])
def test_fillings_are_whole_ranked_and_repeatable(
    policy: Any, tiny_tokenizer: Any, text: str
) -> None:
    found = fill(policy, tiny_tokenizer, text, DRAWN, seed=1, alternatives=3, chars=6)
    assert found == fill(policy, tiny_tokenizer, text, DRAWN, seed=1, alternatives=3, chars=6)
    assert [f.score for f in found] == sorted(f.score for f in found)
    pieces, wanted = split_gaps(text)
    for filling in found:
        whole = pieces[0] + "".join(a + p for a, p in zip(filling.answers, pieces[1:], strict=True))
        assert filling.text == whole
        for answer, asked in zip(filling.answers, wanted, strict=True):
            length = asked or 6
            assert round(0.7 * length) <= len(answer) <= max(round(1.3 * length), length + 4)
            assert "<|" not in answer


def test_the_score_is_the_dense_one(make_policy: Any, tiny_tokenizer: Any) -> None:
    policy = make_policy(trained=True, double=True)
    text = "剑光一闪，____便灭了。"
    (best, *_) = fill(policy, tiny_tokenizer, text, DRAWN, seed=1, alternatives=2, chars=6)
    encode, s = encoder(tiny_tokenizer), Sentinels.from_tokenizer(tiny_tokenizer)

    def dense(head: list[int], tail: list[int]) -> float:
        with torch.no_grad():
            logits = policy(input_ids=torch.tensor([head + tail])).logits[0]
        logp = logits.log_softmax(-1)
        return -float(sum(logp[len(head) - 1 + i, t] for i, t in enumerate(tail))) / len(tail)

    head = [*encode("剑光一闪，"), s.suffix, *encode("便灭了。"), s.middle]
    # The scorer takes the softmax in float32.
    assert best.nll == pytest.approx(dense(head, [*encode(best.answers[0]), s.eos]), rel=1e-5)
    expected = dense(encode("剑光一闪，" + best.answers[0]), encode("便灭了。"))
    assert best.suffix_nll == pytest.approx(expected, rel=1e-5)


def test_the_suffix_is_read(policy: Any, tiny_tokenizer: Any) -> None:
    """Another text behind the gap changes what is written into it."""
    one, two = (
        fill(policy, tiny_tokenizer, f"剑光一闪，____{end}", DRAWN, seed=1, alternatives=3)
        for end in ("便灭了。", "“好剑！”少年叹道。")
    )
    assert {f.answers for f in one} != {f.answers for f in two}


def test_nothing_behind_the_gap(policy: Any, tiny_tokenizer: Any) -> None:
    (found,) = fill(policy, tiny_tokenizer, "剑光____", DRAWN, seed=1, alternatives=1, chars=5)
    assert found.suffix_nll is None and found.score == found.nll


def test_a_tokenizer_without_sentinels_is_refused(policy: Any, tiny_tokenizer: Any) -> None:
    class Plain:
        eos_token_id, mask_token_id, unk_token_id = 0, None, None

        def get_vocab(self) -> dict[str, int]:
            return {}

        def convert_tokens_to_ids(self, token: str) -> None:
            return None

    with pytest.raises(ModelError):
        fill(policy, Plain(), "剑光____", DRAWN, seed=1)


def test_span_nll_keeps_to_the_models_positions(policy: Any) -> None:
    assert span_nll(policy, [5] * 1000, [7, 8]) == span_nll(policy, [5] * 254, [7, 8])
