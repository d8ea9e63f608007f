"""Adaptive weight of the KL term: steers kl_beta so that the KL per token stays near a target.

Proportional controller of Ziegler et al. 2019, "Fine-Tuning Language Models from Human
Preferences", section 2.2 (arXiv:1909.08593).
"""

from __future__ import annotations

import math

from stylellm.errors import StyleLLMError, TrainingError


class AdaptiveKLController:
    """Multiplies kl_beta by 1 + e / horizon per update, e = clip(KL / target - 1, -clip, clip).

    Args:
        kl_beta: the weight to start from, inside the bounds.
        target: the wanted KL, nats per token, > 0.
        horizon: optimizer steps over which the error acts (10 steps: 0.1 e per step).
        clip: largest relative error that counts.
        minimum, maximum: bounds of kl_beta.

    Raises:
        StyleLLMError: a target, horizon, clip or bound that makes no sense, or kl_beta outside
            the bounds.
    """

    def __init__(
        self,
        kl_beta: float,
        target: float,
        *,
        horizon: float = 10.0,
        clip: float = 0.2,
        minimum: float = 0.05,
        maximum: float = 10.0,
    ) -> None:
        for name, value in (("target", target), ("horizon", horizon), ("clip", clip)):
            if not (math.isfinite(value) and value > 0):
                raise StyleLLMError(f"{name} of the KL controller is {value}", "a number > 0")
        if clip >= horizon:
            raise StyleLLMError(f"clip {clip} of the KL controller", f"less than horizon {horizon}")
        if not 0 < minimum <= kl_beta <= maximum:
            raise StyleLLMError(
                f"kl_beta {kl_beta} with bounds {minimum} to {maximum}",
                "a starting kl_beta inside the positive bounds of the controller",
                "Set objective.kl_beta.",
            )
        self.kl_beta = float(kl_beta)
        self.target = target
        self.horizon = horizon
        self.clip = clip
        self.minimum = minimum
        self.maximum = maximum

    def update(self, kl: float) -> float:
        """Take the KL per token (nats) of one optimizer step; returns the kl_beta of the next.

        Raises:
            TrainingError: a KL that is not finite (it would leave kl_beta unusable for good).
        """
        if not math.isfinite(kl):
            raise TrainingError(f"the KL per token is {kl}", "a finite number")
        error = min(max(kl / self.target - 1.0, -self.clip), self.clip)
        beta = self.kl_beta * (1.0 + error / self.horizon)
        self.kl_beta = min(max(beta, self.minimum), self.maximum)
        return self.kl_beta

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint must keep; the settings come from the configuration."""
        return {"kl_beta": self.kl_beta}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a checkpoint, inside the bounds of this controller."""
        self.kl_beta = min(max(float(state["kl_beta"]), self.minimum), self.maximum)
