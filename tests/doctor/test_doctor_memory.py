"""The prediction against what a real step of a small model keeps and allocates."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from live_bytes import LiveBytes

from stylellm.doctor import memory
from stylellm.doctor.memory import NF4, adapter_parameters, predict, weight_bytes
from stylellm.doctor.setup import Setup
from stylellm.doctor.shapes import QWEN25, Shape
from stylellm.errors import StyleLLMError

SHAPE = Shape("small", 128, 3, 4, 2, 704, 1200, True, 32)
FORMATS = {
    "fp32": ("float32", None),
    "bf16": ("bfloat16", "bfloat16"),
    "mixed": ("float32", "bfloat16"),
    "bf16 weights": ("bfloat16", None),
}


def setup_of(form: str, **changes: Any) -> Setup:
    weights, compute = FORMATS[form]
    values: dict[str, Any] = {
        "batch": 2, "accumulation": 1, "max_length": 96, "weights": weights, "compute": compute,
        "device": "cpu", **changes,
    }  # fmt: skip
    return Setup(**values)


def policy_of(shape: Shape, setup: Setup) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from stylellm.model.lean_lora import use_lean_lora
    from stylellm.model.policy import add_lora

    config = Qwen2Config(
        hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied, attn_implementation=setup.attention,
    )  # fmt: skip
    base = Qwen2ForCausalLM(config).to(getattr(torch, setup.weights))
    targets = setup.target_modules
    policy = add_lora(
        base, base_name="x", r=setup.lora_r, dropout=setup.dropout, target_modules=targets,
        layers=range(shape.layers - setup.adapted(shape), shape.layers),
    )  # fmt: skip
    if setup.checkpointing:
        policy.gradient_checkpointing_enable()
    use_lean_lora(policy)
    return policy.train()


def batch_of(setup: Setup) -> dict[str, torch.Tensor]:
    """Whole windows; packed ones hold two documents, told apart by their positions."""
    ids = torch.randint(SHAPE.vocabulary, (setup.batch, setup.max_length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if setup.packed:
        half = torch.arange(setup.max_length // 2).repeat(2)
        batch["position_ids"] = half.expand(setup.batch, -1).clone()
    return batch


def autocast(setup: Setup) -> Any:
    if setup.compute is None:
        return contextlib.nullcontext()
    return torch.autocast("cpu", getattr(torch, setup.compute))


def kept_bytes(shape: Shape, setup: Setup) -> int:
    """What autograd keeps of a forward pass besides the parameters, each storage once."""
    from stylellm.model.policy import backbone_of, run_backbone

    policy = policy_of(shape, setup)
    parameters = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with (
        autocast(setup),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        batch = batch_of(setup)
        output = run_backbone(
            backbone_of(policy), batch["input_ids"], None, batch.get("position_ids")
        )
    total = sum(storage.nbytes() for storage in kept.values())
    del output
    return total


KEPT = [
    ("fp32", {}),
    ("bf16", {}),
    ("mixed", {"packed": True}),
    ("bf16 weights", {}),
    ("fp32", {"dropout": 0.0}),
    ("bf16", {"dropout": 0.0, "packed": True}),
    ("fp32", {"target_modules": ("q_proj", "v_proj")}),
    ("bf16", {"target_modules": ("gate_proj", "down_proj"), "lora_r": 32}),
]


@pytest.mark.parametrize(("form", "changes"), KEPT)
def test_kept_activations_are_exact(form: str, changes: dict[str, Any]) -> None:
    setup = setup_of(form, **changes)
    one, two = (kept_bytes(replace(SHAPE, layers=n), setup) for n in (1, 2))
    predicted = setup.tokens * memory._kept_per_token(SHAPE, setup)
    predicted += memory._weight_copies(SHAPE, setup)
    assert (two - one) == pytest.approx(predicted, rel=0.01)
    if "q_proj" not in setup.targets:  # more of the first layer needs no gradient than is counted
        assert one < predicted
        return
    first = predicted - setup.tokens * memory._not_kept_of_first(SHAPE, setup)
    rest = setup.tokens * (4 * SHAPE.hidden + 4)  # the final norm; rope is below 1%
    assert one == pytest.approx(first + rest, rel=0.03)


def test_eager_attention_keeps_its_scores() -> None:
    setup = setup_of("fp32", attention="eager", max_length=192, batch=1)
    one, two = (kept_bytes(replace(SHAPE, layers=n), setup) for n in (1, 2))
    predicted = setup.tokens * memory._kept_per_token(SHAPE, setup)
    assert (two - one) == pytest.approx(predicted, rel=0.01)


def live_peak(setup: Setup, shape: Shape = SHAPE) -> int:
    """Peak of the second of two whole steps, counted from the storages that torch makes."""
    from stylellm.model.head import output_weight
    from stylellm.model.passes import Passes, shared_layers_of
    from stylellm.objective.chunked import style_alignment_loss

    policy = policy_of(shape, setup)
    batch = batch_of(setup)
    passes = Passes(shared_layers_of(policy))
    weight = torch.full((setup.tokens,), 0.1 / setup.tokens)
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad])
    with LiveBytes() as live:
        for _ in range(2):
            live.peak = live.now
            with autocast(setup):
                hidden, reference = passes(policy, policy, batch, with_reference=True)
                result = style_alignment_loss(
                    hidden.flatten(0, 1), reference.flatten(0, 1), output_weight(policy),
                    batch["input_ids"].flatten(), weight, 1.0,
                    num_labels=setup.tokens, num_kl=1, chunk_size=setup.chunk_size,
                )  # fmt: skip
                del hidden, reference
            result.loss.backward()
            del result
            optimizer.step()
            optimizer.zero_grad()
    return live.peak


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        *product(FORMATS, ({}, {"checkpointing": True})),
        ("fp32", {"packed": True}),
        ("bf16", {"lora_layers": "top_half"}),
        ("bf16", {"lora_layers": "top_half", "checkpointing": True}),
    ],
)
def test_peak_of_a_step(form: str, changes: dict[str, Any]) -> None:
    """Small chunks, so that the peak is one of the layers and not of the loss."""
    setup = setup_of(form, **changes, chunk_size=4)
    shape = SHAPE if setup.lora_layers == "all" else replace(SHAPE, layers=4)
    predicted = predict(shape, setup)
    standing = predicted.parts["weights"] + predicted.parts["adapter"]  # made outside of the mode
    assert predicted.phase in ("forward", "backward") or form == "mixed"  # its head is copied
    assert predicted.peak - standing == pytest.approx(live_peak(setup, shape), rel=0.05)


def test_peak_of_the_loss_is_bounded() -> None:
    """The buffers are those of any delta; a small one, as here, needs two blocks fewer."""
    shape, setup = replace(SHAPE, vocabulary=9000), setup_of("fp32", checkpointing=True, batch=1)
    predicted = predict(shape, setup)
    standing = predicted.parts["weights"] + predicted.parts["adapter"]
    measured = live_peak(setup, shape)
    assert predicted.phase == "loss"
    assert measured <= predicted.peak - standing <= 1.4 * measured


def test_loss_stage_is_flat_in_the_batch() -> None:
    """On a GPU the bound is that of the largest chunk without the compiler."""
    shape = QWEN25["7B"]
    for device, bound in (("cuda", 450), ("cpu", 350)):
        setups = [Setup(batch=b, device=device) for b in (1, 4, 32)]  # type: ignore[arg-type]
        buffers = {memory._loss_buffers(shape, setup, 2) for setup in setups}
        assert len(buffers) == 1 and buffers.pop() <= bound * 2**20


def test_monotone_in_every_size() -> None:
    shape, setup = QWEN25["1.5B"], Setup()
    now = predict(shape, setup).peak
    for larger in ({"batch": 8}, {"max_length": 1024}, {"lora_r": 64}, {"weights": "float32"}):
        assert predict(shape, replace(setup, **larger)).peak > now
    for smaller in ({"checkpointing": True}, {"load_in_4bit": True}, {"dropout": 0.0},
                    {"target_modules": ("q_proj",)}):  # fmt: skip
        assert predict(shape, replace(setup, **smaller)).peak < now


def test_quantised_weights() -> None:
    """bitsandbytes states 0.5 byte, blocks of 64, nested blocks of 256: about 4.13 bits."""
    assert pytest.approx(4.127, abs=0.001) == NF4 * 8
    shape = QWEN25["7B"]
    quantised = weight_bytes(shape, Setup(load_in_4bit=True))
    assert quantised == shape.layers * shape.linear_per_layer * NF4 + shape.other * 2
    assert weight_bytes(shape, Setup()) == 2 * shape.parameters
    eight = weight_bytes(shape, Setup(load_in_8bit=True))
    assert quantised < eight == shape.layers * shape.linear_per_layer + shape.other * 2
    with pytest.raises(StyleLLMError, match="both"):
        predict(shape, Setup(load_in_4bit=True, load_in_8bit=True))


def test_targets_of_method_section_6() -> None:
    """Predicted allocated peaks with checkpointing, 512 tokens, beside the project's targets."""
    base = Setup(checkpointing=True)
    for size, changes, target in (
        ("1.5B", {"lora_r": 8}, 4.5), ("7B", {"lora_r": 8}, 17.5),
        ("7B", {"lora_r": 16, "batch": 8}, 20.0), ("14B", {"lora_r": 16}, 33.5),
        ("7B", {"load_in_4bit": True}, 8.0),
    ):  # fmt: skip
        assert predict(QWEN25[size], replace(base, **changes)).peak <= target * 1e9


