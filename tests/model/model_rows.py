"""Batches of a few documents, and a step by both models over them, for the tests of the passes."""

from __future__ import annotations

import torch

from stylellm.masking.collate import collate
from stylellm.model.passes import Passes


def item(*documents, repeats=None):
    ids = [i for document in documents for i in document]
    return {
        "input_ids": ids,
        "labels": [*ids[1:], -100],
        "label_weight": [1.0] * len(ids),
        "kl_mask": [True] * (len(ids) - 1) + [False],
        "general_mask": [False] * len(ids),
        "lengths": [len(document) for document in documents],
        "repeats": repeats or [False] * len(documents),
    }


A, B, C = list(range(10, 22)), list(range(40, 47)), list(range(80, 101))


def gradients_of(policy):
    return {n: w.grad.clone() for n, w in policy.named_parameters() if w.grad is not None}


def step(policy, items, passes=None, **options):
    """Sum of a fixed function of both models' states over real positions, and its gradients."""
    policy.zero_grad()
    batch = collate(items, pad_id=0, **options)
    hidden, reference = (passes or Passes())(policy, policy, batch, with_reference=True)
    real = batch["attention_mask"].bool()
    loss = (hidden[real].cos() * (1 + reference[real])).sum()
    loss.backward()
    return loss.detach(), gradients_of(policy)


def assert_same_step(found, wanted, *, single=False):
    """The same loss and gradients; `single`: where a library computes in float32 on the way."""
    rtol, atol = (1e-4, 1e-5) if single else (1e-8, 1e-10)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-5 if single else 1e-10, atol=1e-10)
    assert found[1].keys() == wanted[1].keys() and wanted[1]
    for name, gradient in wanted[1].items():
        assert gradient.abs().max() > 1e-8
        torch.testing.assert_close(found[1][name], gradient, rtol=rtol, atol=atol)
