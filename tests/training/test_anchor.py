"""The anchors: KL positions, the adaptive weight, the style share, text sampled from the base."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from training_runs import loss_by_hand, training_rows
from transformers import TrainerCallback

from stylellm.errors import OutputError
from stylellm.masking.plan import MaskSettings
from stylellm.objective.controller import AdaptiveKLController
from stylellm.training.anchor import sampled_texts
from stylellm.training.run import last_checkpoint
from stylellm.training.tally import style_share
from stylellm.training.trainer import Objective


@pytest.mark.parametrize("positions", ["clean", "all"])
@pytest.mark.parametrize("betas", [(1.0, 0.0), (0.0, 0.5), (0.3, 2.0)])
def test_each_anchor_has_its_own_weight_and_positions(
    make_policy, make_dataset, make_trainer, positions, betas
):
    policy, dataset = make_policy(trained=True, double=True), make_dataset(kl_positions=positions)
    objective = Objective(kl_beta=betas[0], general_beta=betas[1])
    wanted = loss_by_hand(policy, [dataset[i] for i in range(8)], objective).item()
    trainer = make_trainer(policy, dataset, objective=objective, per_device_train_batch_size=8)
    trainer.train()
    [row] = training_rows(trainer)
    assert row["loss"] == pytest.approx(wanted, rel=1e-6)
    assert ("kl" in row, "general_kl" in row) == (betas[0] > 0, betas[1] > 0)


def test_all_positions_are_more_than_the_clean_ones(make_dataset):
    counts = [
        sum(sum(item["kl_mask"]) for item in make_dataset(kl_positions=positions))
        for positions in ("clean", "all")
    ]
    assert 0 < counts[0] < counts[1]


# The adaptive weight.


class Betas(TrainerCallback):
    def __init__(self):
        self.kls, self.betas = [], []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "reconstruction" in logs:
            self.kls.append(logs["kl"])
            self.betas.append(logs["kl_beta"])


def steered(make_policy, make_dataset, make_trainer, folder=None, **options):
    """A run whose KL is far above its target, so that the weight rises at every step."""
    trainer = make_trainer(
        make_policy(trained=True, dropout=0.1),
        make_dataset(),
        objective=Objective(kl_beta=0.5, general_beta=1.0, target_kl=1e-3),
        folder=folder,
        **{"max_steps": 6, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
           "save_strategy": "steps", "save_steps": 1, **options},
    )  # fmt: skip
    betas = Betas()
    trainer.add_callback(betas)
    return trainer, betas


def test_the_weight_follows_the_controller_step_by_step(make_policy, make_dataset, make_trainer):
    trainer, seen = steered(make_policy, make_dataset, make_trainer)
    trainer.train()
    reference = AdaptiveKLController(0.5, 1e-3)
    for kl, beta in zip(seen.kls, seen.betas, strict=True):
        assert beta == pytest.approx(reference.kl_beta, rel=1e-6)
        reference.update(kl)
    assert seen.betas[-1] == pytest.approx(0.5 * 1.02**5)
    assert len(seen.betas) == 6


def test_a_resumed_run_goes_on_with_the_same_weight(
    make_policy, make_dataset, make_trainer, tmp_path
):
    whole, seen = steered(make_policy, make_dataset, make_trainer, tmp_path / "whole")
    whole.train()
    cut, _ = steered(make_policy, make_dataset, make_trainer, tmp_path / "cut")

    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise KeyboardInterrupt

    cut.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    resumed, after = steered(make_policy, make_dataset, make_trainer, tmp_path / "cut")
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path / "cut")))
    assert after.betas == seen.betas[3:]
    for (name, weight), other in zip(
        whole.model.named_parameters(), resumed.model.parameters(), strict=True
    ):
        assert torch.equal(weight, other), name
    state = json.loads(
        (last_checkpoint(tmp_path / "cut") / "trainer_state.json").read_text("utf-8")
    )
    assert state["global_step"] == 6


# The style share.


def share_of(make_policy, make_dataset, make_trainer, objective, **options):
    plain = MaskSettings(span_mask_ratio=0, token_mask_ratio=0, no_mask_ratio=1)
    dataset = make_dataset(**{"settings": plain, "context_loss_weight": 1.0, **options})
    trainer = make_trainer(make_policy(trained=True), dataset, objective=objective)
    trainer.train()
    [row] = training_rows(trainer)
    return row.get("style_share")


def test_the_style_share_is_logged_only_where_it_holds(make_policy, make_dataset, make_trainer):
    make = (make_policy, make_dataset, make_trainer)
    holds = Objective(kl_beta=0.15, kl_direction="ref_policy")
    assert share_of(*make, holds) == pytest.approx(1 / 1.15)
    assert share_of(*make, replace(holds, kl_direction="policy_ref")) is None
    assert share_of(*make, replace(holds, kl_beta=0.0)) is None
    # With masks the KL stands at some of the scored positions only.
    assert share_of(*make, holds, settings=MaskSettings()) is None


@pytest.mark.parametrize("beta", [0.15, 0.2, 1.0])
def test_the_style_share_is_that_of_the_optimum(beta):
    """Minimising CE + beta KL(Q || P) over a distribution by hand."""
    author = torch.tensor([0.7, 0.2, 0.05, 0.05], dtype=torch.float64)
    base = torch.tensor([0.1, 0.1, 0.2, 0.6], dtype=torch.float64)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16
    )

    def closure():
        optimizer.zero_grad()
        log_p = logits.log_softmax(0)
        loss = -(author * log_p).sum() + beta * (base * (base.log() - log_p)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    s = style_share(beta)
    torch.testing.assert_close(logits.softmax(0), s * author + (1 - s) * base, atol=1e-6, rtol=0)


# Text sampled from the base.


def numbered(calls):
    def draw(start, count):
        calls.append(start)
        return [f"文{number}\n\u2028" for number in range(start, start + count)]

    return draw


def test_sampled_texts_are_kept_and_continued(tmp_path):
    file, calls = tmp_path / "anchor" / "a.jsonl", []
    wanted = [f"文{number}\n\u2028" for number in range(10)]
    assert sampled_texts(numbered(calls), 5, batch_size=2, file=file) == wanted[:5]
    assert calls == [0, 2, 4]
    assert sampled_texts(numbered(calls), 10, batch_size=2, file=file) == wanted
    assert calls == [0, 2, 4, 6, 8]
    assert sampled_texts(numbered(calls), 3, batch_size=2, file=file) == wanted[:3]
    assert calls == [0, 2, 4, 6, 8]
    assert sampled_texts(numbered([]), 10, batch_size=2) == wanted  # without a file


def test_a_batch_that_was_cut_off_is_drawn_again(tmp_path):
    file, calls = tmp_path / "a.jsonl", []
    wanted = sampled_texts(numbered(calls), 6, batch_size=2, file=file)
    data = file.read_bytes()
    file.write_bytes(data[:-4])
    calls.clear()
    assert sampled_texts(numbered(calls), 6, batch_size=2, file=file) == wanted
    assert calls == [4]
    assert file.read_bytes() == data


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be kept"):
        sampled_texts(numbered([]), 1, batch_size=1, file=tmp_path / "file" / "a.jsonl")
