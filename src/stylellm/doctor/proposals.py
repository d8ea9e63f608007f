"""Settings that fit a card: what each option saves, and the cheapest changes that are enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import log2

from stylellm.doctor.memory import Prediction, predict
from stylellm.doctor.setup import Setup
from stylellm.doctor.shapes import Shape

FEWER = ("q_proj", "k_proj", "v_proj", "o_proj")
SHORTER = (384, 256, 128)

# What a change costs, to put the candidates in order: checkpointing computes the forward pass
# twice; halving the batch leaves a card a little idler; the others change what is learnt.
RECOMPUTE = 1.3
PER_HALVING = 0.08
FOUR_BIT = 2.0
FEWER_ADAPTERS = 2.5
UPPER_LAYERS = 1.5  # faster, but only the upper half learns
PER_SHORTENING = 3.0


@dataclass(frozen=True)
class Proposal:
    """A setup that fits, and what it changes."""

    setup: Setup
    prediction: Prediction
    cost: float


def _has_lora_layers() -> bool:
    """Whether the configuration can put the adapter on the upper layers alone."""
    from stylellm.config import LoraSection

    return "lora_layers" in LoraSection.model_fields


def savings(shape: Shape, setup: Setup) -> list[tuple[str, float]]:
    """(change, bytes saved) of each option by itself, most first; those that save nothing left out."""
    now = predict(shape, setup).needed
    changes = []
    for text, changed in _single_changes(setup):
        saved = now - predict(shape, changed).needed
        if saved > 0:
            changes.append((text, saved))
    return sorted(changes, key=lambda change: -change[1])


def _single_changes(setup: Setup) -> Iterator[tuple[str, Setup]]:
    if not setup.checkpointing:
        yield "training.gradient_checkpointing: true", replace(setup, checkpointing=True)
    if setup.batch > 1:
        half = _regrouped(setup, setup.batch // 2)
        text = (
            f"training.per_device_train_batch_size: {half.batch} with "
            f"gradient_accumulation_steps: {half.accumulation}"
        )
        yield text, half
    if setup.max_length > 256:
        yield "data.max_length: 256", replace(setup, max_length=256)
    if setup.device == "cuda" and not setup.load_in_4bit:
        yield "model.load_in_4bit: true", _in_4bit(setup)
    if set(setup.targets) > set(FEWER):
        text = f"lora.target_modules: [{', '.join(FEWER)}]"
        yield text, replace(setup, target_modules=FEWER)
    if setup.lora_layers == "all" and _has_lora_layers():
        yield "lora.lora_layers: top_half", replace(setup, lora_layers="top_half")
    if setup.lora_r > 8:
        yield "lora.lora_r: 8", replace(setup, lora_r=8)
    if setup.dropout > 0:
        yield "lora.lora_dropout: 0", replace(setup, dropout=0.0)
    if setup.weights == "float32" and setup.device == "cuda":
        changed = replace(setup, weights="bfloat16", compute="bfloat16")
        yield "model.dtype: bfloat16 with training.bf16: true", changed


def _in_4bit(setup: Setup) -> Setup:
    return replace(setup, load_in_4bit=True, load_in_8bit=False)


def _regrouped(setup: Setup, batch: int) -> Setup:
    """The same windows per optimizer step in smaller micro-batches."""
    total = setup.batch * setup.accumulation
    return replace(setup, batch=batch, accumulation=max(1, round(total / batch)))


def propose(shape: Shape, setup: Setup, available: float, *, limit: int = 3) -> list[Proposal]:
    """The cheapest setups that fit ``available`` bytes, each of another kind; empty if none does.

    The number of windows per optimizer step is kept, so that the training stays the same; a kind
    is a choice of (4 bits, adapted layers, max_length, checkpointing).
    """
    fitting = []
    for candidate, cost in _candidates(setup):
        prediction = predict(shape, candidate)
        if prediction.needed <= available:
            fitting.append(Proposal(candidate, prediction, cost))
    fitting.sort(key=lambda proposal: proposal.cost)
    chosen: dict[tuple, Proposal] = {}
    for proposal in fitting:
        s = proposal.setup
        kind = (s.load_in_4bit, s.targets, s.lora_layers, s.max_length, s.checkpointing)
        chosen.setdefault(kind, proposal)
    return list(chosen.values())[:limit]


def _candidates(setup: Setup) -> Iterator[tuple[Setup, float]]:
    lengths = [setup.max_length, *(n for n in SHORTER if n < setup.max_length)]
    four = [setup.load_in_4bit]
    if setup.device == "cuda" and not setup.load_in_4bit:
        four.append(True)
    targets = [setup.target_modules]
    if set(setup.targets) > set(FEWER):
        targets.append(FEWER)
    layers = [setup.lora_layers]
    if setup.lora_layers == "all" and _has_lora_layers():
        layers.append("top_half")
    for (steps, length), bits, modules, upper in product(enumerate(lengths), four, targets, layers):
        base = _in_4bit(setup) if bits else setup
        kept = replace(base, max_length=length, target_modules=modules, lora_layers=upper)
        extra = PER_SHORTENING * steps
        extra += FOUR_BIT if bits and not setup.load_in_4bit else 0.0
        extra += FEWER_ADAPTERS if modules is not setup.target_modules else 0.0
        extra += UPPER_LAYERS if upper != setup.lora_layers else 0.0
        yield from _batches(kept, extra)


def _batches(setup: Setup, extra: float) -> Iterator[tuple[Setup, float]]:
    """Smaller micro-batches of the same step, with and without checkpointing."""
    total = setup.batch * setup.accumulation
    for batch in (b for b in range(setup.batch, 0, -1) if total % b == 0):
        smaller = replace(setup, batch=batch, accumulation=total // batch)
        cost = extra + PER_HALVING * log2(setup.batch / batch)
        for again in sorted({setup.checkpointing, True}):
            slower = RECOMPUTE - 1 if again and not setup.checkpointing else 0.0
            yield replace(smaller, checkpointing=again), cost + slower


def yaml_lines(setup: Setup, *, before: Setup | None = None) -> list[str]:
    """The lines of a configuration for a setup; with ``before`` only what differs from it."""
    sections: dict[str, dict[str, tuple[str, str | None]]] = {
        "model": {
            "dtype": _pair(setup, before, lambda s: s.weights),
            "load_in_4bit": _pair(setup, before, lambda s: _yes(s.load_in_4bit)),
            "load_in_8bit": _pair(setup, before, lambda s: _yes(s.load_in_8bit)),
        },
        "data": {"max_length": _pair(setup, before, lambda s: str(s.max_length))},
        "lora": {
            "lora_r": _pair(setup, before, lambda s: str(s.lora_r)),
            "target_modules": _pair(setup, before, _modules),
            "lora_layers": _pair(setup, before, lambda s: s.lora_layers),
        },
        "training": {
            "per_device_train_batch_size": _pair(setup, before, lambda s: str(s.batch)),
            "gradient_accumulation_steps": _pair(setup, before, lambda s: str(s.accumulation)),
            "gradient_checkpointing": _pair(setup, before, lambda s: _yes(s.checkpointing)),
            "bf16": _pair(setup, before, lambda s: _yes(s.compute == "bfloat16")),
            "fp16": _pair(setup, before, lambda s: _yes(s.compute == "float16")),
        },
    }
    from stylellm.config import SECTIONS

    lines = []
    for section, keys in sections.items():
        fields = SECTIONS[section].model_fields
        keys = {key: values for key, values in keys.items() if key in fields}
        changed = [f"  {key}: {new}" for key, (new, old) in keys.items() if new != old]
        lines += [f"{section}:", *changed] if changed else []
    return lines


def overrides(setup: Setup, *, before: Setup) -> str:
    """The same as options of a command: --set a.b=c ..."""
    section, options = "", []
    for line in yaml_lines(setup, before=before):
        if line.startswith(" "):
            name, value = line.strip().split(": ", 1)
            options.append(f"--set {section}.{name}={value.replace(', ', ',')}")
        else:
            section = line.rstrip(":")
    return " ".join(options)


def _pair(setup: Setup, before: Setup | None, read) -> tuple[str, str | None]:  # type: ignore[no-untyped-def]
    return read(setup), None if before is None else read(before)


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _modules(setup: Setup) -> str:
    if isinstance(setup.target_modules, str):
        return setup.target_modules
    return f"[{', '.join(setup.target_modules)}]"
