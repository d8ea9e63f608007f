"""Sums of a training run between two log lines, and what is printed of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stylellm.masking.formats import IGNORE

PARTS = 4


def count_positions(batch: dict[str, Tensor]) -> Tensor:
    """[4]: scored positions |L|, KL positions |K|, general ones |G|, and where L and K differ.

    The last one is 0 where every scored position of weight 1 is a KL position and the other way
    round: then the optimum is known in closed form (see ``style_share``).
    """
    scored, kl = batch["labels"] != IGNORE, batch["kl_mask"].bool()
    apart = (scored != kl) | (scored & (batch["label_weight"] != 1))
    sets = (scored, kl, batch["general_mask"], apart)
    return torch.stack([where.sum() for where in sets]).float()


def style_share(kl_beta: float) -> float:
    """Share s of the author in the optimum p = s p_author + (1 - s) p_base of CE + beta KL(Q || P).

    It holds for ``kl_direction: ref_policy`` where cross-entropy and KL stand at the same positions:
    s = 1 / (1 + beta).
    """
    return 1.0 / (1.0 + kl_beta)


@dataclass
class Tally:
    """Sums since the last log line; tensors stay on the device until they are read.

    Attributes:
        nll, kl, general_kl: sums in nats over this process.
        counts: [4] of ``count_positions`` over all processes.
        tokens: real tokens of this process.
        steps: optimizer steps.
        kl_beta: the weight of the last step.
    """

    nll: Any = 0.0
    kl: Any = 0.0
    general_kl: Any = 0.0
    counts: Any = field(default_factory=lambda: torch.zeros(PARTS))
    tokens: Any = 0
    steps: int = 0
    kl_beta: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add_counts(self, counts: Tensor) -> None:
        """The counts of one step, over all its micro-batches and processes."""
        self.counts = self.counts.to(counts.device) + counts
        self.steps += 1

    def add(self, result: Any, batch: dict[str, Tensor]) -> None:
        """The loss of one micro-batch."""
        self.nll = self.nll + result.nll_sum.detach()
        self.kl = self.kl + (result.kl * batch["kl_mask"].flatten()).sum()
        self.general_kl = self.general_kl + (result.kl * batch["general_mask"].flatten()).sum()
        self.tokens = self.tokens + batch["attention_mask"].sum()

    def sums(self) -> Tensor:
        """[4] nll, kl, general_kl, tokens of this process, float64 on the CPU."""
        values = (self.nll, self.kl, self.general_kl, self.tokens)
        return torch.stack([torch.as_tensor(x, dtype=torch.float64, device="cpu") for x in values])

    def line(self, sums: Tensor, objective: Any) -> dict[str, float]:
        """The numbers of a log line, from the sums over all processes."""
        nll, kl, general_kl, tokens = sums.tolist()
        labels, kls, generals, apart = self.counts.tolist()
        parts: dict[str, float] = {}
        if labels:  # a last step may hold general windows only
            parts["reconstruction"] = nll / labels
        if (
            self.kl_beta > 0 and kls
        ):  # a KL without weight is not computed: no number, rather than 0
            parts["kl"] = kl / kls
        if objective.general_beta > 0 and generals:
            parts["general_kl"] = general_kl / generals
        if objective.kl_direction == "ref_policy" and self.kl_beta > 0 and kls and not apart:
            parts["style_share"] = style_share(self.kl_beta)
        return {
            **parts,
            "kl_beta": self.kl_beta,
            "general_beta": objective.general_beta,
            "num_labels": labels / self.steps,
            "num_kl": kls / self.steps,
            "num_general": generals / self.steps,
            "tokens_per_second": tokens / max(time.perf_counter() - self.started, 1e-9),
        }
