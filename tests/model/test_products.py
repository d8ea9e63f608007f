"""Products through float32 are those of 16-bit matrices, and are taken where they are faster."""

from __future__ import annotations

import pytest
import torch
from backbone_steps import distance, mixed, step
from hypothesis import given
from hypothesis import strategies as st

from stylellm.model import products
from stylellm.model.lean_lora import use_lean_lora
from stylellm.model.products import FrozenLinear, product, product_back, use_fast_products

FORMATS = [torch.bfloat16, torch.float16]


@pytest.fixture(params=[True, False], ids=["wide", "plain"])
def wide(request, monkeypatch):
    """Whichever is faster on this machine, both are tried."""
    monkeypatch.setattr(products, "wide_is_faster", lambda dtype: request.param)
    return request.param


def draw(*shape, dtype=torch.bfloat16, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_rounded_once(found, exact, dtype):
    """Within the rounding of the result and the error of a float32 sum."""
    step = torch.finfo(dtype).eps
    assert found.dtype == dtype
    assert ((found.double() - exact).abs() <= step * (exact.abs() + 0.01)).all()


@given(
    rows=st.integers(1, 20),
    inputs=st.integers(1, 20),
    outputs=st.integers(1, 50),
    elements=st.integers(1, 300),
    block_rows=st.integers(1, 20),
    dtype=st.sampled_from(FORMATS),
)
def test_every_cut_gives_the_same_products(rows, inputs, outputs, elements, block_rows, dtype):
    x, weight = draw(rows, inputs, dtype=dtype), draw(outputs, inputs, dtype=dtype, seed=1)
    gradient = draw(rows, outputs, dtype=dtype, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "BLOCK_ELEMENTS", elements)
        patch.setattr(products, "BLOCK_ROWS", block_rows)
        found = products._wide_product(x, weight, dtype)
        back = products._wide_product_back(gradient, weight, dtype)
    assert_rounded_once(found, x.double() @ weight.double().T, dtype)
    assert_rounded_once(back, gradient.double() @ weight.double(), dtype)


@pytest.mark.parametrize("dtype", FORMATS)
def test_in_memory_that_is_there_and_without(wide, dtype):
    x, weight = draw(70, 30, dtype=dtype), draw(40, 30, dtype=dtype, seed=1)
    memory = torch.full((90, 40), 7.0, dtype=dtype)
    found = product(x, weight, out=memory[:70])
    assert found.data_ptr() == memory.data_ptr()
    assert torch.equal(found, product(x, weight))
    assert_rounded_once(found, x.double() @ weight.double().T, dtype)
    assert (memory[70:] == 7).all()
    assert_rounded_once(product_back(found, weight), found.double() @ weight.double(), dtype)


def test_what_goes_through_float32(wide, monkeypatch):
    seen = []
    monkeypatch.setattr(
        products, "_wide_product", lambda x, w, *_: seen.append(x.dtype) or x.new_zeros(1)
    )
    cpu = torch.device("cpu")
    assert products.widened(torch.bfloat16, cpu, 64) is wide
    assert not products.widened(torch.bfloat16, cpu, 63)
    assert not products.widened(torch.float32, cpu, 64)
    assert not products.widened(torch.bfloat16, torch.device("meta"), 64)
    for dtype in (torch.float32, torch.bfloat16):
        product(draw(64, 8, dtype=dtype), draw(8, 8, dtype=dtype))
    assert seen == [torch.bfloat16] * wide


@pytest.mark.parametrize(
    ("plain", "wide", "taken"), [(1.0, 0.5, True), (1.0, 0.9, False), (0.5, 1.0, False)]
)
def test_the_faster_one_is_taken(monkeypatch, plain, wide, taken):
    monkeypatch.setattr(products, "_fastest", lambda *_: [plain, wide])
    assert products.wide_is_faster.__wrapped__(torch.bfloat16) is taken


def test_the_trial_is_the_same_under_autocast(monkeypatch):
    """Autocast would turn the float32 product into a 16-bit one, and so time the wrong thing."""
    formats = []
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda x, *a, **k: formats.append(x.dtype) or mm(x, *a, **k))
    with torch.autocast("cpu", torch.bfloat16):
        products.wide_is_faster.__wrapped__(torch.bfloat16)
        x, weight = draw(70, 300), draw(40, 300, seed=1)
        found = products._wide_product(x, weight, torch.bfloat16)
        back = products._wide_product_back(found, weight, torch.bfloat16)
    assert set(formats) == {torch.float32}
    assert torch.equal(found, products._wide_product(x, weight, torch.bfloat16))
    assert torch.equal(back, products._wide_product_back(found, weight, torch.bfloat16))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("base", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_frozen_layer_is_torchs_value_and_gradient(wide, bias, base, autocast):
    torch.manual_seed(0)
    plain = torch.nn.Linear(48, 80, bias=bias).to(base).requires_grad_(False)
    exact = torch.nn.Linear(48, 80, bias=bias).double().requires_grad_(False)
    exact.load_state_dict({k: v.bfloat16().double() for k, v in plain.state_dict().items()})
    layer = torch.nn.Linear(48, 80, bias=bias).to(base).requires_grad_(False)
    layer.load_state_dict(plain.state_dict())
    assert use_fast_products(layer) == 1
    assert use_fast_products(layer) == 0

    def run(layer, dtype):
        x = draw(3, 40, 48, dtype=torch.float64, seed=1).bfloat16().to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast and dtype != torch.float64):
            result = layer(x)
        result.backward(draw(3, 40, 80, seed=2).to(result.dtype))
        assert x.grad.dtype == dtype
        return result, x.grad

    found, wanted, truth = run(layer, base), run(plain, base), run(exact, torch.float64)
    sixteen = autocast or base == torch.bfloat16
    if sixteen and wide:
        assert not found[0]._is_view()  # so that an adapter can be added in its place
    for mine, other, true in zip(found, wanted, truth, strict=True):
        assert mine.dtype == other.dtype
        if not (sixteen and wide):
            assert torch.equal(mine, other)  # torch's own
        else:
            assert 0 < distance(mine.double(), true) < 1.1 * distance(other.double(), true)


