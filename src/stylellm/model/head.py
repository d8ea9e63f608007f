"""The output head as the objective needs it: one shared weight, and what the policy adds to it.

Policy and reference share W. LoRA on the head and trained token rows belong to the policy alone:
`head_terms` turns them into terms of its logits. Whatever else changes the logits is refused.

Shapes: N positions, H hidden size, V vocabulary, r rank, K trained tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stylellm.errors import ModelError
from stylellm.model.attention import sdpa_on_cpu

QUANTISED = ("Params4bit", "Int8Params")  # bitsandbytes' parameters


class _Parts(NamedTuple):
    """The layers that peft has put around the head, None where it has not, and the head itself."""

    tokens: Any
    lora: Any
    base: Any


def output_weight(model: Any) -> Tensor:
    """The head's weight W, [V, H], frozen and shared by policy and reference.

    A quantised head is dequantised here, once per call. Under autocast W comes in the autocast type,
    as the head itself would compute; the difference of the hidden states is still taken in theirs, so
    that a small KL is not rounded away.

    Raises:
        ModelError: a quantised head in the layout that bitsandbytes uses for inference on some CPUs.
    """
    base = _parts(model).base
    weight = base.weight
    if type(weight).__name__ in QUANTISED:
        weight = _dequantised(base, model.dtype)
    device = weight.device.type
    if torch.is_autocast_enabled(device) and weight.dtype == torch.float32:
        return weight.to(torch.get_autocast_dtype(device))
    return weight


def _dequantised(head: Any, dtype: torch.dtype) -> Tensor:
    """[V, H] of a head with bitsandbytes' 4-bit or 8-bit weight."""
    from bitsandbytes import functional as quantised

    weight = head.weight
    if type(weight).__name__ == "Int8Params":  # its scales move to the layer with the first call
        scales = weight.SCB if weight.SCB is not None else head.state.SCB
        return quantised.int8_vectorwise_dequant(weight.data, scales).to(dtype)
    if getattr(weight.quant_state, "packing_format_for_cpu", False):
        raise ModelError(
            "the 4-bit output head was packed for inference on this CPU", "a head as it was loaded",
            "Train and evaluate a model with a quantised head on a GPU, or leave its head unquantised.",
        )  # fmt: skip
    return quantised.dequantize_4bit(weight.data, weight.quant_state).to(dtype)


