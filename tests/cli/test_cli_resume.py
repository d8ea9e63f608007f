"""A run killed in the middle of an epoch and resumed ends with the weights of the uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stylellm.cli.main import main


def kill_after(command: list[str], checkpoint: Path, limit: float = 240) -> None:
    """Starts a run and kills it, without warning, once ``checkpoint`` is complete."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    started = time.monotonic()
    try:
        while not (checkpoint / "trainer_state.json").is_file():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() - started < limit, "no checkpoint came"
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL) if os.name == "posix" else process.kill()
        process.wait()


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, write_config: Any) -> None:
    # Three epochs of many steps; the checkpoint at step 4 lies inside the first of them. Dropout
    # and fresh masks make every step depend on the state of the random generators.
    config = write_config(
        tmp_path,
        lora={"lora_dropout": 0.1},
        training={"num_train_epochs": 3, "save_steps": 4, "eval_steps": 4, "save_total_limit": 9},
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(["train", "--config", str(config), "--output_dir", str(whole)]) == 0

    command = [sys.executable, "-m", "stylellm", "train", "--config", str(config)]
    kill_after([*command, "--output_dir", str(killed)], killed / "checkpoint-4")
    assert not (killed / "adapter_model.safetensors").exists()
    assert main(["train", "--resume", "--output_dir", str(killed)]) == 0

    state = json.loads((killed / "trainer_state.json").read_text(encoding="utf-8"))
    per_epoch = state["max_steps"] / 3
    assert per_epoch > 4, "the checkpoint must lie in the middle of an epoch"
    expected = load_file(whole / "adapter_model.safetensors")
    found = load_file(killed / "adapter_model.safetensors")
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        assert torch.equal(weight, found[name]), name

    # Each logged step stands in the log once, with the numbers of the uninterrupted run.
    def rows(folder: Path) -> list[Any]:
        lines = (folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
        parts = [json.loads(line) for line in lines]
        return [(r["step"], r["loss"], r["kl"]) for r in parts if "reconstruction" in r]

    # A log line covers the steps since the last one; the first after the resume covers fewer.
    assert [step for step, *_ in rows(killed)] == [step for step, *_ in rows(whole)]
    assert rows(killed)[-3:] == rows(whole)[-3:]
    whole_samples = (whole / "samples.jsonl").read_text(encoding="utf-8")
    assert (killed / "samples.jsonl").read_text(encoding="utf-8") == whole_samples
