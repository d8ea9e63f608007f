"""From `training:` to `transformers.TrainingArguments`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stylellm.config.names import nearest_value
from stylellm.config.training import training_argument_names
from stylellm.config.training_fields import FIXED
from stylellm.errors import ConfigError

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from stylellm.config.tree import StyleConfig

# Optimizers that need nothing but torch; the others are looked up before the run starts.
PLAIN_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd", "adafactor", "adagrad", "rmsprop")


# Liger's kernels that act inside the backbone; its losses would compute logits that nobody reads.
LIGER = {
    "rope": True,
    "rms_norm": True,
    "swiglu": True,
    "cross_entropy": False,
    "fused_linear_cross_entropy": False,
}


def training_arguments(
    config: StyleConfig, *, checkpointing: bool = False, **ours: Any
) -> TrainingArguments:
    """Build TrainingArguments, and find out now what would stop the Trainer later.

    Without an accelerator `use_cpu` is set, which is the same device, and spares the user
    transformers' refusal of bf16 on a CPU and torch's warning about pinned memory.

    Args:
        config: the checked configuration.
        checkpointing: what training.gradient_checkpointing: auto comes to.
        ours: fields that the caller sets itself; they win.

    Raises:
        ConfigError: transformers refuses the values, or a package they need is not installed.
    """
    import torch
    from transformers import TrainingArguments

    # Every LoRA weight gets a gradient in every step, so the search for unused ones is wasted.
    values = {"ddp_find_unused_parameters": False} | _renamed(_resolved(config, checkpointing))
    values |= {name: rule.harmless[0] for name, rule in FIXED.items()}
    if not torch.accelerator.is_available():
        values["use_cpu"] = True
    known = set(training_argument_names())
    values = {name: value for name, value in values.items() if name in known} | ours
    try:
        arguments = TrainingArguments(**values)
    except (ValueError, TypeError, KeyError, ImportError, RuntimeError, OSError) as error:
        raise ConfigError([f"training: {_one_line(error)}"]) from error
    problems = [
        *_liger_problems(config),
        *_tracker_problems(list(arguments.report_to or [])),
        *_optimizer_problems(arguments),
        *_scheduler_problems(arguments),
    ]
    if problems:
        raise ConfigError(problems)
    return arguments


def _resolved(config: StyleConfig, checkpointing: bool) -> dict[str, Any]:
    """The values as transformers understands them."""
    values = config.training.model_dump()
    if values["gradient_checkpointing"] == "auto":
        values["gradient_checkpointing"] = checkpointing
    if values["use_liger_kernel"]:
        values["liger_kernel_config"] = dict(LIGER)
    values["torch_compile"] = (
        False  # the trainer compiles the layers; transformers, a forward past them
    )
    # Whatever is measured here is the better the smaller; transformers thinks so of losses only.
    if values.get("metric_for_best_model") and values.get("greater_is_better") is None:
        values["greater_is_better"] = False
    return values


def _liger_problems(config: StyleConfig) -> list[str]:
    if not config.training.use_liger_kernel:
        return []
    import torch
    from transformers.utils import is_liger_kernel_available

    if not torch.cuda.is_available():
        return ["training.use_liger_kernel: found true; its kernels need a GPU; use false here"]
    if not is_liger_kernel_available():
        return [
            "training.use_liger_kernel: found true; it needs a package: pip install liger-kernel"
        ]
    return []


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """transformers 5.2x calls gradient_checkpointing activation_checkpointing, and warns."""
    if "activation_checkpointing" not in training_argument_names():
        return values
    return {
        name.replace("gradient_checkpointing", "activation_checkpointing"): value
        for name, value in values.items()
    }


def _tracker_problems(trackers: list[str]) -> list[str]:
    if set(trackers) <= {"tensorboard"}:  # a dependency of ours: no need to look
        return []
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    known, installed = list(INTEGRATION_TO_CALLBACK), get_available_reporting_integrations()
    problems = []
    for name in trackers:
        if name not in known:
            answer = nearest_value(name, known) or f"expected some of {', '.join(known)}"
            problems.append(f'training.report_to: found "{name}"; {answer}')
        elif name not in installed and name != "tensorboard":
            problems.append(f'training.report_to: found "{name}", which is not installed')
    return problems


def _optimizer_problems(arguments: TrainingArguments) -> list[str]:
    if arguments.optim in PLAIN_OPTIMIZERS and not arguments.optim_args:
        return []
    from transformers import Trainer

    try:
        Trainer.get_optimizer_cls_and_kwargs(arguments)
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        name = getattr(arguments.optim, "value", arguments.optim)
        return [f'training.optim: found "{name}"; {_one_line(error)}']
    return []


def _scheduler_problems(arguments: TrainingArguments) -> list[str]:
    """Build the scheduler once over a dummy: some names need lr_scheduler_kwargs."""
    import torch
    from transformers import get_scheduler

    options: Any = arguments.lr_scheduler_kwargs or {}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    try:
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer,
            num_warmup_steps=1,
            num_training_steps=10,
            scheduler_specific_kwargs=dict(options),
        )
    except (ValueError, TypeError) as error:
        name = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
        return [
            f'training.lr_scheduler_type: found "{name}" with training.lr_scheduler_kwargs '
            f"{options}; {_one_line(error)}"
        ]
    return []


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
