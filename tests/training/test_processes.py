"""Two processes on one machine: the same step as one process that sees all the data."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

WINDOWS = 8
CASES = {
    "plain": {},
    "upper layer": {"layers": [1]},  # of two
    # Windows that do not divide among the processes: they get some twice to have as many each.
    "five windows": {"windows": 5},
    "six, joined": {"windows": 6, "padding_free": True},
    "steered": {"target_kl": 1e-3, "targets": ["q_proj", "lm_head"], "tokens": [7, 300]},
}
PATIENCE = 300
"""Seconds after which processes that wait for each other are ended."""


def join_group(rank: int, world: int, out: str) -> None:
    """Meets through a file and over the loopback alone: no name is looked up, no port is chosen."""
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "GLOO_SOCKET_IFNAME": loopback,
    }  # fmt: skip
    torch.distributed.init_process_group(
        "gloo",
        init_method=Path(f"{out}-meet").absolute().as_uri(),
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=PATIENCE),
    )


def train(rank: int, world: int, batch: int, accumulation: int, model_dir: str, out: str) -> None:
    """One process of two runs of two epochs of one step; rank 0 keeps gradients and logs."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    stacks = Path(f"{out}-{rank}.stacks").open("w", encoding="utf-8")  # noqa: SIM115
    faulthandler.dump_traceback_later(PATIENCE - 20, file=stacks)
    if world > 1:
        join_group(rank, world, out)
    from transformers import TrainerCallback, TrainingArguments

    from stylellm.masking.collate import StyleDataset, collator
    from stylellm.masking.formats import Sentinels
    from stylellm.masking.plan import MaskSettings
    from stylellm.model.load import load_base, load_tokenizer
    from stylellm.model.passes import Passes
    from stylellm.model.policy import add_lora
    from stylellm.training.trainer import Objective, StyleTrainer
    from tiny_models import STORY

    class Keep(TrainerCallback):
        def __init__(self, dataset):
            self.dataset, self.steps = dataset, []

        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            named = model.named_parameters()
            grads = {n.removeprefix("module."): w.grad.clone() for n, w in named if w.requires_grad}
            self.steps.append((self.dataset.epoch, grads))

    tokenizer = load_tokenizer(model_dir)
    author = [{"text": STORY[i * 20 : i * 20 + 40], "ends_document": True} for i in range(WINDOWS)]
    general = [{"text": "今天气温三度，请注意保暖。", "ends_document": True}]
    results = {}
    for name, case in CASES.items():
        torch.manual_seed(0)
        policy = add_lora(
            load_base(model_dir), base_name=model_dir, r=4, dropout=0.0, layers=case.get("layers"),
            target_modules=case.get("targets", "all-linear"), trained_tokens=case.get("tokens", ()),
        )  # fmt: skip
        windows = case.get("windows", WINDOWS)
        for part, weight in policy.named_parameters():
            if "lora_B" in part:
                torch.nn.init.normal_(weight, std=0.1)
        dataset = StyleDataset(
            author[: windows - 1], general, tokenizer, Sentinels.from_tokenizer(tokenizer), MaskSettings(),
            max_length=128, seed=5, general_ratio=1 / windows,
        )  # fmt: skip
        trainer = StyleTrainer(
            model=policy.double(),
            args=TrainingArguments(
                output_dir=f"{out}-run",
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                save_strategy="no",
                logging_steps=1,
                num_train_epochs=2,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=accumulation,
                learning_rate=0.0,
                max_grad_norm=0.0,
                dataloader_pin_memory=False,
                ddp_backend="gloo" if world > 1 else None,
            ),
            train_dataset=dataset,
            data_collator=collator(
                tokenizer.pad_token_id, padding_free=case.get("padding_free", False)
            ),
            objective=Objective(kl_beta=0.5, general_beta=0.25, target_kl=case.get("target_kl")),
            passes=Passes(1 if "layers" in case else 0),
        )
        keep = Keep(dataset)
        trainer.add_callback(keep)
        trainer.train()
        rows = [row for row in trainer.state.log_history if "reconstruction" in row]
        results[name] = {"steps": keep.steps, "rows": rows}
    if rank == 0:
        torch.save(results, out)
    faulthandler.cancel_dump_traceback_later()
    if world > 1:
        torch.distributed.destroy_process_group()


def run_processes(world: int, batch: int, accumulation: int, model_dir: Path, out: Path) -> None:
    """Runs ``train`` in ``world`` processes; ends them and shows where they stood if they hang."""
    arguments = (world, batch, accumulation, str(model_dir), str(out))
    context = torch.multiprocessing.spawn(train, arguments, nprocs=world, join=False)
    until = time.monotonic() + PATIENCE
    while not context.join(timeout=5):
        if time.monotonic() < until:
            continue
        for process in context.processes:
            process.kill()
        stacks = "".join(
            p.read_text("utf-8") for p in sorted(out.parent.glob(f"{out.name}-*.stacks"))
        )
        problem = f"{world} gloo processes gave no answer in {PATIENCE} s:\n{stacks}"
        # A build machine may forbid what gloo needs; there the rest of the suite still has to be heard.
        (pytest.skip if os.environ.get("CI") else pytest.fail)(problem)


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)
def test_a_step_is_the_same_however_it_is_cut(tiny_model_dir, tmp_path):
    """8 windows at once, as 2 x 4 micro-batches, and in 2 processes with 2 x 2 each, in float64."""
    results = []
    for world, batch, accumulation in ((1, 8, 1), (1, 2, 4), (2, 2, 2)):
        assert world * batch * accumulation == WINDOWS
        out = tmp_path / f"{world}-{batch}.pt"
        run_processes(world, batch, accumulation, tiny_model_dir, out)
        results.append(torch.load(out, weights_only=False))
    whole, *others = results
    for other in others:
        for name in CASES:
            assert_same(whole[name], other[name])
    assert len(whole["upper layer"]["steps"][0][1]) < len(whole["plain"]["steps"][0][1])
    assert [row["kl_beta"] for row in whole["steered"]["rows"]] == [0.5, 0.51]


def assert_same(one, two):
    assert [epoch for epoch, _ in one["steps"]] == [epoch for epoch, _ in two["steps"]] == [0, 1]
    for (_, gradients), (_, of_two) in zip(one["steps"], two["steps"], strict=True):
        assert gradients.keys() == of_two.keys()
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 1e-6
            torch.testing.assert_close(of_two[name], gradient, rtol=1e-6, atol=1e-9)
    for row, of_two in zip(one["rows"], two["rows"], strict=True):
        keys = ("loss", "reconstruction", "kl", "general_kl", "num_labels", "num_kl", "num_general",
                "kl_beta")  # fmt: skip
        for key in keys:
            assert of_two[key] == pytest.approx(row[key], rel=1e-5), key
