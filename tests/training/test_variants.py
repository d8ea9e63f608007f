"""Every way of computing a step gives the gradients of the plain one."""

from __future__ import annotations

import pytest
import torch
from training_runs import Recorder, gradients_of, loss_by_hand, training_rows

from stylellm.masking.collate import collator
from stylellm.model.hidden_cache import HiddenCache
from stylellm.model.load import load_base
from stylellm.model.passes import Passes, shared_layers_of
from stylellm.model.policy import add_lora
from stylellm.training.trainer import Objective


def step_of(make_trainer, policy, dataset, **options):
    trainer = make_trainer(policy, dataset, per_device_train_batch_size=8, **options)
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    [gradients] = recorder.gradients
    return gradients, training_rows(trainer)[0]["loss"]


def step_by_hand(policy, items, objective):
    policy.zero_grad()
    loss = loss_by_hand(policy, items, objective)
    loss.backward()
    gradients = gradients_of(policy)
    policy.zero_grad()
    return gradients, loss.item()


def assert_same(found, wanted):
    assert found[1] == pytest.approx(wanted[1], rel=1e-6)
    assert found[0].keys() == wanted[0].keys()
    for name, gradient in wanted[0].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-8, atol=1e-11, msg=name)
    assert max(gradient.abs().max() for gradient in wanted[0].values()) > 1e-3


@pytest.mark.parametrize(
    "lora",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"trained_tokens": [527, 528]},
        {"target_modules": ["q_proj", "down_proj"]},
    ],
    ids=lambda lora: next(iter(lora)),
)
def test_kinds_of_adapters(make_policy, make_dataset, make_trainer, objective, lora):
    policy, dataset = make_policy(trained=True, double=True, **lora), make_dataset()
    for name, weight in policy.named_parameters():
        if weight.requires_grad and "lora_B" not in name:  # away from where the two models agree
            torch.nn.init.normal_(weight, std=0.2)
    wanted = step_by_hand(policy, [dataset[i] for i in range(8)], objective)
    assert_same(step_of(make_trainer, policy, dataset), wanted)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base(tiny_model_dir, make_dataset, make_trainer, objective, bits, monkeypatch):
    bnb = pytest.importorskip("bitsandbytes")
    # Without the layout that bitsandbytes gives weights for inference on some CPUs.
    monkeypatch.setattr(bnb.nn.modules, "has_avx512bf16", lambda: False)
    base = load_base(str(tiny_model_dir), dtype="float32", **{f"load_in_{bits}bit": True})
    assert {type(layer).__name__ for layer in base.modules()} & {"Linear4bit", "Linear8bitLt"}
    torch.manual_seed(0)
    policy, dataset = add_lora(base, base_name="x", r=4, dropout=0.0), make_dataset()
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    # 8 bits round each batch of activations by itself, so that padding alone moves the numbers.
    near = {"rtol": 1e-3, "atol": 1e-5} if bits == 4 else {"rtol": 0.2, "atol": 0.02}
    wanted = step_by_hand(policy, [dataset[i] for i in range(8)], objective)
    found = step_of(make_trainer, policy, dataset)
    assert found[1] == pytest.approx(wanted[1], rel=1e-5 if bits == 4 else 1e-2)
    for name, gradient in wanted[0].items():
        torch.testing.assert_close(found[0][name], gradient, **near, msg=name)


def test_an_adapter_on_the_upper_layers(make_policy, make_dataset, make_trainer, objective):
    policy, dataset = make_policy(trained=True, double=True, layers=[1]), make_dataset()
    wanted = step_by_hand(policy, [dataset[i] for i in range(8)], objective)
    assert shared_layers_of(policy) == 1
    assert_same(step_of(make_trainer, policy, dataset, passes=Passes(1)), wanted)


def test_a_cached_reference(make_policy, make_dataset, make_trainer, objective, tmp_path):
    policy, dataset = make_policy(trained=True, double=True), make_dataset()
    wanted = step_by_hand(policy, [dataset[i] for i in range(8)], objective)
    cache = HiddenCache(tmp_path / "cache")
    for _ in range(2):
        assert_same(step_of(make_trainer, policy, dataset, passes=Passes(0, cache),
                            learning_rate=0.0), wanted)  # fmt: skip
    assert cache.hits == cache.misses > 0
    cache.close()


@pytest.fixture
def packed(story, make_dataset):
    """Four windows, three of them of several documents."""
    texts = [[story[a : a + n] for a, n in part] for part in (
        [(0, 30), (40, 20), (90, 25)], [(120, 60)], [(10, 15), (180, 40)], [(60, 22), (150, 33)]
    )]  # fmt: skip
    windows = [
        {"text": "".join(part), "ends_document": True, "documents": [len(text) for text in part]}
        for part in texts
    ]
    dataset = make_dataset()
    dataset.author, dataset.num_general = windows, 1
    return dataset, [text for part in texts for text in part]


def singles(dataset):
    """The documents of all rows as items of their own."""
    keys = ("input_ids", "labels", "label_weight", "kl_mask", "general_mask")
    items = []
    for index in range(len(dataset)):
        item, start = dataset[index], 0
        for length in item["lengths"]:
            items.append({key: item[key][start : start + length] for key in keys})
            start += length
    return items


def test_every_document_of_a_packed_window_has_its_own_masks_and_fits(packed):
    dataset, texts = packed
    assert len(dataset) == 5
    drawn = []
    for epoch in range(3):
        dataset.set_epoch(epoch)
        examples = [example for index in range(4) for example in dataset.examples(index)]
        assert [example.text in text for example, text in zip(examples, texts, strict=True)]
        assert all(len(dataset[i]["input_ids"]) <= dataset.max_length for i in range(5))
        drawn.append([example.input_ids for example in examples])
        assert all(item["labels"][-1] == -100 for item in singles(dataset))
    assert all(len({tuple(ids[i]) for ids in drawn}) > 1 for i in (0, 2))


@pytest.mark.parametrize("padding_free", [False, True])
def test_packed_windows(make_policy, make_trainer, packed, tiny_tokenizer, padding_free):
    policy = make_policy(trained=True, double=True)
    dataset, _ = packed
    items = singles(dataset)
    counts = [sum(sum(item[key]) for item in items) for key in ("kl_mask", "general_mask")]
    objective = Objective(kl_beta=counts[0] / 128, general_beta=counts[1] / 32)  # exact in float32
    wanted = step_by_hand(policy, items, objective)
    trainer = make_trainer(policy, dataset, objective=objective, per_device_train_batch_size=8)
    trainer.data_collator = collator(tiny_tokenizer.pad_token_id, padding_free=padding_free)
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    assert_same((recorder.gradients[0], training_rows(trainer)[0]["loss"]), wanted)


def test_batches_of_like_length(make_policy, make_dataset, make_trainer):
    """LengthGroupedSampler gets lengths that fit the items, without formatting them first."""
    dataset = make_dataset(num_author=30, num_general=3)
    trainer = make_trainer(
        make_policy(), dataset, train_sampling_strategy="group_by_length",
        per_device_train_batch_size=3,
    )  # fmt: skip
    lengths = trainer._get_train_sampler().lengths
    assert len(lengths) == len(dataset)
    real = [len(item["input_ids"]) for item in dataset]
    assert all(abs(a - b) < 40 for a, b in zip(lengths, real, strict=True))
    grouped = [real[i] for i in trainer._get_train_sampler()]
    spread = [max(grouped[i : i + 3]) - min(grouped[i : i + 3]) for i in range(0, 33, 3)]
    assert sum(spread) < 11 * (max(real) - min(real)) / 2
