"""The policy: the base with a LoRA adapter on (Hu et al. 2021), through peft.

Shapes: B sequences, T tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stylellm.errors import ModelError
from stylellm.model.load import first_line, load_base, load_tokenizer


def add_lora(
    model: Any,
    *,
    base_name: str,
    r: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    target_modules: str | Sequence[str] = "all-linear",
    use_rslora: bool = False,
) -> Any:
    """Wraps ``model`` with a fresh adapter; only the adapter's weights require gradients.

    The adapter starts as zero (B = 0), so that policy and reference are equal before the first step.

    Raises:
        ModelError: a target module that the model does not have.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    targets = target_modules if isinstance(target_modules, str) else list(target_modules)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets,
        use_rslora=use_rslora,
        task_type="CAUSAL_LM",
    )
    try:
        policy: Any = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"lora.target_modules {target_modules!r} does not fit the model ({first_line(error)})",
            "all-linear, or names of its linear layers such as q_proj, v_proj",
        ) from error
    unmatched = [] if isinstance(targets, str) else _unmatched(policy, targets)
    if unmatched:  # peft is content where at least one name fits
        raise ModelError(
            f"lora.target_modules names {', '.join(unmatched)}, which the model does not have",
            "all-linear, or names of its linear layers such as q_proj, v_proj",
        )
    if isinstance(policy.get_output_embeddings(), BaseTunerLayer):
        raise ModelError(
            "lora.target_modules names the output head",
            "layers inside the model: policy and reference must share the head",
        )
    # The name, not this machine's path: the adapter must load elsewhere.
    policy.peft_config["default"].base_model_name_or_path = base_name
    # The embeddings are never trained; left to itself peft would look the base up on the hub to find
    # out, at every checkpoint.
    policy.save_pretrained = partial(policy.save_pretrained, save_embedding_layers=False)
    return policy


def _unmatched(policy: Any, targets: Sequence[str]) -> list[str]:
    """The names that no layer with an adapter bears (the last parts of its dotted name)."""
    layers = [f".{name}" for name in policy.base_model.targeted_module_names]
    return [target for target in targets if not any(n.endswith(f".{target}") for n in layers)]


def load_policy(
    folder: str | Path,
    *,
    base: str | None = None,
    revision: str | None = None,
    trainable: bool = False,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    load_in_4bit: bool = False,
) -> tuple[Any, Any]:
    """Loads a trained adapter with its base.

    Args:
        folder: the output folder of ``stylellm train``, or any peft adapter folder.
        base: the base model, if not the one that adapter_config.json names.
        revision: the base's branch, tag or commit on the hub.
        trainable: keep the adapter trainable.
        dtype, attn_implementation, load_in_4bit: as for ``load_base``.

    Returns:
        ``(policy, tokenizer)``.

    Raises:
        ModelError: the folder does not exist or holds no adapter.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(
            f"the folder {folder} does not exist",
            "the output folder of a training run",
            "Train first: stylellm train --config train_config.yaml",
        )
    base = base or _base_of(folder)
    model = load_base(
        base,
        revision=revision,
        dtype=dtype,
        attn_implementation=attn_implementation,
        load_in_4bit=load_in_4bit,
    )
    tokenizer = load_tokenizer(base, revision=revision)
    try:
        policy = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the adapter in {folder} is damaged or does not fit the base {base} "
            f"({first_line(error)})",
            "the base model it was trained on",
            "Name the right base with --model_name.",
        ) from error
    policy.eval()
    return policy, tokenizer


def _base_of(folder: Path) -> str:
    """The base model that the adapter in ``folder`` names."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise ModelError(
            f"the folder {folder} holds no adapter_config.json",
            "a folder with adapter_config.json and adapter_model.safetensors",
            "Let training finish, continue it with --resume, or name a checkpoint-N folder in it.",
        )
    try:
        return json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} names no base model ({first_line(error)})",
            "JSON with base_model_name_or_path, as peft writes it",
            "Copy the folder again, or train again.",
        ) from error


def output_weight(model: Any) -> torch.Tensor:
    """The head's weight W, [V, H], frozen and shared by policy and reference.

    Under autocast it comes in the autocast type, as the head itself would compute; the difference of
    the hidden states is still taken in theirs, so that a small KL is not rounded away.
    """
    weight = model.get_output_embeddings().weight
    device = weight.device.type
    if torch.is_autocast_enabled(device) and weight.dtype == torch.float32:
        return weight.to(torch.get_autocast_dtype(device))
    return weight


def backbone_of(policy: Any) -> Any:
    """The decoder below the head; LoRA lives inside its layers."""
    return policy.get_base_model().get_decoder()


def policy_hidden(
    model: Any, policy: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Last hidden states of the policy after the final norm, [B, T, H], with gradients.

    Args:
        model: the module to call: the policy itself, or its data-parallel wrapper, whose forward must
            run for gradients to be synchronised.
        policy: the bare peft model.
        input_ids, attention_mask: [B, T].
    """
    if model is policy:
        return run_backbone(backbone_of(policy), input_ids, attention_mask)
    caught: list[torch.Tensor] = []
    hook = backbone_of(policy).register_forward_hook(
        lambda _module, _args, output: caught.append(output.last_hidden_state)
    )
    try:  # one position of logits is the least that the wrapper's forward can be asked for
        model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=1)
    finally:
        hook.remove()
    return caught[0]


def run_backbone(
    backbone: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Last hidden states after the final norm, [B, T, H]; no logits are computed."""
    return backbone(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False
    ).last_hidden_state
