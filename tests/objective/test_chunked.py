"""The chunked loss against the dense definition, autograd, identities and its own promises."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from stylellm.errors import StyleLLMError
from stylellm.objective import chunked, chunking, dense, elementwise

DIRECTIONS = ["policy_ref", "ref_policy"]
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def make_problem(n=37, hidden=16, vocabulary=211, *, dtype=torch.float64, gap=0.3, seed=0) -> dict:
    """CE-only, KL-only, both and neither; weights that differ by position."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    policy = normal(n, hidden)
    labels = torch.randint(vocabulary, (n,), generator=draw)
    labels[torch.rand(n, generator=draw) < 0.4] = -100
    kl_weight = torch.rand(n, generator=draw) * (torch.rand(n, generator=draw) < 0.5)
    return {
        "hidden_policy": policy.to(dtype),
        "hidden_reference": (policy + gap * normal(n, hidden)).to(dtype),
        "head_weight": (normal(vocabulary, hidden) * 3 / hidden**0.5).to(dtype),
        "labels": labels,
        "kl_weight": kl_weight,
        "kl_beta": 0.7,
    }


def converted(problem: dict, dtype: torch.dtype) -> dict:
    names = ("hidden_policy", "hidden_reference", "head_weight")
    return problem | {name: problem[name].to(dtype) for name in names}


def solve(module, problem: dict, **options):
    """The result and the gradient of its loss."""
    hidden = problem["hidden_policy"].clone().requires_grad_()
    result = module.style_alignment_loss(**(problem | {"hidden_policy": hidden}), **options)
    result.loss.backward()
    return result, hidden.grad


