"""The readable loss against functions of PyTorch that were written by others."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylellm.objective.dense import style_alignment_loss

N, H, V = 9, 6, 23


@pytest.fixture
def problem() -> dict:
    draw = torch.Generator().manual_seed(3)
    random = {"generator": draw, "dtype": torch.float64}
    labels = torch.randint(V, (N,), generator=draw)
    labels[::3] = -100
    return {
        "hidden_policy": torch.randn(N, H, **random).requires_grad_(),
        "hidden_reference": torch.randn(N, H, **random),
        "head_weight": torch.randn(V, H, **random),
        "labels": labels,
        "kl_weight": torch.tensor([0.0, 1, 1, 0, 2, 0.5, 0, 1, 0], dtype=torch.float64),
        "kl_beta": 0.3,
    }


def logits_of(problem: dict) -> tuple[torch.Tensor, torch.Tensor]:
    head = problem["head_weight"]
    return problem["hidden_policy"] @ head.T, problem["hidden_reference"] @ head.T


def test_without_kl_it_is_cross_entropy(problem):
    problem["kl_beta"] = 0.0
    result = style_alignment_loss(**problem)
    expected = F.cross_entropy(logits_of(problem)[0], problem["labels"], ignore_index=-100)
    torch.testing.assert_close(result.loss, expected, rtol=1e-12, atol=0)
    assert result.num_labels == 6


@pytest.mark.parametrize("direction", ["policy_ref", "ref_policy"])
def test_kl_is_torch_kl_div(problem, direction):
    policy, reference = (logits.log_softmax(1) for logits in logits_of(problem))
    p, q = (policy, reference) if direction == "policy_ref" else (reference, policy)
    each = F.kl_div(q, p, log_target=True, reduction="none").sum(1)  # kl_div(q, p) is KL(p || q)
    result = style_alignment_loss(**problem, kl_direction=direction)
    kl_weight = problem["kl_weight"]
    torch.testing.assert_close(result.kl, (each * (kl_weight > 0)).detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(result.kl_sum, (each * kl_weight).sum().detach())
    expected = F.cross_entropy(logits_of(problem)[0], problem["labels"])
    expected = expected + 0.3 * (each * kl_weight).sum() / 5
    torch.testing.assert_close(result.loss, expected, rtol=1e-12, atol=0)
    assert result.num_kl == 5


def test_no_gradient_reaches_the_reference(problem):
    problem["hidden_reference"].requires_grad_()
    style_alignment_loss(**problem).loss.backward()
    assert problem["hidden_reference"].grad is None
    assert problem["hidden_policy"].grad.abs().sum() > 0


def test_gradient_is_zero_outside_both_sets(problem):
    style_alignment_loss(**problem).loss.backward()
    active = (problem["labels"] != -100) | (problem["kl_weight"] > 0)
    row_norms = problem["hidden_policy"].grad.norm(dim=1)
    assert torch.equal(row_norms > 0, active)
    assert not active.all()
