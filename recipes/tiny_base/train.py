"""Trains the base: Qwen2's own class, 6.5 million parameters, resumable at every saved step.

Warm-up, constant rate, decay (WSD): the constant part can be prolonged at will, and the decay is run as
a branch from any of its checkpoints. Muon for the matrices inside the layers, AdamW for the rest.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from muon import Muon
from shards import Cursor, Shards
from tqdm import tqdm

from stylellm.masking.formats import IGNORE

SEQUENCE = 512
SHORT = 256
"""Sequences of the constant part: 1.6 times as many tokens a second as at the full length, which only
the falling part needs to learn."""
TOKENS = 4096
"""Tokens of a step."""
WARMUP = 50
MATRIX_RATE = 4e-3
OTHER_RATE = 3e-3


def dense_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    """Causal attention with the scores written out: three times faster than the CPU's fused kernel.

    Args:
        module: the attention layer.
        query, key, value: [batch, heads, length, width]; fewer heads in key and value.

    Returns:
        [batch, length, heads, width], and no weights.
    """
    batch, heads, length, width = query.shape
    rows = batch * heads
    repeat = heads // key.shape[1]
    key, value = (x.repeat_interleave(repeat, 1).reshape(rows, length, width) for x in (key, value))
    future = torch.full((length, length), float("-inf"), dtype=query.dtype).triu(1)
    scores = torch.baddbmm(
        future.expand(rows, length, length),
        query.reshape(rows, length, width),
        key.transpose(1, 2),
        alpha=width**-0.5,
    )
    mixed = torch.softmax(scores, -1).to(value.dtype) @ value
    return mixed.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def new_model(vocabulary: int, eos: int) -> Any:
    """A freshly initialised model of the shipped shape."""
    from transformers import (
        AttentionInterface,
        AttentionMaskInterface,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    AttentionInterface.register("dense", dense_attention)
    AttentionMaskInterface.register("dense", lambda *_, **__: None)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=SEQUENCE,
        tie_word_embeddings=True,
        bos_token_id=eos,
        # No pad_token_id: the embedding would hold that row, the end-of-text token's, at zero.
        eos_token_id=eos,
        attn_implementation="dense",
    )
    return Qwen2ForCausalLM(config)


def optimizers(model: Any, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, norms and biases."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    return [
        Muon(inner, lr=MATRIX_RATE, weight_decay=0.05, dtype=dtype),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def compiled_loss(model: Any, dtype: torch.dtype) -> Any:
    """Mean cross-entropy of [rows, 2, length] over the scored positions, compiled as one.

    Without an attention mask: padding stands at the right, where causal attention never looks. Texts in
    one row see each other across an end-of-text token, which does a base model no harm.
    """

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        ids, labels = batch.unbind(1)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden)
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE
        )

    return torch.compile(loss_of)


def run(
    shards: Shards,
    model: Any,
    folder: Path,
    *,
    steps: int,
    dtype: torch.dtype = torch.float32,
    decay_from: int | None = None,
    save_every: int = 100,
) -> None:
    """Trains up to ``steps``, from the newest checkpoint in ``folder`` if there is one.

    Args:
        shards: the data; ``TOKENS`` tokens a step.
        model: the model, changed in place.
        folder: where ``checkpoint.pt`` and ``loss.jsonl`` live.
        steps: the last step.
        dtype: of the products; bfloat16 pays on processors that have instructions for it.
        decay_from: the step from which the rate falls linearly to 2% of itself; None: constant.
        save_every: steps between checkpoints.
    """
    opts = optimizers(model, dtype)
    bases = [group["lr"] for opt in opts for group in opt.param_groups]
    first, place = _restore(folder / "checkpoint.pt", model, opts)
    batches = Cursor(shards, TOKENS // shards.length, *place)
    loss_of = compiled_loss(model, dtype)
    started, total = time.time(), []
    for step in tqdm(range(first, steps), initial=first, total=steps, unit="step", mininterval=10):
        factor = min(1.0, (step + 1) / WARMUP)
        if decay_from is not None:
            factor = 1 - 0.98 * (step + 1 - decay_from) / (steps - decay_from)
        groups = [group for opt in opts for group in opt.param_groups]
        for group, base in zip(groups, bases, strict=True):
            group["lr"] = base * factor
        loss = loss_of(batches())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        total.append(loss.item())
        if (step + 1) % 50 == 0:
            row = {"step": step + 1, "loss": float(np.mean(total)), "s": time.time() - started}
            with (folder / "loss.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            total = []
        if (step + 1) % save_every == 0 or step + 1 == steps:
            _save(folder / "checkpoint.pt", model, opts, step + 1, batches.place)


def _save(
    path: Path, model: Any, opts: list[torch.optim.Optimizer], step: int, place: tuple[int, int]
) -> None:
    temporary = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "opts": [o.state_dict() for o in opts]}
    torch.save(state | {"step": step, "place": place}, temporary)
    temporary.replace(path)


def _restore(
    path: Path, model: Any, opts: list[torch.optim.Optimizer]
) -> tuple[int, tuple[int, int]]:
    if not path.exists():
        return 0, (0, 0)
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for opt, saved in zip(opts, state["opts"], strict=True):
        opt.load_state_dict(saved)
    return int(state["step"]), tuple(state["place"])
