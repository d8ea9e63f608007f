"""The loss of StyleLLM written down as its definition: full logits, log-softmax, autograd.

This is the oracle that the tests hold `stylellm.objective.chunked` against, and the place to read
what the loss is. It keeps several tensors of size [N, V]; training uses the chunked form.

Legend: N positions, H hidden, V vocabulary; P policy, Q reference, both softmax over all of V.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylellm.objective.head_terms import HeadTerms, check_head_terms
from stylellm.objective.inputs import StyleLoss, accumulation_dtype, check_inputs


def style_alignment_loss(
    hidden_policy: Tensor,
    hidden_reference: Tensor | None,
    head_weight: Tensor,
    labels: Tensor,
    kl_weight: Tensor,
    kl_beta: float,
    *,
    kl_direction: str = "policy_ref",
    num_labels: float | None = None,
    num_kl: float | None = None,
    chunk_size: int = 0,
    label_weight: Tensor | None = None,
    low_rank: tuple[Tensor, Tensor] | None = None,
    token_logits: tuple[Tensor, Tensor] | None = None,
    compile: bool | None = None,
) -> StyleLoss:
    """Reconstruction plus KL to the reference, in nats.

        loss = sum_t label_weight_t * -log P_t(label_t) / num_labels
             + kl_beta * sum_t kl_weight_t * KL_t / num_kl

    KL_t is KL(P_t || Q_t) for `policy_ref` and KL(Q_t || P_t) for `ref_policy`. A term whose
    count is 0 is 0.

    Args:
        hidden_policy: [N, H] after the final norm, adapter on.
        hidden_reference: [N, H] after the final norm, adapter off; no gradient flows into it.
            None where no KL is asked for.
        head_weight: [V, H], frozen, shared by both.
        labels: [N] token ids, already shifted; -100 = unscored.
        kl_weight: [N] bool or >= 0; 0 = no KL at this position.
        kl_beta: weight of the KL term, >= 0.
        num_labels, num_kl: what the sums are divided by; the positions of non-zero weight in
            this call unless given (a trainer gives the totals of the optimizer step).
        chunk_size, compile: accepted so that both forms take the same arguments; they change nothing.
        label_weight: [N] >= 0, weights of the cross-entropy (all 1 unless given).
        low_rank: features [N, r] and weight [V, r]; features @ weight.T is added to the policy's
            logits (LoRA on the head).
        token_logits: ids [K] and logits [N, K], added to the policy's logits of these tokens
            (trained rows of the head).

    Raises:
        StyleLLMError: see `stylellm.objective.inputs.check_inputs`.
    """
    checked = check_inputs(
        hidden_policy,
        hidden_reference,
        head_weight,
        labels,
        kl_weight,
        kl_beta,
        kl_direction=kl_direction,
        num_labels=num_labels,
        num_kl=num_kl,
        label_weight=label_weight,
    )
    terms = check_head_terms(hidden_policy, head_weight, low_rank, token_logits)
    log_policy = _log_probabilities(hidden_policy, head_weight, terms)
    nll = -log_policy.gather(1, checked.labels[:, None]).squeeze(1)
    nll = nll.where(checked.label_weight > 0, 0.0)
    kl = torch.zeros_like(nll)
    if hidden_reference is not None:
        log_reference = _log_probabilities(hidden_reference.detach(), head_weight, HeadTerms())
        kl = kl_divergence(log_policy, log_reference, kl_direction)
        kl = kl.where(checked.kl_weight > 0, 0.0)

    nll_sum = (checked.label_weight * nll).sum()
    kl_sum = (checked.kl_weight * kl).sum()
    loss = checked.label_scale * nll_sum + checked.kl_scale * kl_sum
    return StyleLoss(
        loss=loss,
        nll_sum=nll_sum.detach(),
        kl_sum=kl_sum.detach(),
        num_labels=checked.num_labels,
        num_kl=checked.num_kl,
        nll=nll.detach(),
        kl=kl.detach(),
    )


def kl_divergence(log_policy: Tensor, log_reference: Tensor, kl_direction: str) -> Tensor:
    """[N] KL(P || Q) or KL(Q || P) in nats from log-probabilities [N, V]."""
    gap = log_policy - log_reference
    if kl_direction == "policy_ref":
        return (log_policy.exp() * gap).sum(dim=1)
    return (log_reference.exp() * -gap).sum(dim=1)


def _log_probabilities(hidden: Tensor, head_weight: Tensor, terms: HeadTerms) -> Tensor:
    """[N, V]: logits in the head's dtype, what is added and log-softmax in the accumulation dtype."""
    dtype = accumulation_dtype(head_weight.dtype)
    logits = (hidden.to(head_weight.dtype) @ head_weight.T).to(dtype)
    if terms.features is not None and terms.weight is not None:
        logits = logits + terms.features.to(dtype) @ terms.weight.to(dtype).T
    if terms.token_ids is not None and terms.token_logits is not None:
        logits = logits.index_add(1, terms.token_ids, terms.token_logits.to(dtype))
    return torch.log_softmax(logits, dim=1)
