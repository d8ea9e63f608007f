"""16 bits: float16 with a scaled loss, run on the CPU with the parts that a GPU run has."""

from __future__ import annotations

import pytest
import torch
from training_runs import Recorder, adapter, training_rows

from stylellm.errors import TrainingError


def with_scaler(trainer, scale):
    """accelerate makes the scaler and the float16 autocast on a GPU only; both run on a CPU too."""
    trainer.args.fp16 = True
    accelerator = trainer.accelerator
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    accelerator.native_amp = True
    accelerator.state._mixed_precision = "fp16"
    return trainer


@pytest.fixture(autouse=True)
def own_state():
    """accelerate keeps its state for the process."""
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()


def relative_errors(found, wanted):
    return {n: ((found[n] - g).norm() / g.norm()).item() for n, g in wanted.items()}


@pytest.mark.parametrize("weights", [torch.float32, torch.float16])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_fp16_gradients_are_those_of_fp64(
    make_policy, make_dataset, make_trainer, whole_step, weights, accumulation
):
    policy = make_policy(trained=True)
    trainer = with_scaler(
        make_trainer(
            policy, make_dataset(), per_device_train_batch_size=8 // accumulation,
            gradient_accumulation_steps=accumulation,
        ),
        2.0**14,
    )  # fmt: skip
    for name, weight in policy.named_parameters():
        if "lora_" not in name:  # peft keeps the adapter in float32 beside 16-bit weights
            weight.data = weight.data.to(weights)
    seen = Recorder()
    trainer.add_callback(seen)
    before = adapter(policy)
    trainer.train()
    errors = relative_errors(seen.gradients[0], whole_step["gradients"])
    assert max(errors.values()) < 0.02
    assert training_rows(trainer)[0]["loss"] == pytest.approx(whole_step["loss"], rel=1e-3)
    assert any(not torch.equal(w, before[n]) for n, w in adapter(policy).items())


def test_float16_weights_without_a_scaled_loss_are_refused(make_policy, make_dataset, make_trainer):
    policy = make_policy()
    for name, weight in policy.named_parameters():
        if "lora_" not in name:
            weight.data = weight.data.half()
    with pytest.raises(TrainingError, match=r"training\.fp16: true"):
        make_trainer(policy, make_dataset())


def test_fp16_gradients_are_clipped_without_their_scale(make_policy, make_dataset, make_trainer):
    norms = []
    for scale in (2.0**8, 2.0**14):
        trainer = with_scaler(
            make_trainer(make_policy(trained=True), make_dataset(), max_grad_norm=0.5,
                         per_device_train_batch_size=8), scale)  # fmt: skip
        seen = Recorder()
        trainer.add_callback(seen)
        trainer.train()
        norms.append(torch.stack([g.norm() for g in seen.gradients[0].values()]).norm().item())
        assert training_rows(trainer)[0]["grad_norm"] > 1  # what it was before
    assert norms == pytest.approx([0.5, 0.5], rel=1e-3)


def test_a_gradient_that_overflows_skips_the_step_and_lowers_the_scale(
    make_policy, make_dataset, make_trainer
):
    policy = make_policy(trained=True)
    trainer = with_scaler(
        make_trainer(policy, make_dataset(), per_device_train_batch_size=8), 2.0**40
    )
    before = adapter(policy)
    trainer.train()
    for name, weight in adapter(policy).items():
        assert torch.equal(weight, before[name]), name
    assert trainer.accelerator.scaler.get_scale() == 2.0**39


def test_small_gradients_of_float16_states_wait_for_their_scale():
    """The gradient is made in the forward pass, where the scale is not known yet."""
    from stylellm.objective.chunked import style_alignment_loss

    torch.manual_seed(0)
    head, hidden = torch.randn(300, 16).half(), torch.randn(40, 16).half()
    labels, kl = torch.randint(300, (40,)), torch.ones(40)
    count = 1e7  # gradients near 1e-7, where float16 ends

    def gradient(dtype, scale):
        states = hidden.to(dtype).requires_grad_()
        loss = style_alignment_loss(
            states, (hidden.double() * 1.01).to(dtype), head.to(dtype), labels, kl, 0.1,
            num_labels=count, num_kl=count,
        ).loss  # fmt: skip
        (loss * scale).backward()
        return states.grad.double() / scale

    wanted = gradient(torch.float64, 1.0)
    assert (gradient(torch.float16, 2.0**18) - wanted).norm() < 0.02 * wanted.norm()
    assert (gradient(torch.float16, 1.0) - wanted).norm() > 0.02 * wanted.norm()
