"""Datasets, trainers and a step by hand, for the tests of the trainer."""

from __future__ import annotations

import pytest
from training_runs import gradients_of, loss_by_hand, sums_by_hand
from transformers import TrainingArguments

from stylellm.masking.collate import StyleDataset, collator
from stylellm.masking.formats import Sentinels
from stylellm.masking.plan import MaskSettings
from stylellm.training.trainer import Objective, StyleTrainer


@pytest.fixture(scope="session")
def make_dataset(tiny_tokenizer, story):
    def make(num_author=7, num_general=1, **options):
        author = [
            {"text": story[i * 20 : i * 20 + 25 + 3 * i], "ends_document": i % 2 == 0}
            for i in range(num_author)
        ]
        general = [
            {"text": f"今天气温{i}度，请注意保暖。", "ends_document": True} for i in range(3)
        ]
        return StyleDataset(
            author,
            general,
            tiny_tokenizer,
            Sentinels.from_tokenizer(tiny_tokenizer),
            **{
                "settings": MaskSettings(),
                "max_length": 128,
                "seed": 5,
                "general_ratio": num_general / (num_author + num_general),
                "context_loss_weight": 0.5,
                **options,
            },
        )

    return make


@pytest.fixture(scope="session")
def objective(make_dataset):
    """Weights whose quotients by the counts of a whole epoch are exact in float32 too."""
    dataset = make_dataset()
    items = [dataset[i] for i in range(8)]
    num_kl, num_general = (sum(sum(i[k]) for i in items) for k in ("kl_mask", "general_mask"))
    return Objective(kl_beta=num_kl / 128, general_beta=num_general / 32)


@pytest.fixture
def make_trainer(tmp_path, tiny_tokenizer, objective):
    default = objective

    def make(
        policy,
        dataset,
        *,
        objective=default,
        measure=None,
        folder=None,
        passes=None,
        best=None,
        compile_layers=False,
        **options,
    ):
        arguments = TrainingArguments(
            **{
                "output_dir": str(folder or tmp_path / "run"),
                "use_cpu": True,
                "report_to": [],
                "disable_tqdm": True,
                "remove_unused_columns": False,
                "save_strategy": "no",
                "logging_steps": 1,
                "max_steps": 1,
                "per_device_train_batch_size": 4,
                "learning_rate": 1e-2,
                "max_grad_norm": 0.0,
                "dataloader_pin_memory": False,
                **options,
            }
        )
        return StyleTrainer(
            model=policy,
            args=arguments,
            train_dataset=dataset,
            eval_dataset=[] if measure else None,
            data_collator=collator(tiny_tokenizer.pad_token_id),
            processing_class=tiny_tokenizer,
            objective=objective,
            measure=measure,
            passes=passes,
            best=best,
            compile_layers=compile_layers,
        )

    return make


@pytest.fixture(scope="session")
def whole_step(make_policy, make_dataset, objective):
    """All 8 items as one step: policy, dataset, loss and gradients by hand, in float64."""
    policy, dataset = make_policy(trained=True, double=True), make_dataset()
    items = [dataset[i] for i in range(8)]
    policy.zero_grad()
    loss = loss_by_hand(policy, items, objective)
    loss.backward()
    sums, counts = sums_by_hand(policy, items)
    assert min(counts) > 0
    return {
        "loss": loss.item(),
        "gradients": gradients_of(policy),
        "parts": [s.item() / n for s, n in zip(sums, counts, strict=True)],
        "counts": counts,
    }
