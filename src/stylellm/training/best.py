"""Which evaluation was best, and when to stop: a stated rule over the logged evaluations.

The best is the one with the lowest likelihood loss on the author's validation text (or
``training.metric_for_best_model``) among those whose drift on general text stays within bounds.
Everything is read off the log of the run, which a checkpoint keeps, so a resumed run goes on as it
would have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

DRIFT = "eval_drift_kl"


@dataclass(frozen=True)
class BestRule:
    """How evaluations are compared.

    Args:
        metric: the number that decides, as ``measure`` names it.
        greater_is_better: its direction.
        max_drift_kl: largest KL to the base per token of general text, nats; None: any.
        patience: evaluations without a better one after which training stops; None: never.
    """

    metric: str = "author_nll"
    greater_is_better: bool = False
    max_drift_kl: float | None = None
    patience: int | None = None

    @property
    def key(self) -> str:
        return f"eval_{self.metric.removeprefix('eval_')}"

    def allows(self, metrics: Mapping[str, Any]) -> bool:
        """Whether an evaluation may be the best at all."""
        if not math.isfinite(metrics.get(self.key, math.nan)):
            return False
        return self.max_drift_kl is None or metrics.get(DRIFT, math.inf) <= self.max_drift_kl

    def best(self, evaluations: Sequence[Mapping[str, Any]]) -> int | None:
        """Index of the best evaluation, the first of equals; None where none is within bounds."""
        sign = -1.0 if self.greater_is_better else 1.0
        allowed = [
            (sign * row[self.key], i) for i, row in enumerate(evaluations) if self.allows(row)
        ]
        return min(allowed)[1] if allowed else None

    def exhausted(self, evaluations: Sequence[Mapping[str, Any]]) -> bool:
        """Whether ``patience`` evaluations came after the best one."""
        best = self.best(evaluations)
        since = len(evaluations) if best is None else len(evaluations) - 1 - best
        return self.patience is not None and since >= self.patience


class EarlyStop(TrainerCallback):
    """Ends the training once the rule's patience is exhausted."""

    def __init__(self, rule: BestRule) -> None:
        self.rule = rule

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        evaluations = [row for row in state.log_history if self.rule.key in row]
        if self.rule.exhausted(evaluations):
            control.should_training_stop = True