def assert_same(ours, truth, tolerance: float) -> None:
    """Values to a relative, gradients to a normwise tolerance; counts exactly."""
    (result, gradient), (expected, expected_gradient) = ours, truth
    for name in ("loss", "nll_sum", "kl_sum", "nll", "kl"):
        torch.testing.assert_close(
            getattr(result, name).detach().double(),
            getattr(expected, name).detach().double(),
            rtol=tolerance,
            atol=tolerance * 1e-2,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    assert (result.num_labels, result.num_kl) == (expected.num_labels, expected.num_kl)
    difference = (gradient.double() - expected_gradient.double()).norm()
    assert difference <= tolerance * expected_gradient.double().norm()


@both_directions
@pytest.mark.parametrize("gap", [1e-5, 1e-2, 0.3, 3.0])
def test_agrees_with_dense_in_fp64(direction, gap):
    problem = make_problem(gap=gap)
    truth = solve(dense, problem, kl_direction=direction)
    ours = solve(chunked, problem, kl_direction=direction, chunk_size=5)
    # At a gap of 1e-5 (KL near 1e-10) it is the definition that has lost digits.
    assert_same(ours, truth, 1e-10 if gap > 1e-3 else 1e-5)


@both_directions
@pytest.mark.parametrize("gap", [1e-3, 0.1, 3.0])
def test_fp32_agrees_with_dense_in_fp64(direction, gap):
    problem = make_problem(dtype=torch.float32, gap=gap)
    ours = solve(chunked, problem, kl_direction=direction, chunk_size=8)
    truth = solve(dense, converted(problem, torch.float64), kl_direction=direction)
    assert_same(ours, truth, 1e-5)
    assert ours[0].loss.dtype == torch.float32


@both_directions
@pytest.mark.parametrize("gap", [1e-2, 1.0])
def test_gradcheck(direction, gap):
    problem = make_problem(n=8, hidden=5, vocabulary=13, gap=gap)
    policy = problem.pop("hidden_policy").requires_grad_()

    def loss(hidden):
        return chunked.style_alignment_loss(
            hidden, **problem, kl_direction=direction, chunk_size=3
        ).loss

    assert torch.autograd.gradcheck(loss, (policy,))


@both_directions
def test_kl_is_torch_kl_div(direction):
    problem = make_problem()
    head = problem["head_weight"]
    policy, reference = (
        (problem[name] @ head.T).log_softmax(1) for name in ("hidden_policy", "hidden_reference")
    )
    p, q = (policy, reference) if direction == "policy_ref" else (reference, policy)
    each = F.kl_div(q, p, log_target=True, reduction="none").sum(1) * (problem["kl_weight"] > 0)
    result = chunked.style_alignment_loss(**problem, kl_direction=direction)
    torch.testing.assert_close(result.kl, each, rtol=1e-10, atol=1e-12)
    assert (each > 0.01).sum() > 5


@both_directions
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_kl_of_a_model_to_itself_is_exactly_zero(direction, dtype):
    problem = make_problem(dtype=dtype)
    problem["hidden_reference"] = problem["hidden_policy"]
    problem["labels"] = torch.full_like(problem["labels"], -100)
    result, gradient = solve(chunked, problem, kl_direction=direction)
    assert result.num_kl > 0
    assert result.kl_sum.item() == 0.0
    assert result.loss.item() == 0.0
    assert gradient.abs().max().item() == 0.0


@both_directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gap", [1e-6, 1e-3, 1.0, 30.0])
def test_kl_is_never_negative(direction, dtype, gap):
    problem = make_problem(n=64, dtype=dtype, gap=gap)
    problem["kl_weight"] = torch.ones(64)
    result = chunked.style_alignment_loss(**problem, kl_direction=direction)
    assert (result.kl >= 0).all()


@pytest.mark.parametrize("with_reference", [True, False])
def test_beta_zero_is_plain_cross_entropy(with_reference):
    problem = make_problem() | {"kl_beta": 0.0}
    if not with_reference:
        problem["hidden_reference"] = None
    result, gradient = solve(chunked, problem)
    hidden = problem["hidden_policy"].clone().requires_grad_()
    expected = F.cross_entropy(hidden @ problem["head_weight"].T, problem["labels"])
    expected.backward()
    torch.testing.assert_close(result.loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, hidden.grad, rtol=1e-10, atol=1e-14)
    # With a reference the KL is still measured; without one no position counts as measured.
    assert (result.kl_sum > 0) == (result.num_kl > 0) == with_reference


@both_directions
@pytest.mark.parametrize("chunk_size", [1, 2, 7, 36, 37, 1000])
def test_chunk_size_does_not_matter(direction, chunk_size, monkeypatch):
    problem = make_problem()
    truth = solve(chunked, problem, kl_direction=direction)
    monkeypatch.setattr(chunking, "BLOCK_ELEMENTS_CPU", 3 * 211)  # blocks of 3 rows
    ours = solve(chunked, problem, kl_direction=direction, chunk_size=chunk_size)
    assert_same(ours, truth, 1e-12)


def test_weights_and_given_counts_by_hand():
    problem = make_problem()
    n = len(problem["labels"])
    label_weight = torch.linspace(0, 2, n, dtype=torch.float64)
    result, gradient = solve(
        chunked, problem, label_weight=label_weight, num_labels=100, num_kl=40.0
    )
    nll = F.cross_entropy(
        problem["hidden_policy"] @ problem["head_weight"].T, problem["labels"], reduction="none"
    )
    assert result.nll_sum.item() == pytest.approx((nll * label_weight).sum().item(), rel=1e-12)
    assert result.kl_sum.item() == pytest.approx((result.kl * problem["kl_weight"]).sum().item())
    assert (result.num_labels, result.num_kl) == (100, 40.0)
    expected = result.nll_sum / 100 + 0.7 * result.kl_sum / 40
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    truth = solve(dense, problem, label_weight=label_weight, num_labels=100, num_kl=40.0)
    assert_same((result, gradient), truth, 1e-10)


def test_counts_are_the_positions_of_non_zero_weight():
    problem = make_problem()
    scored = problem["labels"] != -100
    label_weight = torch.ones(len(scored))
    label_weight[:10] = 0
    for module in (chunked, dense):
        result = module.style_alignment_loss(**problem, label_weight=label_weight)
        assert result.num_labels == int(scored[10:].sum())
        assert result.num_kl == int((problem["kl_weight"] > 0).sum())
        assert not result.nll[:10].any()


def test_boolean_weights_and_micro_batches_add_up():
    """Two halves divided by the counts of the whole give the loss and gradient of the whole."""
    problem = make_problem()
    problem["kl_weight"] = problem["kl_weight"] > 0
    whole, gradient = solve(chunked, problem)
    per_position = ("hidden_policy", "hidden_reference", "labels", "kl_weight")
    halves = [
        solve(
            chunked,
            problem | {name: problem[name][part] for name in per_position},
            num_labels=whole.num_labels,
            num_kl=whole.num_kl,
        )
        for part in (slice(0, 11), slice(11, None))
    ]
    total = sum(result.loss for result, _ in halves)
    torch.testing.assert_close(total, whole.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.cat([g for _, g in halves]), gradient, rtol=1e-12, atol=0)


@pytest.mark.parametrize("module", [chunked, dense])
def test_empty_sets_give_a_loss_of_zero_with_a_gradient_path(module):
    problem = make_problem()
    problem["labels"] = torch.full_like(problem["labels"], -100)
    problem["kl_weight"] = torch.zeros_like(problem["kl_weight"])
    for reference in (problem["hidden_reference"], None):
        result, gradient = solve(module, problem | {"hidden_reference": reference})
        assert result.loss.item() == 0.0
        assert (result.num_labels, result.num_kl) == (0, 0)
        assert not gradient.any()


@pytest.mark.parametrize("module", [chunked, dense])
def test_no_positions_at_all(module):
    problem = make_problem()
    for name in ("hidden_policy", "hidden_reference", "labels", "kl_weight"):
        problem[name] = problem[name][:0]
    result, gradient = solve(module, problem)
    assert result.loss.item() == 0.0
    assert gradient.shape == (0, 16)


@both_directions
@pytest.mark.parametrize("count", ["num_labels", "num_kl"])
def test_a_count_of_zero_switches_its_term_off(direction, count):
    problem = make_problem()
    other = problem | {"kl_beta": 0.0}
    if count == "num_labels":
        other = problem | {"labels": torch.full_like(problem["labels"], -100)}
    result, gradient = solve(chunked, problem, kl_direction=direction, **{count: 0})
    expected, expected_gradient = solve(dense, other, kl_direction=direction)
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-8, atol=1e-13)
    assert result.nll_sum > 0  # still measured
    assert result.kl_sum > 0


