"""What a prediction can see: in place only what stands left of it, in infill both sides.

This is the reason for the infill format: replacing a token where it stands and predicting it there is
no cloze on a causal model.
"""

from __future__ import annotations

import pytest
import torch

from stylellm.evaluation.likelihood import suffix_gain
from stylellm.masking.collate import StyleDataset, collate, encoder
from stylellm.masking.formats import Sentinels, format_example
from stylellm.masking.plan import MaskPlan, MaskSettings
from stylellm.objective.dense import style_alignment_loss

LEFT, HIDDEN, RIGHT = "风从山口吹来", "店里的灯", "忽明忽暗，老人不答"
OTHER_RIGHT = "天亮的时候雪停了。"
PLAN = MaskPlan("span", ((len(LEFT), len(LEFT + HIDDEN)),))


def scored_logits(policy, tokenizer, right, **options):
    """Labels of the hidden text and the logits that predict them, for a given text on the right."""
    text = LEFT + HIDDEN + right
    example = format_example(
        text,
        PLAN,
        encoder(tokenizer),
        Sentinels.from_tokenizer(tokenizer),
        context_loss_weight=0.0,
        **options,
    )
    with torch.no_grad():
        logits = policy(input_ids=torch.tensor([example.input_ids])).logits[0]
    places = [t for t, label in enumerate(example.labels) if label >= 0]
    count = len(encoder(tokenizer)(HIDDEN))
    return [example.labels[t] for t in places[:count]], logits[places[:count]]


def test_in_place_predictions_cannot_see_the_right_context(make_policy, tiny_tokenizer):
    policy = make_policy(trained=True)
    labels, here = scored_logits(policy, tiny_tokenizer, RIGHT, format="in_place")
    same_labels, there = scored_logits(policy, tiny_tokenizer, OTHER_RIGHT, format="in_place")
    assert labels == same_labels
    assert tiny_tokenizer.decode(labels) == HIDDEN
    torch.testing.assert_close(here, there, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", ["prefix_first", "native"])
def test_infill_predictions_see_the_right_context(make_policy, tiny_tokenizer, order):
    policy = make_policy(trained=True)
    labels, here = scored_logits(policy, tiny_tokenizer, RIGHT, order=order)
    same_labels, there = scored_logits(policy, tiny_tokenizer, OTHER_RIGHT, order=order)
    assert labels == same_labels
    assert tiny_tokenizer.decode(labels) == HIDDEN
    assert ((here - there).abs().amax(dim=1) > 0.05).all()


def test_changing_any_token_never_changes_logits_left_of_it(make_policy, tiny_tokenizer, story):
    policy = make_policy(trained=True)
    ids = torch.tensor([tiny_tokenizer(story[:40])["input_ids"]])
    with torch.no_grad():
        before = policy(input_ids=ids).logits[0]
        for t in range(1, ids.shape[1], 5):
            changed = ids.clone()
            changed[0, t:] = (changed[0, t:] + 101) % 500
            after = policy(input_ids=changed).logits[0]
            torch.testing.assert_close(after[:t], before[:t], rtol=0, atol=1e-5)
            assert (after[t:] - before[t:]).abs().max() > 0.05


def test_the_kl_positions_of_infill_equal_those_of_the_plain_text(make_policy, tiny_tokenizer):
    """The reference never saw sentinels: where the KL is taken, it sees the bare text."""
    policy = make_policy()
    s, encode = Sentinels.from_tokenizer(tiny_tokenizer), encoder(tiny_tokenizer)
    example = format_example(LEFT + HIDDEN + RIGHT, PLAN, encode, s)
    plain = torch.tensor([encode(LEFT)])
    with torch.no_grad():
        masked = policy(input_ids=torch.tensor([example.input_ids])).logits[0]
        bare = policy(input_ids=plain).logits[0]
    assert sum(example.kl_mask) == plain.shape[1]
    torch.testing.assert_close(masked[torch.tensor(example.kl_mask)], bare, rtol=0, atol=1e-5)
