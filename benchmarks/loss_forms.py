"""The same loss as this project and others compute it, for the benchmarks that set them side by side.

loss = mean over N of -log P(label) (if asked for) + beta * mean over N of the KL. A form is made from
its name; where its package is missing, `NotInstalled` says what to install.

Legend: N positions, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# hidden_policy [N, H], hidden_reference [N, H], head [V, H], labels [N], beta, with_ce -> loss
Form = Callable[[Tensor, Tensor, Tensor, Tensor, float, bool], Tensor]

INSTALL = {
    "liger": "pip install --no-deps liger-kernel",
    "trl": "pip install --no-deps trl",
}


class NotInstalled(Exception):
    """The package of a form is missing; the message is the command that installs it."""


def make(name: str, direction: str = "policy_ref") -> Form:
    """The form of this name.

    Raises:
        NotInstalled: its package is missing.
    """
    try:
        return FORMS[name][1](direction)
    except ImportError as error:
        package = name.split("_")[0]
        raise NotInstalled(f"{INSTALL.get(package, package)} ({error})") from error


def _chunked(direction: str, *, compile: bool = False) -> Form:
    from stylellm.objective.chunked import style_alignment_loss

    def loss(
        hidden: Any, reference: Any, head: Any, labels: Any, beta: float, with_ce: bool
    ) -> Any:
        return style_alignment_loss(
            hidden,
            reference,
            head,
            labels if with_ce else torch.full_like(labels, -100),
            torch.ones(len(hidden), device=hidden.device),
            beta,
            kl_direction=direction,
            compile=compile,
        ).loss

    return loss


def _full_logits(direction: str) -> Form:
    """Two sets of full logits, log-softmax in float32, autograd."""

    def loss(
        hidden: Any, reference: Any, head: Any, labels: Any, beta: float, with_ce: bool
    ) -> Any:
        wide = torch.promote_types(head.dtype, torch.float32)
        policy = (hidden @ head.T).to(wide).log_softmax(1)
        base = (reference @ head.T).to(wide).log_softmax(1)
        first, second = (policy, base) if direction == "policy_ref" else (base, policy)
        kl = functional.kl_div(second, first, log_target=True, reduction="none").sum(1).mean()
        return beta * kl + (functional.nll_loss(policy, labels) if with_ce else 0.0)

    return loss


def _liger(direction: str) -> Form:
    """Liger's chunked distillation loss; its beta 1 is KL(student || teacher)."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    side = 1.0 if direction == "policy_ref" else 0.0

    def loss(
        hidden: Any, reference: Any, head: Any, labels: Any, beta: float, with_ce: bool
    ) -> Any:
        module = LigerFusedLinearJSDLoss(
            weight_hard_loss=float(with_ce),
            weight_soft_loss=beta,
            beta=side,
            compiled=hidden.is_cuda,
        )
        return module(hidden, head, reference, head, labels)

    return loss


def _trl(direction: str) -> Form:
    """TRL's chunked divergence, and its chunked log-probabilities for the cross-entropy."""
    from trl.kernels.chunked_divergence import VOCAB_CHUNK_SIZE, ChunkedDivergenceFunction
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    side = 1.0 if direction == "policy_ref" else 0.0

    def loss(
        hidden: Any, reference: Any, head: Any, labels: Any, beta: float, with_ce: bool
    ) -> Any:
        each, _ = ChunkedDivergenceFunction.apply(hidden, head, None, reference, head, None, side)
        value = beta * each.mean()
        if with_ce:
            log_p = ChunkedLogProbFunction.apply(
                hidden, head, None, labels, 1.0, VOCAB_CHUNK_SIZE, None, 1.0, ()
            )[0]
            value = value - log_p.mean()
        return value

    return loss


def _trl_gkd(direction: str) -> Form:
    """TRL's distillation loss on full logits in their own dtype (GKDTrainer)."""
    from trl.experimental.gkd import GKDTrainer

    side = 1.0 if direction == "policy_ref" else 0.0

    def loss(
        hidden: Any, reference: Any, head: Any, labels: Any, beta: float, with_ce: bool
    ) -> Any:
        policy = (hidden @ head.T)[None]
        base = (reference @ head.T)[None]
        value = beta * GKDTrainer.generalized_jsd_loss(policy, base, labels=labels[None], beta=side)
        if with_ce:
            value = value + functional.cross_entropy(policy[0].float(), labels)
        return value

    return loss


FORMS: dict[str, tuple[str, Callable[[str], Form]]] = {
    "ours": ("ours, eager", _chunked),
    "ours_compiled": ("ours, compiled", lambda direction: _chunked(direction, compile=True)),
    "full": ("full logits", _full_logits),
    "liger": ("Liger chunked JSD", _liger),
    "trl": ("TRL chunked kernels", _trl),
    "trl_gkd": ("TRL GKD, full logits", _trl_gkd),
}