@both_directions
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(direction, dtype):
    problem = make_problem(dtype=dtype, gap=1.0)
    problem["hidden_policy"] = problem["hidden_policy"] * 1e3
    problem["hidden_reference"] = problem["hidden_reference"] * -1e3
    result, gradient = solve(chunked, problem, kl_direction=direction)
    assert torch.isfinite(gradient).all()
    for value in (result.loss, result.nll, result.kl):
        assert torch.isfinite(value).all()
    if dtype != torch.bfloat16:
        truth = solve(dense, converted(problem, torch.float64), kl_direction=direction)
        assert_same((result, gradient), truth, 1e-5)
        assert truth[0].kl.max() > 1e3


@both_directions
def test_one_far_row_does_not_disturb_its_neighbours(direction):
    """A row that needs log space shares its block with rows whose KL is tiny."""
    problem = make_problem(dtype=torch.float32, gap=1e-4)
    problem["kl_weight"] = torch.ones(37)
    alone = chunked.style_alignment_loss(**problem, kl_direction=direction)
    problem["hidden_reference"][5] *= -40
    result, gradient = solve(chunked, problem, kl_direction=direction)
    truth = solve(dense, converted(problem, torch.float64), kl_direction=direction)
    assert truth[0].kl[5] > 10
    assert alone.kl.max() < 1e-6
    others = torch.arange(37) != 5
    torch.testing.assert_close(result.kl[others], alone.kl[others], rtol=1e-5, atol=0)
    assert_same((result, gradient), truth, 1e-5)


