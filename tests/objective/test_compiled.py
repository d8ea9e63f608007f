"""The compiled elementwise part: equal to the eager one, and the way back without a compiler."""

from __future__ import annotations

import logging

import pytest
import torch

from stylellm.errors import StyleLLMError
from stylellm.objective import chunked, compiled, elementwise

DIRECTIONS = ["policy_ref", "ref_policy"]


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch):
    monkeypatch.setattr(compiled, "_failed", False)
    monkeypatch.setattr(compiled, "_marked", set())
    compiled._compiled.cache_clear()
    yield
    compiled._compiled.cache_clear()


@pytest.fixture
def as_written(monkeypatch):
    """What would be compiled, run as it stands: tests the form without a compiler."""
    monkeypatch.setattr(torch, "compile", lambda function: function)


@pytest.fixture
def no_compiler(monkeypatch):
    """A compiler that fails when it is first used, as a missing g++ or Triton does."""

    def compile_later(function):
        def fail(*args):
            raise RuntimeError("no working C++ compiler found\nlong trace")

        return fail

    monkeypatch.setattr(torch, "compile", compile_later)


def make_problem(dtype, gap=0.3, n=41, hidden=16, vocabulary=203):
    draw = torch.Generator().manual_seed(0)
    policy = torch.randn(n, hidden, generator=draw, dtype=torch.float64)
    reference = policy + gap * torch.randn(n, hidden, generator=draw, dtype=torch.float64)
    labels = torch.randint(vocabulary, (n,), generator=draw)
    labels[::5] = -100
    return {
        "hidden_policy": policy.to(dtype),
        "hidden_reference": reference.to(dtype),
        "head_weight": torch.randn(vocabulary, hidden, generator=draw, dtype=torch.float64).to(
            dtype
        ),
        "labels": labels,
        "kl_weight": torch.rand(n, generator=draw) * (torch.rand(n, generator=draw) < 0.7),
        "kl_beta": 0.7,
    }


def solve(problem, **options):
    hidden = problem["hidden_policy"].clone().requires_grad_()
    result = chunked.style_alignment_loss(
        **(problem | {"hidden_policy": hidden}), chunk_size=15, **options
    )
    result.loss.backward()
    return result, hidden.grad


def assert_equal_to_eager(problem, direction, tolerance):
    truth, gradient = solve(problem, kl_direction=direction, compile=False)
    ours, found = solve(problem, kl_direction=direction, compile=True)
    assert not compiled._failed
    torch.testing.assert_close(ours.nll, truth.nll, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours.kl, truth.kl, rtol=tolerance, atol=tolerance * 1e-3)
    # In 16 bits an entry may be rounded to its other neighbour.
    allowed = tolerance if problem["head_weight"].itemsize > 2 else 1e-3
    assert (found - gradient).norm() <= allowed * gradient.norm()


TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-5, torch.float16: 2e-5}


@pytest.mark.usefixtures("as_written")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("gap", [1e-3, 0.3])
def test_the_form_for_the_compiler_equals_the_eager_one(direction, dtype, gap):
    assert_equal_to_eager(make_problem(dtype, gap), direction, TOLERANCE[dtype])


@pytest.mark.usefixtures("as_written")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_that_need_log_space_are_left_to_the_eager_form(direction, dtype):
    problem = make_problem(dtype, gap=1e-3)
    problem["kl_weight"] = torch.ones(41)
    problem["hidden_reference"][[3, 17]] *= -20
    spread = (problem["hidden_policy"] - problem["hidden_reference"]) @ problem["head_weight"].T
    assert (spread.float().amax(1) - spread.float().amin(1) > 45).sum() == 2
    assert_equal_to_eager(problem, direction, 2e-5)


@pytest.mark.usefixtures("as_written")
def test_more_rows_that_need_log_space_than_a_chunk_holds():
    problem = make_problem(torch.float32, gap=1e-3, n=20)
    problem["kl_weight"] = torch.ones(20)
    problem["hidden_reference"][:14] *= -20  # chunk_size 15 cuts 20 rows into two chunks of 10
    assert_equal_to_eager(problem, "policy_ref", 2e-5)


