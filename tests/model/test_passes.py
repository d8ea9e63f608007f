"""The two passes: documents that share a row, lower layers computed once, states from the cache."""

from __future__ import annotations

import pytest
import torch
from model_rows import A, B, C, assert_same_step, item, step

from stylellm.errors import ModelError
from stylellm.masking.collate import collate
from stylellm.model.hidden_cache import HiddenCache, fingerprint
from stylellm.model.load import load_base
from stylellm.model.passes import Passes, check_isolation, shared_layers_of
from stylellm.model.policy import add_lora, backbone_of, run_backbone
from tiny_models import save_tiny_model, save_tiny_tokenizer


@pytest.fixture(scope="module")
def deep_model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep") / "model"
    save_tiny_tokenizer(folder)
    save_tiny_model(folder, num_hidden_layers=4)
    return folder


@pytest.fixture
def make_deep(deep_model_dir):
    def make(*, attn="sdpa", double=True, **options):
        base = load_base(str(deep_model_dir), attn_implementation=attn)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            policy = add_lora(base, base_name="x", r=4, **{"dropout": 0.0, **options})
            for name, weight in policy.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.1)
        return policy.double() if double else policy

    return make


# Documents in one row.


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_a_document_does_not_see_its_neighbours(make_deep, attn):
    policy = make_deep(attn=attn, double=False).eval()
    backbone = backbone_of(policy)

    def states(*items, mask=False):
        batch = collate(items, pad_id=0)
        if mask:  # the control: an attention mask takes the isolation away
            return backbone(batch["input_ids"], attention_mask=batch["attention_mask"],
                            position_ids=batch["position_ids"], use_cache=False).last_hidden_state  # fmt: skip
        return run_backbone(backbone, batch["input_ids"], None, batch.get("position_ids"))

    with torch.no_grad():
        alone = [states(item(document))[0] for document in (A, B, C)]
        packed = states(item(A, B, C))[0]
        padded = states(item(A, B), item(C, A, B))[0]
        other = states(item(C, B, A))[0]
        leaking = states(item(A, B, C), mask=True)[0]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=1e-5)
    torch.testing.assert_close(padded[: len(A + B)], torch.cat(alone[:2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(other[len(C) : len(C + B)], alone[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(leaking[: len(A)], alone[0], rtol=0, atol=1e-5)  # the first one
    assert (leaking[len(A) : len(A + B)] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("padding_free", [False, True])
def test_packed_and_joined_rows_give_the_gradients_of_single_ones(make_deep, attn, padding_free):
    policy = make_deep(attn=attn)
    wanted = step(policy, [item(A), item(B), item(C), item(B)])
    found = step(policy, [item(A, B), item(C, B)], padding_free=padding_free)
    # transformers' eager attention takes its softmax in float32, whatever the model's type.
    assert_same_step(found, wanted, single=attn == "eager")


def test_isolation_is_tried_out(make_deep):
    policy = make_deep()
    check_isolation(policy)
    backbone = backbone_of(policy)
    forward = backbone.forward

    def leaking(*, input_ids, attention_mask, **kwargs):
        return forward(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), **kwargs)

    backbone.forward = leaking
    with pytest.raises(ModelError, match="see each other"):
        check_isolation(policy)


# Adapter on the upper layers only.


def test_shared_lower_layers_give_the_same_states_and_gradients(make_deep):
    items = [item(A, B), item(C)]
    for layers, shared in (([2, 3], 2), ([3], 3)):
        policy = make_deep(layers=layers)
        assert shared_layers_of(policy) == shared
        wanted = step(policy, items)
        assert all(f".layers.{n}." not in name for n in range(shared) for name in wanted[1])
        assert_same_step(step(policy, items, Passes(shared)), wanted)
        policy.get_base_model().gradient_checkpointing_enable()
        policy.train()
        assert_same_step(step(policy, items, Passes(shared)), wanted)
    assert shared_layers_of(make_deep()) == 0


def test_shared_lower_layers_run_once_and_are_restored(make_deep):
    policy, ran = make_deep(layers=[2, 3]), []
    layers = backbone_of(policy).layers
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    step(policy, [item(A)], Passes(2))
    assert ran == [0, 1, 2, 3, 2, 3]
    assert backbone_of(policy).layers is layers


def test_without_a_reference_nothing_is_shared(make_deep):
    policy = make_deep(layers=[2, 3])
    batch = collate([item(A)], pad_id=0)
    hidden, reference = Passes(2)(policy, policy, batch, with_reference=False)
    assert reference is None
    assert torch.equal(hidden, run_backbone(backbone_of(policy), batch["input_ids"]))


# The cache.


@pytest.mark.parametrize("padding_free", [False, True])
@pytest.mark.parametrize("shared", [0, 2])
def test_states_from_the_cache_give_the_same_gradients(make_deep, tmp_path, padding_free, shared):
    policy = make_deep(**({"layers": [2, 3]} if shared else {}))
    items = [item(A, B, repeats=[True, False]), item(C, repeats=[True]), item(B)]
    wanted = step(policy, items)
    cache = HiddenCache(tmp_path / "c")
    passes = Passes(shared, cache)
    for hits in (0, 2, 4):
        assert_same_step(step(policy, items, passes, padding_free=padding_free), wanted)
        assert (cache.hits, cache.misses) == (hits, 2)
    all_known = [item(C, repeats=[True]), item(A, repeats=[True])]
    assert_same_step(step(policy, all_known, passes), step(policy, all_known))
    cache.close()
    again = HiddenCache(tmp_path / "c")
    assert torch.equal(again.get(torch.tensor(C)), cache_states(policy, C))
    assert again.get(torch.tensor(B)) is None
    again.close()


def cache_states(policy, document):
    batch = collate([item(document)], pad_id=0)
    with torch.no_grad(), policy.disable_adapter():
        return run_backbone(backbone_of(policy), batch["input_ids"])[0]


def test_known_rows_are_not_run(make_deep, tmp_path, monkeypatch):
    policy, sizes = make_deep(), []
    cache = HiddenCache(tmp_path)
    passes = Passes(0, cache)
    items = [item(A, repeats=[True]), item(C)]
    backbone_of(policy).register_forward_pre_hook(
        lambda _m, _args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    step(policy, items, passes)
    step(policy, items, passes)
    assert sizes == [2, 2, 1, 2]
    cache.close()


def test_a_cache_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    cache = HiddenCache(tmp_path)
    for document in (A, B, C):
        cache.put(torch.tensor(document), torch.randn(len(document), 8, dtype=torch.bfloat16))
    kept = [cache.get(torch.tensor(d)) for d in (A, B)]
    assert kept[0].dtype == torch.bfloat16
    cache.close()
    data = tmp_path / "hidden-0.bin"
    data.write_bytes(data.read_bytes()[:-3])
    index = tmp_path / "index-0.jsonl"
    index.write_text(index.read_text("utf-8") + '["ab', "utf-8")
    again = HiddenCache(tmp_path)
    for document, states in zip((A, B), kept, strict=True):
        assert torch.equal(again.get(torch.tensor(document)), states)
    assert again.get(torch.tensor(C)) is None
    again.put(torch.tensor(C), torch.ones(len(C), 8))
    assert torch.equal(again.get(torch.tensor(C)), torch.ones(len(C), 8))
    again.close()
    third = HiddenCache(tmp_path)
    assert torch.equal(third.get(torch.tensor(C)), torch.ones(len(C), 8))
    third.close()


def test_two_runs_at_once_do_not_write_into_one_another(tmp_path):
    states = {number: torch.full((len(A), 8), float(number)) for number in range(6)}
    tokens = {number: torch.tensor(A) + number for number in states}
    one, two = HiddenCache(tmp_path), HiddenCache(tmp_path)
    for number in states:  # in turn, as two sweeps on one machine
        (one, two)[number % 2].put(tokens[number], states[number])
    for number in states:
        assert torch.equal((one, two)[number % 2].get(tokens[number]), states[number])
    one.close()
    two.close()
    third = HiddenCache(tmp_path)
    for number in states:
        assert torch.equal(third.get(tokens[number]), states[number])
    assert third.number == 0  # files that nobody writes any more are gone on with
    third.close()


def test_other_weights_have_another_fingerprint(make_deep):
    policy = make_deep()
    name = fingerprint(policy, {"dtype": "float32"})
    assert name == fingerprint(policy, {"dtype": "float32"})
    assert name != fingerprint(policy, {"dtype": "bfloat16"})
    with torch.no_grad():
        backbone_of(policy).layers[3].mlp.up_proj.weight[0, 0] += 1
    assert name != fingerprint(policy, {"dtype": "float32"})