@both_directions
def test_a_nan_stays_in_its_row_and_reaches_the_loss(direction):
    """The trainer stops at a loss that is not finite, so it must not be hidden."""
    problem = make_problem(dtype=torch.float32, gap=1e-4)
    problem["kl_weight"] = torch.ones(37)
    problem["hidden_reference"][5] *= -40
    clean = chunked.style_alignment_loss(**problem, kl_direction=direction)
    problem["hidden_policy"][6, 0] = float("nan")
    result = chunked.style_alignment_loss(**problem, kl_direction=direction)
    assert result.loss.isnan()
    others = torch.arange(37) != 6
    assert result.kl[6].isnan()
    torch.testing.assert_close(result.kl[others], clean.kl[others], rtol=1e-5, atol=0)


def test_excess_keeps_its_digits_at_every_size():
    sizes = torch.logspace(-9, 1.5, 400, dtype=torch.float64)
    u = torch.cat([-sizes, sizes])
    # exp(-u) - 1 + u as the integral of (1 - s) u^2 exp(-s u) over s in [0, 1]: no cancellation
    s, weight = (torch.from_numpy(x) for x in _gauss_legendre(60))
    exact = u**2 * (weight * (1 - s) * torch.exp(-u[:, None] * s)).sum(1)
    for dtype, tolerance in ((torch.float64, 2e-12), (torch.float32, 5e-6)):
        value = elementwise.excess(u.to(dtype), small=False).double()
        rounded = u.to(dtype).double()  # the rounding of u itself is not the function's error
        expected = exact * (rounded / u) ** 2
        assert ((value - expected).abs() / expected).max() < tolerance
        near = u.abs() < elementwise.SERIES_BELOW[dtype]
        series = elementwise.excess(u[near].to(dtype), small=True).double()
        assert torch.equal(series, value[near])


def _gauss_legendre(n: int):
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


@both_directions
@pytest.mark.parametrize("target", [2e-5, 1e-3, 0.1])
def test_bf16_accuracy_beside_full_logits(direction, target):
    """Error given the same bf16 hidden states, against the fp64 definition (method, section 1)."""
    problem, kl = _at_kl(target)
    truth, true_gradient = solve(dense, converted(problem, torch.float64), kl_direction=direction)
    errors = {}
    for module in (chunked, dense):
        result, gradient = solve(module, problem, kl_direction=direction)
        value = abs(result.loss.item() / truth.loss.item() - 1)
        slope = ((gradient.double() - true_gradient).norm() / true_gradient.norm()).item()
        errors[module] = value, slope
        name = module.__name__.rsplit(".", 1)[1]
        print(f"{direction} KL {kl:.1e} {name:8} value {value:.3%} gradient {slope:.2%}")
    assert errors[chunked][0] < 1e-3
    assert errors[chunked][1] < 0.02
    assert errors[chunked][0] < errors[dense][0]
    assert errors[chunked][1] < errors[dense][1]


def _at_kl(target: float) -> tuple[dict, float]:
    """A bf16 problem of KL positions only, with logits of deviation 3 and near the wanted KL."""
    problem = make_problem(n=128, hidden=256, vocabulary=4096, dtype=torch.float64, gap=1.0)
    problem["labels"] = torch.full_like(problem["labels"], -100)
    problem |= {"kl_weight": torch.ones(128), "kl_beta": 1.0}
    policy = problem["hidden_policy"]
    step = problem["hidden_reference"] - policy
    # KL(P||Q) is near 1/2 E[u^2], so it goes with the square of the step.
    first = problem | {"hidden_reference": policy + 0.01 * step}
    unit = chunked.style_alignment_loss(**first).loss.item()
    problem["hidden_reference"] = policy + 0.01 * (target / unit) ** 0.5 * step
    kl = chunked.style_alignment_loss(**problem).loss.item()
    assert kl == pytest.approx(target, rel=0.3)
    return converted(problem, torch.bfloat16), kl


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_with_both_terms_is_near_the_truth(dtype):
    problem = make_problem(n=64, hidden=64, vocabulary=1024, dtype=dtype, gap=0.1)
    (result, gradient) = solve(chunked, problem)
    truth, true_gradient = solve(dense, converted(problem, torch.float64))
    assert result.loss.dtype == torch.float32
    assert gradient.dtype == dtype
    assert result.loss.item() == pytest.approx(truth.loss.item(), rel=2e-3)
    assert (gradient.double() - true_gradient).norm() < 0.02 * true_gradient.norm()