def head_terms(policy: Any, hidden: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What the adapter adds to the policy's logits at hidden [N, H], with gradients.

    Returns:
        Keyword arguments of `style_alignment_loss`: ``low_rank`` (features [N, r], weight [V, r]) and
        ``token_logits`` (ids [K], logits [N, K]), each only where the adapter has it and is on.
    """
    parts = _parts(policy)
    terms = {}
    with torch.autocast(hidden.device.type, enabled=False):
        if _is_on(parts.lora, "lora_A"):
            terms["low_rank"] = _low_rank(parts.lora, hidden)
        if _is_on(parts.tokens, "trainable_tokens_delta"):
            terms["token_logits"] = _token_logits(parts.tokens, output_weight(policy), hidden)
    return terms


def _low_rank(layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """scaling * A dropout(h) and B, of all active adapters side by side."""
    features, weights = [], []
    for name in layer.active_adapters:
        if name in layer.lora_A:
            down = layer.lora_A[name].weight
            wide = torch.promote_types(down.dtype, torch.float32)
            dropped = layer.lora_dropout[name](hidden.to(wide))
            features.append(functional.linear(dropped, down.to(wide)) * layer.scaling[name])
            weights.append(layer.lora_B[name].weight)
    return torch.cat(features, 1), torch.cat(weights, 1)


def _token_logits(layer: Any, head_weight: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and h times what was added to their rows; peft keeps whole rows, not differences."""
    ids, logits = [], []
    for name in layer.active_adapters:
        if name in layer.trainable_tokens_delta:
            rows = layer.trainable_tokens_delta[name]
            index = torch.tensor(layer.token_indices[name], device=head_weight.device)
            wide = torch.promote_types(rows.dtype, torch.float32)
            added = rows.to(wide) - head_weight[index].to(wide)
            ids.append(index)
            logits.append(hidden.to(wide) @ added.T)
    return torch.cat(ids), torch.cat(logits, 1)


def _is_on(layer: Any, store: str) -> bool:
    """Whether a layer has weights of an active adapter in ``store`` and applies them."""
    if layer is None or layer.disable_adapters or layer.merged:
        return False
    return any(name in getattr(layer, store) for name in layer.active_adapters)


def _parts(model: Any) -> _Parts:
    from peft.tuners.lora.layer import LoraLayer
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    module = model.get_output_embeddings()
    tokens = lora = None
    while True:
        adapter = getattr(module, "token_adapter", None)
        if isinstance(adapter, TrainableTokensLayer):
            tokens, module = adapter, adapter.base_layer
        elif isinstance(module, LoraLayer):
            lora, module = module, module.base_layer
        else:
            return _Parts(tokens, lora, module)


def check_head_adapter(policy: Any) -> None:
    """Refuses adapters that change the head in a way the objective has no term for.

    Raises:
        ModelError: a head trained as a whole, or an adapter on it other than plain LoRA and trained
            token rows.
    """
    parts = _parts(policy)
    hint = "Take the output head out of lora.target_modules (all-linear leaves it out)."
    if type(parts.base).__name__ == "ModulesToSaveWrapper":
        raise ModelError(
            "the adapter trains the output head as a whole (modules_to_save)",
            "LoRA on the head, or a frozen head",
            "Take the head out of modules_to_save; to train the sentinels name them in "
            "trainable_token_indices.",
        )
    if hasattr(parts.base, "base_layer"):
        raise ModelError(
            f"the adapter on the output head is a {type(parts.base).__name__} layer", "LoRA", hint
        )
    if parts.lora is None:
        return
    if parts.lora.lora_variant:
        kind = type(next(iter(parts.lora.lora_variant.values()))).__name__
        raise ModelError(f"the LoRA on the output head is a {kind}", "plain LoRA there", hint)
    if any(layer.bias is not None for layer in parts.lora.lora_B.values()):
        raise ModelError("the LoRA on the output head has a bias", "lora_bias: false", hint)


@torch.no_grad()
def check_logits(model: Any, name: str) -> None:
    """Refuses a model whose logits are not its last hidden states times its head.

    Two tokens are sent through it: what leaves the decoder must enter the head, and what leaves the
    head must be the logits. So a scale or cap is found under whatever name its configuration has.

    Raises:
        ModelError: they are not.
    """
    head, decoder = model.get_output_embeddings(), model.get_decoder()
    if head.weight.is_meta:
        return  # a shape without weights: nothing can be computed
    seen: dict[str, Tensor] = {}

    def at_head(_module: Any, args: tuple, output: Tensor) -> None:
        seen.update(enters=args[0], leaves=output)

    def at_decoder(_module: Any, _args: tuple, output: Any) -> None:
        seen["hidden"] = output.last_hidden_state

    hooks = [head.register_forward_hook(at_head), decoder.register_forward_hook(at_decoder)]
    was_training = model.training
    try:
        device = model.get_input_embeddings().weight.device
        with torch.random.fork_rng(devices=[]), sdpa_on_cpu(model, device):
            # Not in eval mode, for which bitsandbytes packs 4-bit weights anew on some CPUs.
            logits = model.train()(torch.tensor([[0, 1]], device=device), use_cache=False).logits
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    if not (_near(seen["enters"], seen["hidden"]) and _near(logits, seen["leaves"])):
        raise ModelError(
            f"{name} scales or caps its logits",
            "a model whose logits are its last hidden states times its head, as Qwen2.5",
        )


def _near(value: Tensor, expected: Tensor) -> bool:
    """Equal but for a last rounding."""
    if value.shape != expected.shape:
        return False
    # Broken weights (NaN) are found where the loss is made; here they must not look like a scale.
    expected = expected.to(value.device).float().nan_to_num()
    difference = (value.float().nan_to_num() - expected).abs().max()
    return bool(difference <= 0.01 * expected.abs().max())
