"""The policy: the base with a LoRA adapter on (Hu et al. 2021), through peft.

Shapes: B sequences, T tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stylellm.errors import ModelError
from stylellm.model.load import load_base, load_tokenizer


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
        policy = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"lora.target_modules {target_modules!r} does not fit the model "
            f"({str(error).splitlines()[0][:160]})",
            "all-linear, or names of its linear layers such as q_proj, v_proj",
        ) from error
    if any("lm_head" in n for n, p in policy.named_parameters() if p.requires_grad):
        raise ModelError(
            "lora.target_modules names the output head",
            "layers inside the model: policy and reference must share the head",
        )
    # The name, not this machine's path: the adapter must load elsewhere.
    policy.peft_config["default"].base_model_name_or_path = base_name
    return policy


def load_policy(
    folder: str | Path,
    *,
    base: str | None = None,
    trainable: bool = False,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    load_in_4bit: bool = False,
) -> tuple[Any, Any]:
    """Loads a trained adapter with its base.

    Args:
        folder: the output folder of ``stylellm train``, or any peft adapter folder.
        base: the base model, if not the one that adapter_config.json names.
        trainable: keep the adapter trainable.
        dtype, attn_implementation, load_in_4bit: as for ``load_base``.

    Returns:
        ``(policy, tokenizer)``.

    Raises:
        ModelError: the folder does not exist or holds no adapter.
    """
    import json

    from peft import PeftModel

    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(
            f"the folder {folder} does not exist",
            "the output folder of a training run",
            "Train first: stylellm train --config train_config.yaml",
        )
    config_file = folder / "adapter_config.json"
    if not config_file.is_file():
        raise ModelError(
            f"the folder {folder} holds no adapter_config.json",
            "a folder with adapter_config.json and adapter_model.safetensors",
            "Let training finish, continue it with --resume, or name a checkpoint-N folder in it.",
        )
    base = base or json.loads(config_file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    model = load_base(
        base, dtype=dtype, attn_implementation=attn_implementation, load_in_4bit=load_in_4bit
    )
    tokenizer = load_tokenizer(base)
    try:
        policy = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"the adapter in {folder} does not fit the base {base} "
            f"({str(error).strip().splitlines()[0][:160]})",
            "the base model it was trained on",
            "Name the right base with --model_name.",
        ) from error
    policy.eval()
    return policy, tokenizer


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
