"""MAUVE (Pillutla et al. 2021) of what was written, with features from the model at hand: an extra.

The features are the base's last hidden states at the last token of a text. The score depends on the
model, the number of texts and their length, so by itself it says nothing: it is given beside that of
the author's own held-out text, measured in the same way, and as a share of it.

Shapes: n texts, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from stylellm.evaluation.figures import Figure
from stylellm.model.policy import backbone_of, run_backbone
from stylellm.model.reference import adapter_off
from stylellm.stylometry import intervals
from stylellm.stylometry.text import without_whitespace

FEW_TEXTS = 100
"""Below so many texts the clusters hold next to nothing."""


def mauve_of_rows(
    policy: Any,
    tokenizer: Any,
    rows: Mapping[str, Sequence[str]],
    author: str,
    *,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, Figure]:
    """Each row's MAUVE against the author's training text in pieces of the same lengths.

    Args:
        policy: a peft model; its base gives the features.
        rows: the texts of each row; ``held_out_author`` is the measure of the others.
        author: training text, long enough to cut as many pieces from.

    Returns:
        By row ``{value, score, n, small}``: value is the score as a share of the held-out author's.
    """
    # The author's pieces have no line breaks, so that the others may not be known by theirs.
    rows = {
        name: list(filter(None, map(without_whitespace, texts))) for name, texts in rows.items()
    }
    if len(rows.get("held_out_author", [])) < 2:
        return {}
    lengths = [len(text) for text in rows["held_out_author"]]
    pieces = intervals.apart(author, lengths, np.random.default_rng(seed))
    real = features(policy, tokenizer, pieces, batch_size)
    scores = {
        name: (score(features(policy, tokenizer, texts, batch_size), real, seed), len(texts))
        for name, texts in rows.items()
        if len(texts) > 1
    }
    best = scores["held_out_author"][0]
    return {
        name: {"value": value / best if best else None, "score": value, "low": None, "high": None,
               "n": n, "small": n < FEW_TEXTS}
        for name, (value, n) in scores.items()
    }  # fmt: skip


@torch.inference_mode()
def features(policy: Any, tokenizer: Any, texts: Sequence[str], batch_size: int) -> np.ndarray:
    """The base's last hidden state at the last token of each text, float32 [n, H]."""
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    limit = getattr(policy.config, "max_position_embeddings", None)
    rows = [row[:limit] for row in rows]
    device = policy.get_input_embeddings().weight.device
    backbone = backbone_of(policy)
    found = []
    with adapter_off(policy):
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            longest = max(map(len, part))
            ids = torch.tensor([r + [0] * (longest - len(r)) for r in part], device=device)
            mask = torch.tensor(
                [[1] * len(r) + [0] * (longest - len(r)) for r in part], device=device
            )
            hidden = run_backbone(backbone, ids, mask)
            last = torch.tensor([len(r) - 1 for r in part], device=device)
            found.append(hidden[torch.arange(len(part), device=device), last].float().cpu().numpy())
    return np.concatenate(found)


def score(one: np.ndarray, other: np.ndarray, seed: int) -> float:
    """MAUVE of two sets of features, [n, H] each, by mauve-text's own settings; 0 to 1."""
    import mauve

    return float(mauve.compute_mauve(p_features=one, q_features=other, seed=seed + 1).mauve)
