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

from stylellm.errors import ModelError, first_line
from stylellm.model.attention import document_arguments
from stylellm.model.head import check_head_adapter, check_logits, head_terms, output_weight
from stylellm.model.load import load_base, load_tokenizer
from stylellm.model.targets import (
    check_start,
    check_tokens,
    unmatched_targets,
    within_layers,
    without_dropout,
)

__all__ = [
    "add_lora", "backbone_of", "head_terms", "layers_of", "load_policy", "output_weight",
    "policy_hidden", "run_backbone",
]  # fmt: skip


def add_lora(
    model: Any,
    *,
    base_name: str,
    r: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    target_modules: str | Sequence[str] = "all-linear",
    use_rslora: bool = False,
    use_dora: bool = False,
    init_lora_weights: bool | str = True,
    trained_tokens: Sequence[int] = (),
    layers: Sequence[int] | None = None,
) -> Any:
    """Wraps ``model`` with a fresh adapter; only the adapter's weights require gradients.

    The adapter starts as zero (B = 0), so that policy and reference are equal before the first step;
    the base's own dropout is set to 0, as it would make them differ by chance.

    Args:
        model: the base, bare.
        base_name: what adapter_config.json names as the base.
        r, alpha, dropout, use_rslora, use_dora: as in peft's LoraConfig.
        target_modules: all-linear (which leaves the head out), or names of linear layers; the output
            head may be among them.
        init_lora_weights: as in peft, but for those that change the base.
        trained_tokens: ids whose rows of the embedding are trained (sentinels), and with them those
            of a tied head.
        layers: numbers of the decoder layers that get an adapter; all unless given.

    Raises:
        ModelError: a target module or token that the model does not have, logits that are not hidden
            states times head, an adapter that would change the base or that the objective cannot
            follow on the head.
    """
    from peft import LoraConfig, get_peft_model

    check_start(init_lora_weights)
    check_tokens(model, trained_tokens)
    check_logits(model, base_name)
    without_dropout(model)
    targets = target_modules if isinstance(target_modules, str) else list(target_modules)
    if layers is not None:
        targets = within_layers(model, targets, layers)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets,
        use_rslora=use_rslora,
        use_dora=use_dora,
        init_lora_weights=init_lora_weights,  # type: ignore[arg-type]
        trainable_token_indices=[int(token) for token in trained_tokens] or None,
        task_type="CAUSAL_LM",
    )
    try:
        policy: Any = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"lora.target_modules {target_modules!r} does not fit the model ({first_line(error)})",
            "all-linear, or names of its linear layers such as q_proj, v_proj",
        ) from error
    missing = [] if isinstance(targets, str) else unmatched_targets(policy, targets)
    if missing:  # peft is content where at least one name fits
        raise ModelError(
            f"lora.target_modules names {', '.join(missing)}, which the model does not have",
            "all-linear, or names of its linear layers such as q_proj, v_proj",
        )
    check_head_adapter(policy)
    # The name, not this machine's path: the adapter must load elsewhere.
    policy.peft_config["default"].base_model_name_or_path = base_name
    # The embeddings are never trained as a whole; left to itself peft would look the base up on the
    # hub to find out, at every checkpoint.
    policy.save_pretrained = partial(policy.save_pretrained, save_embedding_layers=False)
    return policy


def load_policy(
    folder: str | Path,
    *,
    base: str | None = None,
    revision: str | None = None,
    trainable: bool = False,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    load_in_4bit: bool = False,
    load_in_8bit: bool = False,
) -> tuple[Any, Any]:
    """Loads a trained adapter with its base.

    Args:
        folder: the output folder of ``stylellm train``, or any peft adapter folder.
        base: the base model, if not the one that adapter_config.json names.
        revision: the base's branch, tag or commit on the hub.
        trainable: keep the adapter trainable.
        dtype, attn_implementation, load_in_4bit, load_in_8bit: as for ``load_base``.

    Returns:
        ``(policy, tokenizer)``.

    Raises:
        ModelError: the folder does not exist or holds no adapter.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    folder = Path(folder)
    _check_folder(folder)
    base = base or _base_of(folder)
    _check_saved(folder)
    model = load_base(
        base,
        revision=revision,
        dtype=dtype,
        attn_implementation=attn_implementation,
        load_in_4bit=load_in_4bit,
        load_in_8bit=load_in_8bit,
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
    check_head_adapter(policy)
    policy.eval()
    return policy, tokenizer


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(
            f"the folder {folder} does not exist",
            "the output folder of a training run",
            "Train first: stylellm train --config train_config.yaml",
        )


def _check_saved(folder: Path) -> None:
    """Refuses a saved adapter without which the base is not the base."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        return  # peft says so
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return  # here too
    if not isinstance(saved, dict):
        return
    check_start(saved.get("init_lora_weights", True))
    if saved.get("bias", "none") != "none":
        raise ModelError(
            f"the adapter in {folder} has trained biases of the base (bias: {saved['bias']}), which "
            "stay when it is switched off",
            "bias: none",
        )


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


def backbone_of(policy: Any) -> Any:
    """The decoder below the head; LoRA lives inside its layers."""
    return policy.get_base_model().get_decoder()


def layers_of(policy: Any, setting: str, otherwise: str) -> Any:
    """The decoder's layers, which a setting needs one by one.

    Args:
        setting: what asks for them.
        otherwise: the setting that does without.

    Raises:
        ModelError: the decoder does not hold its layers in a list named ``layers``.
    """
    layers = getattr(backbone_of(policy), "layers", None)
    if layers is None:
        raise ModelError(
            f"{type(backbone_of(policy)).__name__} has no list of layers",
            f"a decoder such as Qwen2's for {setting}",
            f"Set {otherwise}.",
        )
    return layers


def policy_hidden(
    model: Any,
    policy: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """Last hidden states of the policy after the final norm, [B, T, H], with gradients.

    Args:
        model: the module to call: the policy itself, or its data-parallel wrapper, whose forward must
            run for gradients to be synchronised.
        policy: the bare peft model.
        input_ids, attention_mask, position_ids: [B, T], see ``run_backbone``.
    """
    if model is policy:
        return run_backbone(backbone_of(policy), input_ids, attention_mask, position_ids)
    inputs = {"attention_mask": attention_mask, "position_ids": position_ids}
    inputs |= document_arguments(backbone_of(policy), position_ids)
    caught: list[torch.Tensor] = []
    hook = backbone_of(policy).register_forward_hook(
        lambda _module, _args, output: caught.append(output.last_hidden_state)
    )
    try:  # one position of logits is the least that the wrapper's forward can be asked for
        model(input_ids=input_ids, **inputs, use_cache=False, logits_to_keep=1)
    finally:
        hook.remove()
    return caught[0]


def run_backbone(
    backbone: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """Last hidden states after the final norm, [B, T, H]; no logits are computed.

    Args:
        input_ids: [B, T].
        attention_mask: [B, T]; rows that are padded on the right need none.
        position_ids: [B, T]; where they start again a document begins, which does not see those
            before it if there is no attention_mask.
    """
    return backbone(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=False,
        **document_arguments(backbone, position_ids),
    ).last_hidden_state
