"""LoRA on the head and trained token rows: the chunked loss against the dense one and autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylellm.errors import StyleLLMError
from stylellm.objective import chunked, dense

N, H, V, R = 29, 12, 97, 4
IDS = torch.tensor([3, 96, 40])
both_directions = pytest.mark.parametrize("direction", ["policy_ref", "ref_policy"])


def make_problem(dtype=torch.float64, gap=0.3, size=0.2, seed=1):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    policy = normal(N, H)
    labels = torch.randint(V, (N,), generator=draw)
    labels[::4] = -100
    labels[1:3] = IDS[:2]
    problem = {
        "hidden_policy": policy.to(dtype),
        "hidden_reference": (policy + gap * normal(N, H)).to(dtype),
        "head_weight": (normal(V, H) * 3 / H**0.5).to(dtype),
        "labels": labels,
        "kl_weight": torch.rand(N, generator=draw) * (torch.rand(N, generator=draw) < 0.6),
        "kl_beta": 0.7,
    }
    adapter = {"down": normal(R, H), "up": size * normal(V, R), "rows": size * normal(len(IDS), H)}
    return problem, adapter


def solve(module, problem, adapter, *, lora=True, rows=True, hidden=True, scale=1.0, **options):
    """The result and the gradients of everything trained."""
    leaves = {name: value.clone().requires_grad_() for name, value in adapter.items()}
    h = problem["hidden_policy"].clone().requires_grad_(hidden)
    wide = h.to(leaves["up"].dtype)
    if lora:
        options["low_rank"] = wide @ leaves["down"].T, leaves["up"]
    if rows:
        options["token_logits"] = IDS, wide @ leaves["rows"].T
    result = module.style_alignment_loss(**(problem | {"hidden_policy": h}), **options)
    (result.loss * scale).backward()
    gradients = {name: leaf.grad for name, leaf in (leaves | {"hidden": h}).items()}
    return result, {name: grad for name, grad in gradients.items() if grad is not None}


def assert_same(ours, truth, tolerance):
    (result, gradients), (expected, true_gradients) = ours, truth
    for name in ("loss", "nll", "kl"):
        found, wanted = getattr(result, name).double(), getattr(expected, name).double()
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * 1e-2)
    assert gradients.keys() == true_gradients.keys()
    for name, wanted in true_gradients.items():
        assert (gradients[name].double() - wanted).norm() <= tolerance * wanted.norm(), name


@both_directions
@pytest.mark.parametrize(("lora", "rows"), [(True, False), (False, True), (True, True)])
def test_agrees_with_dense_in_fp64(direction, lora, rows):
    problem, adapter = make_problem()
    options = {"kl_direction": direction, "lora": lora, "rows": rows}
    truth = solve(dense, problem, adapter, **options)
    ours = solve(chunked, problem, adapter, chunk_size=4, **options)
    assert_same(ours, truth, 1e-10)
    plain, _ = solve(dense, problem, adapter, **(options | {"lora": False, "rows": False}))
    assert abs(plain.loss - truth[0].loss) > 1e-2  # the terms do something


@both_directions
def test_dense_is_a_head_of_its_own_for_the_policy(direction):
    """The oracle's oracle: W + B A with the rows added, through torch's own functions."""
    problem, adapter = make_problem()
    result, _ = solve(dense, problem, adapter, kl_direction=direction)
    own = problem["head_weight"] + adapter["up"] @ adapter["down"]
    own = own.index_add(0, IDS, adapter["rows"])
    p = (problem["hidden_policy"] @ own.T).log_softmax(1)
    q = (problem["hidden_reference"] @ problem["head_weight"].T).log_softmax(1)
    pair = (q, p) if direction == "policy_ref" else (p, q)
    kl = F.kl_div(*pair, log_target=True, reduction="none").sum(1) * (problem["kl_weight"] > 0)
    torch.testing.assert_close(result.kl, kl, rtol=1e-10, atol=1e-12)
    nll = F.nll_loss(p, problem["labels"], reduction="none")
    torch.testing.assert_close(result.nll, nll, rtol=1e-10, atol=1e-12)


@both_directions
def test_gradcheck(direction):
    problem, adapter = make_problem()
    inputs = [problem.pop("hidden_policy")[:7], *adapter.values()]
    for name in ("hidden_reference", "labels", "kl_weight"):
        problem[name] = problem[name][:7]

    def loss(hidden, down, up, rows):
        return chunked.style_alignment_loss(
            hidden,
            **problem,
            kl_direction=direction,
            chunk_size=3,
            low_rank=(hidden @ down.T, up),
            token_logits=(IDS, hidden @ rows.T),
        ).loss

    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize("chunk_size", [1, 6, 1000])
def test_chunk_size_does_not_matter(chunk_size):
    problem, adapter = make_problem()
    truth = solve(chunked, problem, adapter)
    assert_same(solve(chunked, problem, adapter, chunk_size=chunk_size), truth, 1e-12)


@both_directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-3, 0.2])
def test_lower_precision_is_near_the_truth(direction, dtype, size):
    """With the reference's own hidden states the KL comes from the adapter's terms alone."""
    problem, adapter = make_problem(dtype=dtype, gap=0.0, size=size)
    problem |= {"labels": torch.full((N,), -100), "kl_weight": torch.ones(N), "kl_beta": 1.0}
    exact = {
        name: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in problem.items()
    }
    truth = solve(dense, exact, adapter, kl_direction=direction)
    adapter = {name: value.float() for name, value in adapter.items()}
    result, gradients = solve(
        chunked, problem, adapter, kl_direction=direction, num_kl=N * 10**4, scale=10.0**4
    )
    coarse = dtype != torch.float32
    assert truth[0].kl_sum > 0
    assert result.kl_sum.item() == pytest.approx(
        truth[0].kl_sum.item(), rel=5e-3 if coarse else 1e-4
    )
    for name, wanted in truth[1].items():
        error = (gradients[name].double() - wanted).norm() / wanted.norm()
        assert error < (0.02 if coarse else 1e-4), name


def test_a_fresh_adapter_has_a_kl_of_exactly_zero_and_a_gradient():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        problem, adapter = make_problem(dtype=dtype, gap=0.0, size=0.0)
        adapter = {name: value.float() for name, value in adapter.items()}
        result, gradients = solve(chunked, problem, adapter)
        assert result.kl_sum.item() == 0.0
        assert gradients["up"].norm() > 0
        assert gradients["rows"].norm() > 0
        assert gradients["up"].dtype == torch.float32


def test_a_frozen_body_gets_no_product_of_its_own(monkeypatch):
    """LoRA on the head alone: d loss/d h is needed by nobody."""
    from stylellm.objective import gradients as module

    seen = []
    add = module.Gradients.add

    def watched(self, *args):
        seen.append([part is not None for part in self.parts()])
        add(self, *args)

    monkeypatch.setattr(module.Gradients, "add", watched)
    problem, adapter = make_problem()
    truth = solve(dense, problem, adapter, hidden=False, rows=False)
    ours = solve(chunked, problem, adapter, hidden=False, rows=False)
    assert_same(ours, truth, 1e-10)
    assert "hidden" not in ours[1]
    assert all(wanted == [False, True, True, False] for wanted in seen)
    assert seen


@pytest.mark.parametrize("module", [chunked, dense])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low_rank": (torch.zeros(N, 3), torch.zeros(V, 4))}, r"expected \[29, r\] and \[97, r\]"),
        ({"low_rank": (torch.zeros(3, 4), torch.zeros(V, 4))}, "low_rank"),
        ({"token_logits": (IDS, torch.zeros(N, 2))}, r"ids \[K\] and logits \[29, K\]"),
        ({"token_logits": (IDS + 1, torch.zeros(N, 3))}, "within 0 to 96"),
        ({"token_logits": (IDS * 0, torch.zeros(N, 3))}, "each once"),
    ],
)
def test_wrong_shapes_are_named(module, options, message):
    with pytest.raises(StyleLLMError, match=message):
        module.style_alignment_loss(**make_problem()[0], **options)
