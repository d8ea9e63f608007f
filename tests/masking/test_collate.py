"""The dataset that the Trainer reads: masks of the epoch, general windows, padding, workers."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from stylellm.masking.collate import StyleDataset, collate, collator, encoder, without_items
from stylellm.masking.formats import IGNORE, Sentinels, build_example
from stylellm.masking.plan import MaskSettings


def windows(story, count=12, length=60):
    starts = [(i * 17) % (len(story) - length) for i in range(count)]
    return [
        {"text": story[a : a + length], "ends_document": i % 3 == 0} for i, a in enumerate(starts)
    ]


@pytest.fixture(scope="module")
def author(story):
    return windows(story)


@pytest.fixture(scope="module")
def general():
    texts = ["今天的会议将讨论三个议题。", "气温下降，请注意保暖！", "该产品已经通过测试。"]
    return [{"text": text * 2, "ends_document": True} for text in texts]


@pytest.fixture
def make_dataset(tiny_tokenizer, author, general):
    def make(**options):
        given = {
            "author": author,
            "general": general,
            "settings": MaskSettings(),
            "max_length": 128,
            "seed": 5,
            **options,
        }
        sentinels = Sentinels.from_tokenizer(tiny_tokenizer)
        return StyleDataset(tokenizer=tiny_tokenizer, sentinels=sentinels, **given)

    return make


def all_items(dataset):
    return [dataset[i] for i in range(len(dataset))]


def test_author_items_are_the_examples_of_seed_epoch_and_index(
    make_dataset, tiny_tokenizer, author
):
    dataset = make_dataset(context_loss_weight=0.5, order="native", kl_positions="all")
    dataset.set_epoch(3)
    for index, window in enumerate(author):
        example = build_example(
            window["text"],
            encoder(tiny_tokenizer),
            Sentinels.from_tokenizer(tiny_tokenizer),
            MaskSettings(),
            seed=5,
            epoch=3,
            index=index,
            max_length=128,
            order="native",
            ends_document=window["ends_document"],
            context_loss_weight=0.5,
            kl_positions="all",
        )
        item = dataset[index]
        for key in ("input_ids", "labels", "label_weight", "kl_mask"):
            assert item[key] == getattr(example, key)
        assert not any(item["general_mask"])


def test_set_epoch_changes_the_masks_and_comes_back(make_dataset):
    dataset = make_dataset()
    first = all_items(dataset)
    dataset.set_epoch(1)
    assert dataset.epoch == 1
    second = all_items(dataset)
    changed = sum(a != b for a, b in zip(first[:12], second[:12], strict=True))
    assert changed >= 9
    dataset.set_epoch(0)
    assert all_items(dataset) == first


def test_general_windows_have_kl_positions_and_no_labels(make_dataset, tiny_tokenizer, general):
    dataset = make_dataset(general_ratio=0.2)
    assert len(dataset) == 12 + 3  # 3 of 15 is a fifth
    for index in range(12, 15):
        item = dataset[index]
        assert set(item["labels"]) == {IGNORE}
        assert not any(item["label_weight"])
        assert not any(item["kl_mask"])
        assert item["general_mask"] == [True] * (len(item["input_ids"]) - 1) + [False]
        ids = [*encoder(tiny_tokenizer)(general[index - 12]["text"]), tiny_tokenizer.eos_token_id]
        assert item["input_ids"] == ids


def test_iterating_ends_after_the_last_item(make_dataset):
    dataset = make_dataset(general_ratio=0.2)
    assert sum(1 for _, _ in zip(range(100), dataset, strict=False)) == len(dataset) == 15
    for index in (-1, 15, 100):
        with pytest.raises(IndexError):
            dataset[index]


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.25, 0.5])
def test_general_ratio_is_the_share_of_all_items(make_dataset, story, ratio):
    dataset = make_dataset(author=windows(story, 400), general_ratio=ratio)
    share = dataset.num_general / len(dataset)
    assert share == pytest.approx(ratio, abs=0.002)


def test_without_general_text_or_ratio_there_are_only_author_windows(make_dataset):
    assert len(make_dataset(general=[])) == 12
    assert len(make_dataset(general_ratio=0)) == 12


def test_a_small_ratio_still_gives_one_general_window(make_dataset):
    assert make_dataset(general_ratio=0.001).num_general == 1


def test_general_windows_are_taken_in_turn_over_the_epochs(make_dataset, general, tiny_tokenizer):
    dataset = make_dataset(general_ratio=2 / 14)
    assert dataset.num_general == 2
    taken = []
    for epoch in range(3):
        dataset.set_epoch(epoch)
        taken += [dataset.example(12).text, dataset.example(13).text]
    order = [window["text"] for window in general]
    assert taken == [order[i] for i in (0, 1, 2, 0, 1, 2)]


def test_collate_pads_on_the_right():
    items = [
        {
            "input_ids": [5, 6, 7],
            "labels": [6, 7, IGNORE],
            "label_weight": [1.0, 0.5, 0.0],
            "kl_mask": [True, True, False],
            "general_mask": [False] * 3,
        },
        {
            "input_ids": [8],
            "labels": [IGNORE],
            "label_weight": [0.0],
            "kl_mask": [False],
            "general_mask": [True],
        },
    ]
    batch = collate(items, pad_id=9)
    expected = {
        "input_ids": torch.tensor([[5, 6, 7], [8, 9, 9]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]]),
        "labels": torch.tensor([[6, 7, -100], [-100, -100, -100]]),
        "label_weight": torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]),
        "kl_mask": torch.tensor([[True, True, False], [False, False, False]]),
        "general_mask": torch.tensor([[False, False, False], [True, False, False]]),
    }
    assert batch.keys() == expected.keys()
    for key, value in expected.items():
        assert batch[key].dtype == value.dtype, key
        assert torch.equal(batch[key], value), key


def batches_of(loader):
    return [{key: value.tolist() for key, value in batch.items()} for batch in loader]


@pytest.mark.slow  # two processes import torch
def test_spawned_workers_give_the_same_items_and_follow_the_epoch(make_dataset, tiny_tokenizer):
    dataset = make_dataset(general_ratio=0.2)
    options = {"batch_size": 4, "collate_fn": collator(tiny_tokenizer.pad_token_id)}
    alone = DataLoader(dataset, **options)
    workers = DataLoader(
        dataset,
        num_workers=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
        **options,
    )
    seen = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        seen.append(batches_of(workers))
        assert seen[-1] == batches_of(alone)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("padding_free", [False, True])
def test_items_that_fill_up_a_batch_are_not_counted(make_dataset, tiny_tokenizer, padding_free):
    items = all_items(make_dataset(general_ratio=0.2))[-5:]
    options = {"pad_id": tiny_tokenizer.pad_token_id, "padding_free": padding_free}
    whole, cut = collate(items, **options), without_items(collate(items, **options), 3)
    alone = collate(items[:3], **options)
    for key in ("labels", "label_weight", "kl_mask", "general_mask"):
        unscored = IGNORE if key == "labels" else 0
        assert sum((cut[key] != unscored).sum(1)) == sum((alone[key] != unscored).sum(1))
        assert (cut[key] == whole[key]).logical_or(cut[key] == unscored).all()
    assert torch.equal(cut["input_ids"], whole["input_ids"])
    for key, value in without_items(whole, 5).items():
        assert torch.equal(value, whole[key])