def test_float64_and_few_rows_and_trained_layers_stay_torchs(monkeypatch):
    monkeypatch.setattr(products, "wide_is_faster", lambda dtype: True)
    monkeypatch.setattr(products._FrozenProduct, "apply", None)  # would raise
    layer = torch.nn.Linear(8, 8).bfloat16()
    assert use_fast_products(layer) == 0  # it is trained
    layer.requires_grad_(False)
    assert use_fast_products(layer) == 1
    assert layer(draw(63, 8)).shape == (63, 8)
    assert layer(draw(0, 8)).shape == (0, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.double()(draw(64, 8, dtype=torch.float64)).dtype == torch.float64
    layer.bfloat16().requires_grad_(True)
    layer(draw(64, 8)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_policy_with_it_is_no_further_from_float64(make_policy, wide, checkpointing):
    """Adapter, frozen layers and checkpointing together, beside peft's own layers on torch's products."""
    ids = torch.arange(5, 149).reshape(2, 72)

    def policy(base):
        found = mixed(make_policy(trained=True, dropout=0.0), base)
        if checkpointing:
            found.get_base_model().gradient_checkpointing_enable()
        return found

    lean = policy(torch.bfloat16)
    assert use_lean_lora(lean) > 0
    assert use_fast_products(lean) > 0
    assert use_lean_lora(lean) == 0
    assert any(type(layer) is FrozenLinear for layer in lean.modules())
    fast = step(lean, ids, compute=torch.bfloat16)
    plain = step(policy(torch.bfloat16), ids, compute=torch.bfloat16)
    truth = step(policy(torch.float64), ids)
    for mine, other, true in zip(fast, plain, truth, strict=True):
        assert 0 < distance(mine, true) < 1.15 * distance(other, true)
