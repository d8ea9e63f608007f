"""Checks that look at several keys, or at the machine.

Each returns problems instead of raising, so that all of a configuration's problems are reported
together. `config` is anything with the attributes of `StyleConfig`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from stylellm.config.section import Problem

if TYPE_CHECKING:
    from stylellm.config.tree import StyleConfig

RATIO_TOLERANCE = 1e-6


def cross_field_problems(config: Any) -> list[Problem]:
    """What is wrong between keys that are each right by themselves."""
    return [
        *_masking_problems(config.masking),
        *_data_problems(config),
        *_objective_problems(config),
        *_anchor_problems(config.objective),
        *_adapter_problems(config),
        *_training_problems(config.training),
        *_best_problems(config.training),
    ]


def _masking_problems(masking: Any) -> list[Problem]:
    names = ("span_mask_ratio", "token_mask_ratio", "no_mask_ratio")
    ratios = [getattr(masking, name) for name in names]
    problems = []
    if abs(sum(ratios) - 1) > RATIO_TOLERANCE:
        listed = " + ".join(f"{ratio:g}" for ratio in ratios)
        text = f"{listed} = {sum(ratios):g}; {', '.join(names)} must sum to 1"
        paths = tuple(f"masking.{name}" for name in names)
        problems.append(Problem(paths[0], text, paths))
    if masking.span_length_max < masking.span_length_mean:
        text = (
            f"found {masking.span_length_max}; expected at least "
            f"masking.span_length_mean ({masking.span_length_mean:g})"
        )
        involved = ("masking.span_length_max", "masking.span_length_mean")
        problems.append(Problem(involved[0], text, involved))
    return problems


def _data_problems(config: Any) -> list[Problem]:
    data, problems = config.data, []
    held_out = data.validation_fraction + data.test_fraction
    if held_out >= 1:
        text = (
            f"found {data.test_fraction:g}; with data.validation_fraction "
            f"({data.validation_fraction:g}) it leaves nothing to train on; expected a sum below 1"
        )
        paths = ("data.test_fraction", "data.validation_fraction")
        problems.append(Problem(paths[0], text, paths))
    if data.validation_fraction == 0 and config.training.eval_strategy != "no":
        text = (
            f"found {config.training.eval_strategy}, but data.validation_fraction is 0, so there "
            'is nothing to evaluate on; expected "no", or a data.validation_fraction above 0'
        )
        paths = ("training.eval_strategy", "data.validation_fraction")
        problems.append(Problem(paths[0], text, paths))
    return problems


def _objective_problems(config: Any) -> list[Problem]:
    """A leading sentinel leaves no clean position in a masked window (method: the anchor)."""
    masking, objective = config.masking, config.objective
    leading_sentinel = masking.format == "infill" and masking.order == "native"
    only_clean = objective.kl_beta > 0 and objective.kl_positions == "clean"
    if not (leading_sentinel and only_clean and masking.no_mask_ratio == 0):
        return []
    text = (
        "found clean, but with masking.order: native and masking.no_mask_ratio: 0 every position "
        "follows a sentinel, so kl_beta would weigh nothing; expected all, or masking.order: "
        "prefix_first, or a masking.no_mask_ratio above 0"
    )
    involved = ("masking.format", "masking.order", "masking.no_mask_ratio", "objective.kl_beta")
    return [Problem("objective.kl_positions", text, ("objective.kl_positions", *involved))]


def _training_problems(training: Any) -> list[Problem]:
    problems = []
    if training.fp16 and training.bf16:
        text = "found true, and training.bf16 is true as well; expected at most one of the two"
        problems.append(Problem("training.fp16", text, ("training.fp16", "training.bf16")))
    if training.load_best_model_at_end and training.eval_strategy == "no":
        text = "found true, but training.eval_strategy is no; expected steps or epoch there"
        paths = ("training.load_best_model_at_end", "training.eval_strategy")
        problems.append(Problem(paths[0], text, paths))
    return problems


BETA_BOUNDS = (0.05, 10.0)
"""Within which objective.target_kl steers kl_beta (the bounds of the controller)."""


def _anchor_problems(objective: Any) -> list[Problem]:
    low, high = BETA_BOUNDS
    if objective.target_kl is None or low <= objective.kl_beta <= high:
        return []
    text = (
        f"found {objective.kl_beta:g}; with objective.target_kl it is where the steering begins; "
        f"expected {low:g} to {high:g}"
    )
    paths = ("objective.kl_beta", "objective.target_kl")
    return [Problem(paths[0], text, paths)]


def _adapter_problems(config: Any) -> list[Problem]:
    problems: list[Problem] = []
    model, lora, training = config.model, config.lora, config.training
    if model.attn_implementation == "flash_attention_2" and model.dtype == "float32":
        text = "found flash_attention_2, which computes in 16 bits, and model.dtype is float32"
        flash = ("model.attn_implementation", "model.dtype")
        problems.append(Problem(flash[0], f"{text}; expected sdpa, or model.dtype: auto", flash))
    if model.load_in_4bit and model.load_in_8bit:
        both = ("model.load_in_8bit", "model.load_in_4bit")
        problems.append(Problem(both[0], "found true, and load_in_4bit is true as well", both))
    if lora.train_sentinels and (
        config.masking.format != "infill" or config.masking.no_mask_ratio == 1
    ):
        text = "found true, but no window has sentinels; expected masking.format: infill with masks"
        names = ("lora.train_sentinels", "masking.format", "masking.no_mask_ratio")
        problems.append(Problem(names[0], text, names))
    options = training.other_fields().get("gradient_checkpointing_kwargs") or {}
    if lora.lora_layers != "all" and options.get("use_reentrant"):
        text = (
            f"found {lora.lora_layers}; reentrant checkpointing needs gradients from the first layer "
            "on; expected all, or use_reentrant: false in training.gradient_checkpointing_kwargs"
        )
        paths = ("lora.lora_layers", "training.gradient_checkpointing_kwargs")
        problems.append(Problem(paths[0], text, paths))
    return problems


def _best_problems(training: Any) -> list[Problem]:
    """Rules on which evaluation is best that nothing would ask."""
    problems = []
    patience, drift = training.early_stopping_patience, training.max_drift_kl
    if patience is not None and training.eval_strategy == "no":
        text = f"found {patience}, but training.eval_strategy is no; expected steps or epoch there"
        paths = ("training.early_stopping_patience", "training.eval_strategy")
        problems.append(Problem(paths[0], text, paths))
    asked = training.load_best_model_at_end or training.save_strategy == "best"
    if drift is not None and patience is None and not asked:
        text = (
            f"found {drift:g}, but no best checkpoint is asked for; expected "
            "training.load_best_model_at_end: true, or a training.early_stopping_patience"
        )
        paths = ("training.max_drift_kl", "training.load_best_model_at_end")
        problems.append(Problem(paths[0], text, paths))
    return problems


def check_hardware(config: StyleConfig) -> list[str]:
    """What this machine cannot do of a configuration, one line each."""
    return [f"{problem.path}: {problem.text}" for problem in hardware_problems(config)]


def hardware_problems(config: Any) -> list[Problem]:
    """`check_hardware` with the keys apart. Imports torch only where a key asks for something."""
    problems = []
    training, model = config.training, config.model
    cuda = not training.use_cpu and (
        training.fp16 or training.bf16 or model.load_in_4bit or model.load_in_8bit
    )
    cuda = cuda and _has_cuda()
    if training.fp16 and not cuda and (training.use_cpu or not _has_mps()):
        where = "training.use_cpu is true" if training.use_cpu else "this machine has none"
        text = f"found true; fp16 needs a GPU ({where}); use bf16: true, or neither"
        problems.append(Problem("training.fp16", text, ("training.fp16", "training.use_cpu")))
    if training.bf16 and cuda and not _cuda_has_bf16():
        text = "found true; this GPU has no bfloat16; use fp16: true instead"
        problems.append(Problem("training.bf16", text, ("training.bf16", "training.use_cpu")))
    for name in ("load_in_4bit", "load_in_8bit"):
        if not getattr(model, name):
            continue
        if not cuda:
            text = "found true; it needs a CUDA GPU; use false and a smaller model here"
            problems.append(Problem(f"model.{name}", text, (f"model.{name}",)))
        if not _installed("bitsandbytes"):
            text = "found true; it needs a package: pip install bitsandbytes"
            problems.append(Problem(f"model.{name}", text, (f"model.{name}",)))
    if model.attn_implementation == "flash_attention_2" and not _installed("flash_attn"):
        text = "found flash_attention_2; the flash-attn package is not installed; use auto or sdpa"
        involved = ("model.attn_implementation",)
        problems.append(Problem("model.attn_implementation", text, involved))
    return problems


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()


def _cuda_has_bf16() -> bool:
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
