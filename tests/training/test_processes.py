"""Two processes on one machine: the same step as one process that sees all the data."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch

WINDOWS = 8


def train(rank: int, world: int, port: int, model_dir: str, out: str) -> None:
    """One process of a run of two epochs of one step each; rank 0 keeps gradients and logs."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    if world > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    from transformers import TrainerCallback, TrainingArguments

    from stylellm.masking.collate import StyleDataset, collator
    from stylellm.masking.formats import Sentinels
    from stylellm.masking.plan import MaskSettings
    from stylellm.model.load import load_base, load_tokenizer
    from stylellm.model.policy import add_lora
    from stylellm.training.trainer import Objective, StyleTrainer
    from tiny_models import STORY

    class Keep(TrainerCallback):
        steps: list = []  # noqa: RUF012

        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            named = model.named_parameters()
            grads = {n.removeprefix("module."): w.grad.clone() for n, w in named if w.requires_grad}
            self.steps.append((dataset.epoch, grads))

    tokenizer = load_tokenizer(model_dir)
    torch.manual_seed(0)
    policy = add_lora(load_base(model_dir), base_name=model_dir, r=4, dropout=0.0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    author = [{"text": STORY[i * 20 : i * 20 + 40], "ends_document": True} for i in range(7)]
    general = [{"text": "今天气温三度，请注意保暖。", "ends_document": True}]
    dataset = StyleDataset(
        author, general, tokenizer, Sentinels.from_tokenizer(tokenizer), MaskSettings(),
        max_length=128, seed=5, general_ratio=1 / WINDOWS,
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
            per_device_train_batch_size=WINDOWS // world,
            learning_rate=0.0,
            max_grad_norm=0.0,
            dataloader_pin_memory=False,
            ddp_backend="gloo" if world > 1 else None,
        ),
        train_dataset=dataset,
        data_collator=collator(tokenizer.pad_token_id),
        objective=Objective(kl_beta=0.5, general_beta=0.25),
    )
    trainer.add_callback(Keep())
    trainer.train()
    if rank == 0:
        rows = [row for row in trainer.state.log_history if "reconstruction" in row]
        torch.save({"steps": Keep.steps, "rows": rows}, out)
    if world > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)
def test_two_processes_make_the_step_that_one_makes(tiny_model_dir, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = []
    for world in (1, 2):
        out = tmp_path / f"{world}.pt"
        arguments = (world, port, str(tiny_model_dir), str(out))
        torch.multiprocessing.spawn(train, arguments, nprocs=world)
        results.append(torch.load(out, weights_only=False))
    one, two = results
    assert [epoch for epoch, _ in one["steps"]] == [epoch for epoch, _ in two["steps"]] == [0, 1]
    for (_, gradients), (_, of_two) in zip(one["steps"], two["steps"], strict=True):
        assert gradients.keys() == of_two.keys()
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 1e-6
            torch.testing.assert_close(of_two[name], gradient, rtol=1e-6, atol=1e-9)
    for row, of_two in zip(one["rows"], two["rows"], strict=True):
        keys = ("loss", "reconstruction", "kl", "general_kl", "num_labels", "num_kl", "num_general")
        for key in keys:
            assert of_two[key] == pytest.approx(row[key], rel=1e-5), key
