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
from tqdm import tqdm

from stylellm.masking.collate import collate, encoder
from stylellm.masking.formats import Sentinels, build_example
from stylellm.masking.plan import MaskSettings

SEQUENCE = 512
BATCH = 4
WARMUP = 50
MATRIX_RATE = 3e-3
OTHER_RATE = 3e-3
# Three in ten sequences in infill form, so that the base knows its control tokens; the order
# alternates, so that neither is favoured.
MASKING = MaskSettings(span_mask_ratio=0.2, token_mask_ratio=0.1, no_mask_ratio=0.7)


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


def optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, norms and biases."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    return [
        torch.optim.Muon(inner, lr=MATRIX_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


class Batches:
    """The batch of a step, a pure function of the step: resuming needs no state."""

    def __init__(self, windows: list[tuple[str, bool]], tokenizer: Any) -> None:
        self.windows = windows
        self.encode = encoder(tokenizer)
        self.sentinels = Sentinels.from_tokenizer(tokenizer)
        self.pad_id = tokenizer.pad_token_id

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        items = []
        for k in range(step * BATCH, (step + 1) * BATCH):
            turn, place = divmod(k, len(self.windows))
            index = int(np.random.default_rng([1, turn]).permutation(len(self.windows))[place])
            text, ends = self.windows[index]
            example = build_example(
                text,
                self.encode,
                self.sentinels,
                MASKING,
                seed=7,
                epoch=turn,
                index=index,
                max_length=SEQUENCE,
                order="prefix_first" if (turn + index) % 2 else "native",
                ends_document=ends,
            )
            items.append(
                {
                    "input_ids": example.input_ids,
                    "labels": example.labels,
                    "label_weight": example.label_weight,
                    "kl_mask": example.kl_mask,
                    "general_mask": example.kl_mask,
                }
            )
        return collate(items, pad_id=self.pad_id)


def loss_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy over the scored positions, bf16 products, fp32 softmax.

    Without the attention mask: padding stands at the right, where causal attention never looks, and the
    kernel without a mask makes a step a third faster.
    """
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch["input_ids"]).last_hidden_state
        scored = batch["labels"] >= 0
        logits = model.lm_head(hidden[scored])
    return torch.nn.functional.cross_entropy(logits.float(), batch["labels"][scored])


def run(
    batches: Batches,
    model: Any,
    folder: Path,
    *,
    steps: int,
    decay_from: int | None = None,
    save_every: int = 250,
    log: Path | None = None,
) -> None:
    """Trains up to ``steps``, from the newest checkpoint in ``folder`` if there is one.

    Args:
        batches: the data.
        model: the model, changed in place.
        folder: where ``checkpoint.pt`` lives.
        steps: the last step.
        decay_from: the step from which the rate falls linearly to 2% of itself; None: constant.
        save_every: steps between checkpoints.
        log: a jsonl file of losses.
    """
    opts = optimizers(model)
    bases = [group["lr"] for opt in opts for group in opt.param_groups]
    first = _restore(folder / "checkpoint.pt", model, opts)
    started, total = time.time(), []
    for step in tqdm(range(first, steps), initial=first, total=steps, unit="step", mininterval=10):
        factor = min(1.0, (step + 1) / WARMUP)
        if decay_from is not None and step >= decay_from:
            factor = 1 - 0.98 * (step + 1 - decay_from) / (steps - decay_from)
        groups = [group for opt in opts for group in opt.param_groups]
        for group, base in zip(groups, bases, strict=True):
            group["lr"] = base * factor
        loss = loss_of(model, batches(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        total.append(loss.item())
        if (step + 1) % 50 == 0 and log:
            row = {"step": step + 1, "loss": float(np.mean(total)), "s": time.time() - started}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            total = []
        if (step + 1) % save_every == 0 or step + 1 == steps:
            _save(folder / "checkpoint.pt", model, opts, step + 1)


def _save(path: Path, model: Any, opts: list[torch.optim.Optimizer], step: int) -> None:
    temporary = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "step": step}
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(path: Path, model: Any, opts: list[torch.optim.Optimizer]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for opt, saved in zip(opts, state["opts"], strict=True):
        opt.load_state_dict(saved)
    return int(state["step"])
