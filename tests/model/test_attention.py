"""Flash attention: when it is taken, what it is told, and that documents of one row stay apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_rows import A, B, C, assert_same_step, item, step
from torch.nn import functional
from transformers import modeling_flash_attention_utils as flash_utils

from stylellm.model import attention
from stylellm.model.attention import FLASH, chosen_attention, document_arguments
from stylellm.model.hidden_cache import HiddenCache
from stylellm.model.passes import Passes, check_isolation
from stylellm.model.policy import backbone_of, policy_hidden


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_flash_attention_where_it_runs(monkeypatch, there):
    monkeypatch.setattr(attention, "flash_runs_here", lambda: there)
    assert chosen_attention("auto", sixteen_bits=True) == (FLASH if there else "sdpa")
    assert chosen_attention("auto", sixteen_bits=False) == "sdpa"
    for asked in ("sdpa", "eager", FLASH):
        assert chosen_attention(asked, sixteen_bits=True) == asked


@pytest.mark.parametrize(
    ("package", "cuda", "capability", "runs"),
    [(True, True, (8, 6), True), (True, True, (7, 5), False), (True, False, (8, 6), False),
     (False, True, (9, 0), False)],
)  # fmt: skip
def test_what_flash_attention_needs(monkeypatch, package, cuda, capability, runs):
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: package or None)
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: package)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert attention.flash_runs_here() is runs


class Backbone:
    def __init__(self, name):
        self.config = type("Config", (), {"_attn_implementation": name})


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_the_arguments_are_those_that_transformers_reads_off_the_positions(lengths):
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    ours = document_arguments(Backbone(FLASH), positions)
    (q, k), (longest, _) = flash_utils.prepare_fa_kwargs_from_position_ids(positions)
    assert torch.equal(ours["cu_seq_lens_q"], q) and torch.equal(ours["cu_seq_lens_k"], k)
    assert ours["cu_seq_lens_q"].dtype == torch.int32
    assert ours["max_length_q"] == ours["max_length_k"] == int(longest) == max(lengths)


def test_other_attention_and_padded_rows_get_no_arguments():
    positions = torch.arange(6)[None]
    assert document_arguments(Backbone("sdpa"), positions) == {}
    assert document_arguments(Backbone(FLASH), None) == {}
    assert document_arguments(Backbone(FLASH), positions.expand(2, -1)) == {}


# transformers' own way to flash attention, with the kernel's functions written down for a CPU.


def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):
    """[B, T, heads, size], as the package's function of this name."""
    repeat = q.shape[2] // k.shape[2]
    k, v = (x.repeat_interleave(repeat, 2) for x in (k, v))
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=softmax_scale)
    return out.transpose(1, 2)


CALLS: list[list[int]] = []


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
    dropout_p=0.0, softmax_scale=None, causal=False,
):  # fmt: skip
    """[T, heads, size], documents one after another."""
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    lengths = cu_seqlens_q.diff().tolist()
    assert max_seqlen_q == max_seqlen_k == max(lengths)
    CALLS.append(lengths)
    parts = zip(*(x.split(lengths) for x in (q, k, v)), strict=True)
    options = {"softmax_scale": softmax_scale, "causal": causal}
    return torch.cat([flash_attn_func(*(x[None] for x in p), **options)[0] for p in parts])


@pytest.fixture
def make_flash(make_policy, monkeypatch):
    """A policy whose attention goes transformers' way of flash attention, and the same with sdpa."""
    functions = (flash_attn_func, flash_attn_varlen_func, None, None, None)
    process = flash_utils._lazy_define_process_function(flash_attn_varlen_func)
    monkeypatch.setattr(
        flash_utils, "lazy_import_flash_attention", lambda *_, **__: (functions, (process, dict))
    )
    monkeypatch.setattr(
        flash_utils, "_is_packed_sequence", lambda *_: pytest.fail("asked in each layer")
    )
    CALLS.clear()

    def make(name=FLASH, **options):
        policy = make_policy(trained=True, double=True, **options)
        backbone_of(policy).config._attn_implementation = name
        return policy

    return make


@pytest.mark.parametrize("options", [{}, {"layers": [1]}], ids=["all layers", "upper layer"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_row_without_padding_gives_the_gradients_of_single_documents(
    make_flash, options, checkpointing
):
    wanted = step(make_flash("sdpa", **options), [item(A), item(B), item(C), item(B)])
    policy, shared = make_flash(**options), 1 if options else 0
    if checkpointing:
        policy.get_base_model().gradient_checkpointing_enable()
        policy.train()
    found = step(policy, [item(A, B), item(C, B)], Passes(shared), padding_free=True)
    assert_same_step(found, wanted)
    assert CALLS and all(call == [len(x) for x in (A, B, C, B)] for call in CALLS)


def test_a_cached_reference_runs_the_unknown_documents_alone(make_flash, tmp_path):
    items = [item(A, B, repeats=[True, False]), item(C, repeats=[True])]
    wanted = step(make_flash("sdpa"), items)
    policy, cache = make_flash(), HiddenCache(tmp_path)
    for _ in range(2):
        assert_same_step(step(policy, items, Passes(0, cache), padding_free=True), wanted)
    assert [len(B)] in CALLS
    cache.close()


def test_a_wrapped_model_gets_the_arguments_too(make_flash):
    """As data-parallel training calls it: through the forward of the whole model."""
    policy = make_flash()
    ids = torch.tensor([[*A, *B]])
    positions = torch.tensor([[*range(len(A)), *range(len(B))]])
    wrapper = torch.nn.Sequential(policy)
    wrapper.forward = policy.forward
    hidden = policy_hidden(wrapper, policy, ids, None, positions)
    torch.testing.assert_close(hidden, policy_hidden(policy, policy, ids, None, positions))
    assert [[len(A), len(B)]] * 4 == CALLS


def test_isolation_is_tried_out_with_flash_attention_too(make_flash):
    check_isolation(make_flash())
    assert CALLS == [[5, 5]] * 4
