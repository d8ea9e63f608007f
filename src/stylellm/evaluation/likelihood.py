"""Likelihood of text under policy and reference, drift, and the use of the suffix.

Shapes: B sequences, T tokens, N scored positions, H hidden, V vocabulary. Units: nats unless said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stylellm.errors import DataError
from stylellm.evaluation.figures import ratio
from stylellm.masking.collate import Window, collate, encoder
from stylellm.masking.formats import IGNORE, Example, Order, Sentinels, format_example
from stylellm.masking.plan import MaskPlan, MaskSettings, plan_mask, window_rng
from stylellm.model.policy import head_terms, output_weight, policy_hidden
from stylellm.model.reference import reference_hidden
from stylellm.objective.chunked import style_alignment_loss
from stylellm.progress import track


@dataclass(frozen=True)
class Likelihood:
    """Sums over windows; one entry a window in every array.

    Attributes:
        nll_policy, nll_reference: negative log-likelihood, nats.
        kl: sum of KL(policy || reference), nats.
        tokens: predicted tokens.
        characters: characters of the predicted text (the first token's are not predicted).
    """

    nll_policy: np.ndarray
    nll_reference: np.ndarray
    kl: np.ndarray
    tokens: np.ndarray
    characters: np.ndarray

    def summary(self, which: str) -> dict[str, float]:
        """``nll_per_token``, ``perplexity`` and ``bits_per_character`` of policy or base."""
        nll = self.nll_policy if which == "policy" else self.nll_reference
        per_token = float(nll.sum() / self._predicted())
        return {
            "nll_per_token": per_token,
            "perplexity": math.exp(per_token),
            "bits_per_character": float(nll.sum() / math.log(2) / self.characters.sum()),
        }

    def figures(self, *, fewest: int = 10, seed: int = 0) -> dict[str, Any]:
        """NLL per token and bits per character of base and policy, their difference and the KL.

        Windows are resampled; base and policy with the same draws, so that the difference (policy
        minus base) is a paired one.
        """
        self._predicted()
        columns = {
            "base": self.nll_reference,
            "policy": self.nll_policy,
            "difference": self.nll_policy - self.nll_reference,
        }
        found: dict[str, Any] = {
            name: {
                "nll_per_token": ratio(nll, self.tokens, fewest=fewest, seed=seed),
                "bits_per_character": ratio(
                    nll / math.log(2), self.characters, fewest=fewest, seed=seed
                ),
            }
            for name, nll in columns.items()
        }
        return found | {
            "kl": ratio(self.kl, self.tokens, fewest=fewest, seed=seed),
            "windows": len(self.tokens),
            "tokens": int(self.tokens.sum()),
            "characters": int(self.characters.sum()),
        }

    @property
    def kl_per_token(self) -> float:
        """Mean KL(policy || reference) per predicted token, nats."""
        return float(self.kl.sum() / self._predicted())

    def _predicted(self) -> float:
        total = float(self.tokens.sum())
        if total == 0:
            raise DataError("the windows hold no token to predict", "windows of two tokens or more")
        return total


def window_likelihood(
    policy: Any,
    tokenizer: Any,
    windows: Sequence[Window],
    *,
    batch_size: int = 8,
    progress: str | None = None,
) -> Likelihood:
    """Scores plain windows left to right under policy and reference, and the KL between them."""
    encode = encoder(tokenizer)
    examples, characters = [], []
    sentinels = Sentinels(-1, -1, -1, -1, tokenizer.eos_token_id, -1)
    for window in windows:
        example = format_example(
            window["text"],
            MaskPlan("none"),
            encode,
            sentinels,
            ends_document=window["ends_document"],
        )
        first = tokenizer.decode(example.input_ids[:1])
        examples.append(example)
        # A first token that is part of a character decodes to one replacement character.
        characters.append(len(window["text"]) - len(first))
    nll_p, nll_r, kl, counts = _score(policy, tokenizer, examples, batch_size, progress)
    return Likelihood(nll_p, nll_r, kl, counts, np.array(characters, dtype=np.float64))


@torch.inference_mode()
def _score(
    policy: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    batch_size: int,
    progress: str | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per-example sums: policy NLL, reference NLL, KL, and the number of scored positions."""
    device = policy.get_input_embeddings().weight.device
    rows: list[np.ndarray] = []
    starts = range(0, len(examples), batch_size)
    for start in track(starts, progress, "batch"):
        batch = examples[start : start + batch_size]
        items = [
            {
                "input_ids": e.input_ids,
                "labels": e.labels,
                "label_weight": [1.0] * len(e.labels),
                "kl_mask": [label != IGNORE for label in e.labels],
                "general_mask": [False] * len(e.labels),
            }
            for e in batch
        ]
        tensors = collate(items, pad_id=tokenizer.pad_token_id)
        rows.append(_score_batch(policy, {k: v.to(device) for k, v in tensors.items()}))
    table = np.concatenate(rows, axis=1) if rows else np.zeros((4, 0))
    return table[0], table[1], table[2], table[3]


def _score_batch(policy: Any, batch: dict[str, torch.Tensor]) -> np.ndarray:
    """[4, B]: policy NLL, reference NLL, KL, count."""
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    hidden = policy_hidden(policy, policy, ids, mask).flatten(0, 1)
    reference = reference_hidden(policy, ids, mask).flatten(0, 1)
    weight = output_weight(policy)
    flat = labels.flatten()
    scored = batch["kl_mask"].flatten()
    terms: Any = head_terms(policy, hidden)
    of_policy = style_alignment_loss(hidden, reference, weight, flat, scored, 1.0, **terms)
    of_reference = style_alignment_loss(
        reference, None, weight, flat, torch.zeros_like(scored), 0.0
    )
    shape = labels.shape
    columns = [
        x.reshape(shape).double().sum(1).cpu().numpy()
        for x in (of_policy.nll, of_reference.nll, of_policy.kl, scored)
    ]
    return np.stack(columns)


def suffix_gain(
    policy: Any,
    tokenizer: Any,
    windows: Sequence[Window],
    *,
    order: Order = "prefix_first",
    mask_rate: float = 0.15,
    seed: int = 0,
    max_length: int | None = None,
    batch_size: int = 8,
    progress: str | None = None,
) -> dict[str, Any]:
    """NLL(M | P) - NLL(M | P, S) per token of the middle, for base and policy, in nats.

    Above 0 the model uses what stands behind the gap. Both terms score the same tokens of M: once as
    plain continuation of P, once in the infill format.

    Returns:
        ``{base, policy: {nll_prefix_only, nll_infill, suffix_gain}, n}``; n counts scored tokens;
        and ``figures``: the gain of base and policy and the difference, each with the interval of
        a bootstrap over windows. An empty mapping where no window can be used.
    """
    encode = encoder(tokenizer)
    sentinels = Sentinels.from_tokenizer(tokenizer)
    settings = MaskSettings(mask_rate=mask_rate)
    with_suffix, prefix_only = [], []
    for index, window in enumerate(windows):
        rng = window_rng(seed, 0, index)
        plan = plan_mask(window["text"], "span", rng, settings, single_gap=True)
        if not plan.spans:
            continue
        prefix, _ = plan.visible(window["text"])
        middle = encode(plan.hidden(window["text"])[0])
        example = format_example(
            window["text"], plan, encode, sentinels, order=order, context_loss_weight=0.0
        )
        if max_length is not None and len(example.input_ids) > max_length:
            continue
        with_suffix.append(_keep_labels(example, len(middle), before_last=1))
        prefix_only.append(_continuation(encode(prefix), middle))
    if not with_suffix:
        return {}
    infill = _score(policy, tokenizer, with_suffix, batch_size, progress)
    plain = _score(policy, tokenizer, prefix_only, batch_size, progress)
    n = float(infill[3].sum())
    result: dict[str, Any] = {"n": n}
    for name, row in (("base", 1), ("policy", 0)):
        before, after = float(plain[row].sum()) / n, float(infill[row].sum()) / n
        result[name] = {
            "nll_prefix_only": before,
            "nll_infill": after,
            "suffix_gain": before - after,
        }
    saved = {"base": plain[1] - infill[1], "policy": plain[0] - infill[0]}
    saved["difference"] = saved["policy"] - saved["base"]
    result["figures"] = {name: ratio(row, infill[3]) for name, row in saved.items()}
    result["figures"] |= {"windows": len(with_suffix), "tokens": int(n)}
    return result


def _keep_labels(example: Example, count: int, *, before_last: int) -> Example:
    """Keeps the labels of the ``count`` tokens that stand before the last ``before_last`` ones."""
    length = len(example.labels)
    end = length - 1 - before_last
    labels = [label if end - count <= t < end else IGNORE for t, label in enumerate(example.labels)]
    return Example(
        example.input_ids, labels, example.label_weight, example.kl_mask,
        example.strategy, example.hidden, example.text,
    )  # fmt: skip


def _continuation(prefix: list[int], middle: list[int]) -> Example:
    ids = prefix + middle
    labels = [IGNORE] * (len(prefix) - 1) + middle + [IGNORE]
    return Example(ids, labels, [1.0] * len(ids), [False] * len(ids), "none", [], "")