@pytest.mark.usefixtures("as_written")
def test_a_nan_reaches_the_loss():
    problem = make_problem(torch.float32)
    problem["hidden_policy"][2, 0] = float("nan")
    problem["kl_weight"] = torch.ones(41)
    result, _ = solve(problem, compile=True)
    assert result.loss.isnan()
    assert int(result.kl.isnan().sum()) == 1


@pytest.mark.usefixtures("as_written")
def test_delta_is_left_alone_and_values_need_no_gradient():
    problem = make_problem(torch.float32)
    z = problem["hidden_policy"] @ problem["head_weight"].T
    delta = z * 0.1
    terms = elementwise.Terms(
        *(torch.ones(41, 1, dtype=d) for d in (torch.int64, *[torch.float32] * 2))
    )
    before = z.clone(), delta.clone()
    compiled.compiled_rows(z, delta, terms, "policy_ref", False)
    assert torch.equal(z, before[0])
    compiled.compiled_rows(z, delta, terms, "policy_ref", True)
    assert torch.equal(delta, before[1])
    assert not torch.equal(z, before[0])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_really_compiled_it_equals_the_eager_form(dtype, caplog):
    problem = make_problem(dtype, gap=0.3)
    problem["kl_weight"] = (torch.arange(41) % 4 > 0).float()
    with caplog.at_level(logging.INFO, logger=compiled.__name__):
        compiled.compiled_rows(
            torch.zeros(2, 8),
            None,
            elementwise.Terms(torch.zeros(2, 1, dtype=torch.int64), *torch.ones(2, 2, 1)),
            "policy_ref",
            True,
        )
    if compiled._failed:
        pytest.skip(f"no working compiler here: {caplog.text}")
    for direction in DIRECTIONS:
        assert_equal_to_eager(problem, direction, 2e-5)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for n in (11, 20, 37):  # other numbers of rows
        assert_equal_to_eager(make_problem(dtype, n=n), "policy_ref", 2e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    problem["hidden_reference"][[3, 17]] *= -20
    assert_equal_to_eager(problem, "policy_ref", 2e-5)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_eager_form_runs_and_says_so_once(caplog):
    for dtype in (torch.float32, torch.bfloat16):
        problem = make_problem(dtype)
        truth, gradient = solve(problem, compile=False)
        with caplog.at_level(logging.INFO, logger=compiled.__name__):
            result, found = solve(problem, compile=True)
        torch.testing.assert_close(result.loss, truth.loss, rtol=1e-6, atol=0)
        torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-7)
    assert len(caplog.records) == 1
    assert "no working C++ compiler found" in caplog.text
    assert "long trace" not in caplog.text
    assert not compiled.wanted(True, problem["head_weight"], 10**9, True)


def test_running_out_of_memory_is_not_taken_for_a_missing_compiler(monkeypatch):
    def compile_later(function):
        def fail(*args):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return fail

    monkeypatch.setattr(torch, "compile", compile_later)
    with pytest.raises(torch.OutOfMemoryError):
        solve(make_problem(torch.float32), compile=True)
    assert not compiled._failed


def test_by_itself_a_cpu_compiles_only_what_is_large():
    large, small = torch.empty(151936, 1), torch.empty(8192, 1)
    assert compiled.wanted(None, large, 512, True)
    assert not compiled.wanted(None, large, 512, False)
    assert not compiled.wanted(None, large, 64, True)
    assert not compiled.wanted(None, small, 100_000, True)
    assert not compiled.wanted(False, large, 512, True)
    assert compiled.wanted(True, small, 1, False)


def test_a_switch_that_is_no_switch_is_refused():
    with pytest.raises(StyleLLMError, match="compile is 'yes'"):
        solve(make_problem(torch.float32), compile="yes")
