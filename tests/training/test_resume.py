"""Interrupted and resumed runs equal the uninterrupted one, with every option."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from training_runs import Epochs, adapter
from transformers import TrainerCallback

from stylellm.generation.sampler import Sampling, generate
from stylellm.masking.collate import collator
from stylellm.model.hidden_cache import HiddenCache
from stylellm.model.passes import Passes
from stylellm.training.callbacks import JsonlCallback, SampleCallback
from stylellm.training.run import last_checkpoint

PER_EPOCH = 4  # 13 author and general items in batches of 2, two batches a step: 7 -> 4 steps


class Interrupted(Exception):
    pass


class Interrupt(TrainerCallback):
    """Stops a run at the end of a step, before anything of that step is logged or saved."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Interrupted


@pytest.fixture
def start_run(make_policy, make_dataset, make_trainer, tiny_tokenizer):
    """A run of three epochs with dropout, evaluation and sample texts, as the command builds it."""

    def start(folder, *, lora=None, packed=False, joined=False, cached=False, **options):
        # Whatever random state a new process has must not matter.
        torch.manual_seed(torch.seed() % 2**31)
        policy = make_policy(seed=1, dropout=0.2, **(lora or {}))
        dataset = make_dataset(num_author=11, num_general=2)
        if packed:
            dataset.author = [
                {**window, "documents": [9, len(window["text"]) - 9]} for window in dataset.author
            ]
        shared = 1 if "layers" in (lora or {}) else 0
        passes = Passes(shared, HiddenCache(folder / "cache") if cached else None)

        def sample(model):
            drawing = Sampling(max_new_tokens=3)
            [text] = generate(model, tiny_tokenizer, ["剑光"], drawing, seed=1)
            return [{"prompt": "剑光", "text": text}]

        def measure(model):
            return {"loss": float(sum(w.sum() for w in adapter(model).values()))}

        trainer = make_trainer(
            policy,
            dataset,
            measure=measure,
            folder=folder,
            passes=passes,
            **{
                "max_steps": -1,
                "num_train_epochs": 3,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "lr_scheduler_type": "cosine",
                "warmup_steps": 2,
                "max_grad_norm": 1.0,
                "eval_strategy": "steps",
                "eval_steps": 3,
                "save_strategy": "steps",
                "save_steps": 1,
                **options,
            },
        )
        for callback in (JsonlCallback(folder), SampleCallback(folder, sample)):
            trainer.add_callback(callback)
        if joined:
            trainer.data_collator = collator(tiny_tokenizer.pad_token_id, padding_free=True)
        return trainer

    return start


@pytest.fixture(scope="module")
def whole_runs():
    return {}


def log_rows(folder, name="train_log.jsonl"):
    """The rows of a log without what is measured by the clock."""
    clock = ("tokens_per_second", "train_runtime", "train_samples_per_second")
    clock += ("train_steps_per_second", "total_flos", "train_loss")
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k not in clock} for row in rows]


@pytest.mark.parametrize("stop_at", [3, 4, 5, 6, 9, 11])
def test_an_interrupted_run_resumes_to_the_same_weights(
    start_run, whole_runs, tmp_path_factory, stop_at
):
    if not whole_runs:
        folder = tmp_path_factory.mktemp("whole")
        trainer = start_run(folder)
        trainer.train()
        assert trainer.state.global_step == 3 * PER_EPOCH
        whole_runs.update(weights=adapter(trainer.model), folder=folder)
    folder = tmp_path_factory.mktemp("cut")
    trainer = start_run(folder)
    trainer.add_callback(Interrupt(stop_at))
    with pytest.raises(Interrupted):
        trainer.train()
    checkpoint = last_checkpoint(folder)
    assert checkpoint.name == f"checkpoint-{stop_at - 1}"
    resumed = start_run(folder)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, weight in adapter(resumed.model).items():
        assert torch.equal(weight, whole_runs["weights"][name]), name
    for log in ("train_log.jsonl", "samples.jsonl"):
        assert log_rows(folder, log) == log_rows(whole_runs["folder"], log)


def assert_resumes(start_run, tmp_path, **options):
    """Whatever a run's way of computing, its second half can be a process of its own."""
    whole = start_run(tmp_path / "whole", **options)
    whole.train()
    cut = start_run(tmp_path / "cut", **options)
    cut.add_callback(Interrupt(6))
    with pytest.raises(Interrupted):
        cut.train()
    if cut.passes.cache is not None:
        cut.passes.cache.close()
    resumed = start_run(tmp_path / "cut", **options)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path / "cut")))
    wanted = adapter(whole.model)
    # A cached state was computed beside other windows, whose padding moves its last digit.
    near = {"rtol": 1e-3, "atol": 1e-5} if options.get("cached") else {"rtol": 0, "atol": 0}
    for name, weight in adapter(resumed.model).items():
        torch.testing.assert_close(weight, wanted[name], **near, msg=name)
    if options.get("cached"):
        assert resumed.passes.cache.hits > 0


@pytest.mark.parametrize(
    "options",
    [
        {"packed": True},
        {"joined": True, "packed": True},
        {"cached": True},
        {"lora": {"layers": [1]}},
        {"lora": {"use_dora": True, "trained_tokens": [7, 300], "target_modules": ["q_proj"]}},
        {"lora": {"target_modules": ["v_proj", "lm_head"]}, "optim": "adafactor"},
        {"lr_scheduler_type": "reduce_lr_on_plateau", "optim": "sgd", "eval_steps": 1},
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 4}},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_every_way_of_computing_resumes(start_run, tmp_path, options):
    assert_resumes(start_run, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"train_sampling_strategy": "group_by_length"},
        {"accelerator_config": {"use_seedable_sampler": False}},
        {"dataloader_num_workers": 2, "dataloader_persistent_workers": True},
        {"data_seed": 9, "gradient_checkpointing": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_way_of_reading_the_data_resumes_exactly(start_run, tmp_path, options):
    assert_resumes(start_run, tmp_path, **options)


def test_a_resumed_epoch_goes_on_with_its_own_masks(start_run, tmp_path):
    trainer = start_run(tmp_path)
    trainer.add_callback(Interrupt(7))
    with pytest.raises(Interrupted):
        trainer.train()
    resumed = start_run(tmp_path)
    epochs = Epochs(resumed.train_dataset)
    resumed.add_callback(epochs)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path)))
    assert epochs.seen == [1, 1, 2, 2, 2, 2]  # steps 7 and 8 end the second epoch


def test_a_checkpoint_cut_off_while_it_was_written_is_passed_over(start_run, tmp_path):
    trainer = start_run(tmp_path)
    trainer.add_callback(Interrupt(5))
    with pytest.raises(Interrupted):
        trainer.train()
    (tmp_path / "checkpoint-4" / "trainer_state.json").unlink()
    shutil.copytree(tmp_path / "checkpoint-3", tmp_path / "checkpoint-9")
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text("{", encoding="utf-8")
    assert last_checkpoint(tmp_path).name == "checkpoint-3"