def test_fp16_gradient_does_not_underflow_before_the_loss_scale():
    """A KL of 1e-5 divided by a million positions, then scaled as a GradScaler does."""
    problem = make_problem(n=32, hidden=64, vocabulary=1024, dtype=torch.float16, gap=3e-3)
    problem["labels"] = torch.full_like(problem["labels"], -100)
    hidden = problem["hidden_policy"].clone().requires_grad_()
    loss = chunked.style_alignment_loss(
        **(problem | {"hidden_policy": hidden}), num_kl=1_000_000
    ).loss
    (loss * 2.0**24).backward()
    _, truth = solve(dense, converted(problem, torch.float64), num_kl=1_000_000)
    truth = truth * 2.0**24
    assert (hidden.grad.double() - truth).norm() < 0.02 * truth.norm()


def test_fp32_hidden_states_with_a_bf16_head():
    """The difference is taken in fp32: its digits would be gone after rounding to bf16."""
    problem = make_problem(n=64, hidden=64, vocabulary=512, gap=1e-4)
    problem = problem | {"labels": torch.full((64,), -100), "kl_weight": torch.ones(64)}
    head = problem["head_weight"].bfloat16()
    truth, true_gradient = solve(dense, problem | {"head_weight": head.double()})
    mixed = converted(problem, torch.float32) | {"head_weight": head}
    result, gradient = solve(chunked, mixed)
    assert gradient.dtype == torch.float32
    assert result.loss.item() == pytest.approx(truth.loss.item(), rel=2e-3)
    assert (gradient.double() - true_gradient).norm() < 0.02 * true_gradient.norm()


def test_autocast_does_not_change_the_products():
    problem = make_problem(dtype=torch.float32)
    truth = solve(chunked, problem)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = solve(chunked, problem)
    assert torch.equal(ours[1], truth[1])
    assert torch.equal(ours[0].loss, truth[0].loss)


class Watch(TorchDispatchMode):
    """Largest tensor made by any operation (views of inputs apart) and the matrix products."""

    def __init__(self, *inputs: torch.Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        self.largest = 0
        self.products: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if "mm" in func.__name__.split(".")[0]:
            self.products.append(args[0].shape[0])
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.known:
                    self.largest = max(self.largest, storage.nbytes() // tensor.itemsize)
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@both_directions
def test_nothing_larger_than_a_chunk_of_logits(direction, dtype):
    problem = make_problem(n=200, hidden=8, vocabulary=300, dtype=dtype)
    with Watch(problem["head_weight"]) as watch:
        solve(chunked, problem, kl_direction=direction, chunk_size=16)
    assert 0 < watch.largest <= 16 * 300
    with Watch(problem["head_weight"]) as watch:
        solve(dense, problem, kl_direction=direction)
    assert watch.largest == 200 * 300  # the watch does see what it looks for


def test_only_the_needed_products_are_made():
    problem = make_problem()
    scored, has_kl = problem["labels"] != -100, problem["kl_weight"] > 0
    num_kl, num_plain = int(has_kl.sum()), int((scored & ~has_kl).sum())
    assert 0 < num_kl + num_plain < len(scored)
    cases = [
        (problem, True, 2 * num_plain + 3 * num_kl),  # z and gradient; with KL also delta
        (problem, False, num_plain + 2 * num_kl),
        (problem | {"context": torch.no_grad}, True, num_plain + 2 * num_kl),
        (problem | {"hidden_reference": None, "kl_beta": 0.0}, True, 2 * int(scored.sum())),
    ]
    for case, with_gradient, rows in cases:
        context = case.pop("context", contextlib.nullcontext)
        hidden = case["hidden_policy"].clone().requires_grad_(with_gradient)
        with context(), Watch(problem["head_weight"]) as watch:
            chunked.style_alignment_loss(**(case | {"hidden_policy": hidden}), chunk_size=4)
        assert sum(watch.products) == rows


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, contextlib.nullcontext])
def test_values_without_a_gradient(context):
    problem = make_problem()
    truth = chunked.style_alignment_loss(**problem)
    hidden = problem["hidden_policy"].clone().requires_grad_(context is not contextlib.nullcontext)
    with context():
        result = chunked.style_alignment_loss(**(problem | {"hidden_policy": hidden}))
    assert not result.loss.requires_grad
    assert torch.equal(result.loss, truth.loss)
    assert torch.equal(result.kl, truth.kl)


