"""What a prediction can see: in place only what stands left of it, in infill both sides.

This is the reason for the infill format: replacing a token where it stands and predicting it there
is no cloze on a causal model.
"""

from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stylellm.evaluation.likelihood import suffix_gain
from stylellm.masking.collate import StyleDataset, collate, encoder
from stylellm.masking.formats import IGNORE, Sentinels, format_example
from stylellm.masking.plan import MaskPlan, MaskSettings
from stylellm.model.policy import add_lora

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


def runs_of_two_characters(count, seed):
    """山山山剑剑剑剑...: what follows the 山s is random, only the text behind a gap can tell it."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        length, char = draw.randint(2, 10), draw.choice("剑人雪灯")
        texts.append("山" * length + char * (14 - length))
    return [{"text": text, "ends_document": False} for text in texts]


def train_on(windows, model_dir, tokenizer, settings, steps):
    config = AutoConfig.from_pretrained(str(model_dir), initializer_range=0.05)
    base = AutoModelForCausalLM.from_config(config).train()
    sentinels = Sentinels.from_tokenizer(tokenizer)
    dataset = StyleDataset(windows, [], tokenizer, sentinels, settings, max_length=64, seed=0)
    optimizer = torch.optim.AdamW(base.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=steps)
    for step in range(steps):
        epoch, first = divmod(step * 16, len(windows))
        dataset.set_epoch(epoch)
        items = [dataset[i] for i in range(first, first + 16)]
        batch = collate(items, pad_id=tokenizer.pad_token_id)
        logits = base(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORE
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(base.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return add_lora(base, base_name=str(model_dir), dropout=0.0).eval()


@pytest.mark.slow
def test_a_model_trained_on_infill_uses_the_suffix(tiny_model_dir, tiny_tokenizer):
    settings = MaskSettings(1, 0, 0, mask_rate=0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        windows = runs_of_two_characters(640, seed=0)
        model = train_on(windows, tiny_model_dir, tiny_tokenizer, settings, steps=400)

    def gain(texts):
        result = suffix_gain(model, tiny_tokenizer, texts, mask_rate=settings.mask_rate)
        assert result["policy"] == pytest.approx(result["base"])  # an adapter that adds nothing
        return result["policy"]["suffix_gain"]

    held_out = runs_of_two_characters(200, seed=1)
    assert gain(held_out) > 0.05
    # The control: behind the gap stands a character that misleads, so the same gap is harder.
    misleading = [
        {**w, "text": w["text"][:10] + "雪灯"[w["text"][-1] == "雪"] * 4} for w in held_out
    ]
    assert gain(misleading) < 0