def test_states_of_the_optimizer() -> None:
    shape, r = QWEN25["0.5B"], Setup()
    parameters = adapter_parameters(shape, r)
    assert predict(shape, r).parts["optimizer"] == 8 * parameters
    assert (
        predict(shape, replace(r, optimizer="paged_adamw_8bit")).parts["optimizer"]
        == 2 * parameters
    )


@pytest.mark.parametrize(
    "changes",
    [{"batch": 0}, {"lora_r": -1}, {"target_modules": ("c_attn",)}, {"max_length": 10**6}],
)
def test_impossible_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(StyleLLMError):
        predict(QWEN25["0.5B"], replace(Setup(), **changes))


@pytest.mark.gpu
@pytest.mark.parametrize("checkpointing", ["on", "off"])
def test_measured_on_a_gpu(checkpointing: str, repo_root: Any, tmp_path: Any) -> None:
    import json
    import subprocess
    import sys

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    output = tmp_path / "fit.json"
    command = [sys.executable, str(repo_root / "benchmarks" / "memory_fit.py"), "--model", "0.5B",
               "--batch", "4", "--length", "512", "--format", "bf16",
               "--checkpointing", checkpointing, "--output", str(output)]  # fmt: skip
    subprocess.run(command, check=True)
    (measured,) = json.loads(output.read_text(encoding="utf-8")).values()
    setup = Setup(accumulation=1, checkpointing=checkpointing == "on")
    assert predict(QWEN25["0.5B"], setup).peak == pytest.approx(measured, rel=0.15)
