"""What holds for every input: signs, zeros, finiteness, invariances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.objective import chunked, dense

directions = st.sampled_from(["policy_ref", "ref_policy"])
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])


@st.composite
def problems(draw, dtype=dtypes):
    """Any sizes, any distance of policy and reference, logits from tiny to hundreds."""
    n, hidden, vocabulary = (
        draw(st.integers(1, 9)),
        draw(st.integers(1, 8)),
        draw(st.integers(2, 40)),
    )
    kind = draw(dtype)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    policy = normal(n, hidden)
    gap, scale = 10.0 ** draw(st.integers(-7, 1)), 10.0 ** draw(st.integers(-2, 2))
    labels = torch.randint(vocabulary, (n,), generator=random)
    return {
        "hidden_policy": policy.to(kind),
        "hidden_reference": (policy + gap * normal(n, hidden)).to(kind),
        "head_weight": (scale * normal(vocabulary, hidden)).to(kind),
        "labels": labels.masked_fill(torch.rand(n, generator=random) < 0.3, -100),
        "kl_weight": torch.rand(n, generator=random).round(decimals=1),
        "kl_beta": 0.5,
    }


def solve(problem, **options):
    hidden = problem["hidden_policy"].clone().requires_grad_()
    result = chunked.style_alignment_loss(**(problem | {"hidden_policy": hidden}), **options)
    result.loss.backward()
    return result, hidden.grad


@given(problem=problems(), direction=directions, chunk_size=st.integers(1, 9))
@settings(max_examples=80)
def test_the_kl_is_finite_and_never_negative(problem, direction, chunk_size):
    result, gradient = solve(problem, kl_direction=direction, chunk_size=chunk_size)
    assert (result.kl >= 0).all()
    assert torch.isfinite(result.kl).all()
    assert torch.isfinite(result.loss)
    assert torch.isfinite(gradient).all()


@given(problem=problems(), direction=directions)
@settings(max_examples=40)
def test_the_kl_of_a_model_to_itself_is_exactly_zero(problem, direction):
    problem["hidden_reference"] = problem["hidden_policy"]
    result, gradient = solve(problem, kl_direction=direction)
    assert result.kl_sum.item() == 0.0
    _, plain = solve(problem | {"kl_beta": 0.0, "hidden_reference": None})
    head = problem["head_weight"]  # rows without KL go through another product
    assert (gradient - plain).abs().max() <= 16 * torch.finfo(head.dtype).eps * head.abs().max()


@given(problem=problems(st.just(torch.float64)), direction=directions, chunk_size=st.integers(1, 9))
@settings(max_examples=40)
def test_no_chunk_size_and_no_order_of_positions_changes_the_loss(problem, direction, chunk_size):
    truth, gradient = solve(problem, kl_direction=direction)
    order = torch.randperm(len(problem["labels"]))
    names = ("hidden_policy", "hidden_reference", "labels", "kl_weight")
    mixed = problem | {name: problem[name][order] for name in names}
    result, found = solve(mixed, kl_direction=direction, chunk_size=chunk_size)
    torch.testing.assert_close(result.loss, truth.loss, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found, gradient[order], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("direction", ["policy_ref", "ref_policy"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("opposed", [True, False])
def test_logits_of_ten_thousand_either_way(direction, dtype, opposed):
    """Logits of exactly +-1e4; the reference the same, or each with the other sign."""
    signs = torch.tensor([[1, -1, -1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.float64)
    size = 9984.0  # near 1e4 and exact in bf16
    policy = signs * size
    reference = -policy if opposed else policy
    problem = {
        "hidden_policy": policy.to(dtype),
        "hidden_reference": reference.to(dtype),
        "head_weight": torch.eye(4, dtype=dtype),
        "labels": torch.tensor([1, 0, 3]),
        "kl_weight": torch.ones(3),
        "kl_beta": 1.0,
    }
    result, gradient = solve(problem, kl_direction=direction)
    exact = {name: x.double() if name[0] == "h" else x for name, x in problem.items()}
    truth = dense.style_alignment_loss(**exact, kl_direction=direction)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(result.loss)
    torch.testing.assert_close(result.nll.double(), truth.nll, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(result.kl.double(), truth.kl, rtol=1e-6, atol=1e-6)
    assert truth.nll.max() > 2 * size
    assert (truth.kl.max() > size) == opposed
