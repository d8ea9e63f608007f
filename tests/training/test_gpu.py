"""A step on a GPU against the same step in float64 on the CPU. Run with make test-gpu."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from training_runs import Recorder, training_rows

from stylellm.masking.collate import collator
from stylellm.model.attention import FLASH, flash_runs_here
from stylellm.model.load import load_base
from stylellm.model.passes import Passes
from stylellm.model.policy import add_lora

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

bf16 = pytest.mark.skipif(
    not (torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)),
    reason="a GPU without bfloat16",
)
needs_flash = pytest.mark.skipif(not flash_runs_here(), reason="flash-attn does not run here")


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


def gradients_on_gpu(make_trainer, policy, dataset, *, padding_free=False, passes=None, **options):
    trainer = make_trainer(
        policy, dataset, passes=passes, use_cpu=False, per_device_train_batch_size=8, **options
    )
    if padding_free:
        pad = trainer.processing_class.pad_token_id
        trainer.data_collator = collator(pad, padding_free=True)
    seen = Recorder()
    trainer.add_callback(seen)
    trainer.train()
    gradients = {name: g.double().cpu() for name, g in seen.gradients[0].items()}
    return gradients, training_rows(trainer)[0]["loss"]


def assert_near(found, wanted, whole_loss, tolerance):
    gradients, loss = found
    assert loss == pytest.approx(whole_loss, rel=tolerance)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (gradients[name] - gradient).norm() <= tolerance * gradient.norm(), name


CASES = [
    pytest.param({}, 1e-4, id="float32"),
    pytest.param({"bf16": True}, 0.05, marks=bf16, id="bfloat16"),
    pytest.param({"fp16": True}, 0.02, id="float16 and its scaler"),
    pytest.param({"bf16": True, "gradient_checkpointing": True}, 0.05, marks=bf16, id="checkpointed"),
    pytest.param(
        {"bf16": True, "use_liger_kernel": True}, 0.05,
        marks=[bf16, needs("liger_kernel")], id="Liger",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "tolerance"), CASES)
def test_a_step_is_that_of_fp64(
    make_policy, make_dataset, make_trainer, whole_step, options, tolerance
):
    if options.get("use_liger_kernel"):
        from stylellm.config.arguments import LIGER

        options = {**options, "liger_kernel_config": dict(LIGER)}
    policy = make_policy(trained=True)
    found = gradients_on_gpu(make_trainer, policy, make_dataset(), **options)
    assert_near(found, whole_step["gradients"], whole_step["loss"], tolerance)


def base_and_policy(folder, **options):
    base = load_base(str(folder), **options)
    torch.manual_seed(0)
    policy = add_lora(base, base_name="x", r=4, dropout=0.0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return policy


@bf16
@needs_flash
def test_flash_attention_without_padding_is_as_near_to_fp64_as_sdpa_with_it(
    tiny_model_dir, make_dataset, make_trainer
):
    def dataset():
        found = make_dataset()
        found.author = [
            {**window, "documents": [9, len(window["text"]) - 9]} for window in found.author
        ]
        return found

    def distances(found):
        return {name: float((found[name] - g).norm() / g.norm()) for name, g in exact.items()}

    double = base_and_policy(tiny_model_dir, dtype="float32").double()
    exact, loss = gradients_on_gpu(make_trainer, double, dataset())
    sdpa, _ = gradients_on_gpu(
        make_trainer, base_and_policy(tiny_model_dir, dtype="bfloat16"), dataset()
    )
    policy = base_and_policy(tiny_model_dir, dtype="bfloat16", attn_implementation=FLASH)
    flash, flash_loss = gradients_on_gpu(
        make_trainer, policy, dataset(), padding_free=True, passes=Passes()
    )
    assert flash_loss == pytest.approx(loss, rel=0.01)
    ours, theirs = distances(flash), distances(sdpa)
    assert max(ours.values()) < 2 * max(theirs.values())


@needs("bitsandbytes")
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_trains(tiny_model_dir, make_dataset, make_trainer, bits):
    policy = base_and_policy(tiny_model_dir, **{f"load_in_{bits}bit": True})
    gradients, loss = gradients_on_gpu(make_trainer, policy, make_dataset())
    assert loss > 0
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in gradients.values())


@bf16
@needs("bitsandbytes")
def test_the_lean_adapter_beside_4_bits_is_pefts(
    tiny_model_dir, make_dataset, make_trainer, monkeypatch
):
    def run():
        policy = base_and_policy(tiny_model_dir, dtype="bfloat16", load_in_4bit=True)
        return gradients_on_gpu(make_trainer, policy, make_dataset(), bf16=True)

    found = run()
    monkeypatch.setattr("stylellm.training.trainer.use_lean_lora", lambda policy: 0)
    assert_near(found, *run(), 0.05)


def test_the_loss_is_the_same_compiled_and_not_and_its_buffers_are_bounded():
    from stylellm.objective import compiled
    from stylellm.objective.chunked import style_alignment_loss

    torch.manual_seed(0)
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    head = (torch.randn(151936, 256, device="cuda") * 0.2).to(dtype)
    hidden = torch.randn(1024, 256, device="cuda").to(dtype)
    reference = hidden + 0.05 * torch.randn_like(hidden)
    labels = torch.randint(151936, (1024,), device="cuda")
    results = []
    for compile in (False, True):
        states = hidden.clone().requires_grad_()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss = style_alignment_loss(
            states, reference, head, labels, torch.ones(1024, device="cuda"), 0.1, compile=compile
        ).loss
        loss.backward()
        results.append((loss.item(), states.grad.float()))
        bound = 350 if compile and not compiled._failed else 450
        assert torch.cuda.max_memory_allocated() - before < bound * 2**20
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    difference = (results[0][1] - results[1][1]).norm()
    assert difference < 0.01 * results[0][1].norm()
