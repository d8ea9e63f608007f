"""The adapter added to the base's weights: one ordinary model that needs neither peft nor StyleLLM.

W' = W + strength * scaling * B A, and the trained token rows are written over the base's. A sum in bfloat16 or
float16 is rounded, so every export compares the saved model with the adapter (see `TOLERANCE`).

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stylellm.delivery.folder import check_new, new_folder
from stylellm.errors import ModelError
from stylellm.files import read_json, write_text
from stylellm.generation.strength import set_strength
from stylellm.model.load import load_base, model_location
from stylellm.model.policy import load_policy

TOLERANCE = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}
"""Largest mean KL(adapter || merged), in nats per token, that an export may show."""
RECORD = "stylellm_merge.json"
TEXTS = (
    "剑光一闪，灯便灭了。黑暗之中只听得一声轻响，像是雪落在雪上。",
    "城市的公共汽车按时刻表运行，乘客在站台等车。",
    "The old man put down his cup and said nothing.",
)


@dataclass(frozen=True)
class Agreement:
    """How far the merged model is from the adapter on a few texts."""

    dtype: str
    kl: float
    """Mean KL(adapter || merged), nats per token."""
    largest_logit_difference: float
    same_next_token: float
    """Share of positions at which both find the same token likeliest."""
    tokens: int
    tolerance: float


def merge(
    folder: Path,
    output: Path,
    *,
    base: str | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    strength: float = 1.0,
    texts: Sequence[str] = TEXTS,
) -> Agreement:
    """Writes the merged model, its tokenizer and the record of the comparison.

    Args:
        folder: an adapter folder; one trained on a 4-bit or 8-bit base is merged into the full weights.
        output: a new folder.
        base, revision: the base model, if not the adapter's own.
        dtype: float32, bfloat16, float16, or auto: as the base was saved.
        strength: of the style, 0 to 2, for good.
        texts: what both models read for the comparison.

    Raises:
        ModelError: no adapter, only quantised weights, or a merged model that differs too much.
        OutputError: the output exists.
    """
    check_new(output)
    policy, tokenizer = load_policy(folder, base=base, revision=revision, dtype="float32")
    if strength != 1:
        set_strength(policy, strength)
    own = _saved_dtype(base or policy.peft_config["default"].base_model_name_or_path)
    _refuse_quantised(policy, base or str(folder))
    name = own if dtype == "auto" else dtype
    if name != "float32":  # both sides of the comparison compute in the type that is delivered
        policy = policy.to(getattr(torch, name))
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    before = _logits(policy, ids)
    _untie_adapted_head(policy)
    with new_folder(output) as path:
        merged = policy.merge_and_unload()
        merged.save_pretrained(path)
        tokenizer.save_pretrained(path)
        del merged, policy
        after = _logits(load_base(str(path), dtype=name), ids)
        found = compare(before, after, name)
        check(found)
        record = asdict(found) | {"strength": strength}
        write_text(path / RECORD, json.dumps(record, indent=2) + "\n")
    return found


def compare(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], dtype: str) -> Agreement:
    """The agreement of two models' logits.

    Args:
        before, after: logits of each text, [T, V] each.
        dtype: of the merged weights.
    """
    p, q = (torch.cat(list(rows)).double() for rows in (before, after))
    logp, logq = p.log_softmax(-1), q.log_softmax(-1)
    return Agreement(
        dtype=dtype,
        kl=float((logp.exp() * (logp - logq)).sum(-1).mean()),
        largest_logit_difference=float((p - q).abs().max()),
        same_next_token=float((p.argmax(-1) == q.argmax(-1)).double().mean()),
        tokens=len(p),
        tolerance=TOLERANCE[dtype],
    )


def check(found: Agreement) -> None:
    """Refuses a merged model that is not the adapter's.

    Raises:
        ModelError: the divergence is above the tolerance, or no number.
    """
    if not found.kl <= found.tolerance:
        raise ModelError(
            f"the merged model differs from the adapter by {found.kl:.2e} nats per token in "
            f"{found.dtype}",
            f"at most {found.tolerance:g}",
            "Export with --dtype float32.",
        )


@torch.inference_mode()
def _logits(model: Any, ids: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    model.eval()
    device = model.get_input_embeddings().weight.device
    return [
        model(input_ids=torch.tensor([row], device=device)).logits[0].float().cpu() for row in ids
    ]


def _saved_dtype(name: str) -> str:
    """The type in which the base was saved, float32 where it does not say."""
    saved = read_json(Path(model_location(name)) / "config.json")
    if not saved:
        return "bfloat16"  # an id whose files lie in the library's cache: what Qwen2.5 is saved in
    found = str(saved.get("dtype") or saved.get("torch_dtype") or "float32")
    return found if found in TOLERANCE else "float32"


def _refuse_quantised(policy: Any, name: str) -> None:
    if getattr(policy.get_base_model().config, "quantization_config", None) is not None:
        raise ModelError(
            f"the base of {name} is saved quantised; merging into it would round the style away",
            "the same model's full weights",
            "Name them with --model_name.",
        )


def _untie_adapted_head(policy: Any) -> None:
    """An adapter on the head alone must not reach the embedding that shares its weight."""
    from peft.tuners.lora import LoraLayer

    model = policy.get_base_model()
    head: Any = model.get_output_embeddings()
    if not isinstance(head, LoraLayer) or not model.config.tie_word_embeddings:
        return
    layer: Any = head.get_base_layer()
    layer.weight = torch.nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False