def test_inputs_are_left_as_they_were():
    problem = make_problem()
    before = {k: v.clone() for k, v in problem.items() if isinstance(v, torch.Tensor)}
    solve(chunked, problem)
    for name, value in before.items():
        assert torch.equal(problem[name], value), name


def test_the_gradient_follows_a_factor_on_the_loss():
    problem = make_problem()
    _, gradient = solve(chunked, problem)
    hidden = problem["hidden_policy"].clone().requires_grad_()
    result = chunked.style_alignment_loss(**(problem | {"hidden_policy": hidden}))
    (result.loss * 3).backward()
    torch.testing.assert_close(hidden.grad, 3 * gradient)
    assert not result.nll.requires_grad
    assert not result.kl_sum.requires_grad


@pytest.mark.parametrize("module", [chunked, dense])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kl_direction": "reverse"}, "policy_ref or ref_policy"),
        ({"kl_beta": -0.1}, "kl_beta is -0.1"),
        ({"kl_beta": float("nan")}, "kl_beta is nan"),
        ({"hidden_policy": torch.zeros(37, 15)}, r"hidden_policy is \[37, 15\]"),
        ({"hidden_policy": torch.zeros(2, 37, 16)}, r"expected \[N, H\]"),
        ({"hidden_reference": torch.zeros(36, 16)}, r"hidden_reference is \[36, 16\]"),
        ({"hidden_reference": None}, "hidden_reference is None"),
        ({"labels": torch.zeros(36, dtype=torch.int64)}, r"shape \[36\]"),
        ({"labels": torch.zeros(37)}, "token ids"),
        ({"labels": torch.full((37,), 211)}, "label 211 at position 0; .*0 to 210"),
        ({"labels": torch.full((37,), -1)}, "label -1"),
        ({"kl_weight": torch.full((37,), -1.0)}, "kl_weight is -1.0 at position 0"),
        ({"kl_weight": torch.full((37,), float("inf"))}, "kl_weight is inf"),
        ({"kl_weight": torch.ones(3)}, r"kl_weight is of shape \[3\]"),
        ({"label_weight": torch.full((37,), -2.0)}, "label_weight is -2.0"),
        ({"num_labels": -3}, "num_labels is -3"),
        ({"num_kl": float("nan")}, "num_kl is nan"),
        ({"head_weight": torch.zeros(211, 16, requires_grad=True)}, "requires a gradient"),
    ],
)
def test_wrong_arguments_are_named(module, change, message):
    problem = make_problem(dtype=torch.float32) | change
    with pytest.raises(StyleLLMError, match=message):
        module.style_alignment_loss(**problem)


def test_a_negative_chunk_size_is_refused():
    with pytest.raises(StyleLLMError, match="chunk_size is -1"):
        chunked.style_alignment_loss(**make_problem(), chunk_size=-1)
