"""`stylellm doctor` and scripts/check_gpu.py, on recorded machines and on this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recorded import CPU_TORCH, GTX_1080TI, RTX_3060, machine

from stylellm.cli.main import main
from stylellm.doctor.machine import Machine, gather


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on a recorded machine."""

    def run(m: Machine, *argv: str) -> int:
        monkeypatch.setattr("stylellm.doctor.machine.gather", lambda: m)
        return main(["doctor", *argv])

    return run


def test_this_machine() -> None:
    import torch

    m = gather()
    assert m.python == sys.version_info[:3] and m.torch is not None
    assert m.torch.version == torch.__version__ and m.torch.cuda == torch.version.cuda
    assert m.package("transformers") and m.package("nothing") == ""
    assert m.ram and m.ram_free and m.ram_free <= m.ram
    assert m.disk_free and m.outdated == ()


def test_findings_and_exit_code(on: Any, capsys: pytest.CaptureFixture) -> None:
    assert on(machine(RTX_3060)) == 0
    text = capsys.readouterr().out
    assert "RTX 3060, 12.3 GB of 12.9 GB free, sm_86, bf16 yes" in text
    assert on(machine(RTX_3060, torch=CPU_TORCH)) == 3
    assert "problem: torch 2.7.1+cpu is built without CUDA" in capsys.readouterr().out


def test_what_fits_the_card(on: Any, capsys: pytest.CaptureFixture) -> None:
    m = machine(RTX_3060)
    assert on(m, "--model", "Qwen/Qwen2.5-7B", "--lora_r", "16", "--batch", "8") == 3
    text = capsys.readouterr().out
    assert "7,615,616,512 parameters" in text and "it does not fit" in text
    assert "proposal 1" in text and "  model:\n    load_in_4bit: true" in text
    assert on(m, "--model", "Qwen/Qwen2.5-0.5B") == 0
    assert "it fits" in capsys.readouterr().out


def test_options_reach_the_prediction(on: Any, capsys: pytest.CaptureFixture) -> None:
    argv = ["--model", "Qwen/Qwen2.5-1.5B", "--dtype", "fp32", "--gradient_checkpointing",
            "--max_length", "256", "--accumulation", "2", "--target_modules", "q_proj", "v_proj",
            "--memory", "80"]  # fmt: skip
    assert on(machine(), *argv) == 0
    text = capsys.readouterr().out
    assert (
        "batch 4 x 2, 256 tokens; rank 8 on q_proj, v_proj; float32 weights; no autocast; "
        "checkpointing on; cuda" in text
    )
    assert on(machine(GTX_1080TI), "--model", "Qwen/Qwen2.5-0.5B") == 0
    assert "float16 weights; float16 autocast" in capsys.readouterr().out


def test_configuration_tiny_model_and_cpu(
    on: Any, capsys: pytest.CaptureFixture, repo_root: Path
) -> None:
    assert on(machine(torch=CPU_TORCH), "--model", "stylellm-tiny") == 0
    assert "float32 weights; no autocast; checkpointing off; cpu" in capsys.readouterr().out
    config = str(repo_root / "configs" / "qwen2.5-7b-4bit.yaml")
    assert on(machine(RTX_3060), "--config", config, "--no-gradient_checkpointing") == 3
    assert "4-bit weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [["--lora_r", "8"], ["--model", "no/such"], ["--model", "./none"],
     ["--model", "Qwen/Qwen2.5-7B", "--batch", "0"],
     ["--model", "Qwen/Qwen2.5-7B", "--target_modules", "wq"]],
)  # fmt: skip
def test_bad_input(on: Any, argv: list[str], capsys: pytest.CaptureFixture) -> None:
    assert on(machine(RTX_3060), *argv) == 2
    assert capsys.readouterr().err.startswith("stylellm: error: ")


def test_speed_is_measured_not_made_up() -> None:
    """Half the size costs an eighth of the work: the rates stay within an order of magnitude."""
    from stylellm.doctor.speed import measure

    figures = {
        s.what.split(",")[1].strip(): s for s in measure(seconds=0.02, size=256) if "," in s.what
    }
    assert figures["float32"].unit == "TFLOP/s" and 1e-5 < figures["float32"].value < 2000
    copies = [s for s in measure(seconds=0.02, size=128) if s.unit == "GB/s"]
    assert copies and all(0.01 < s.value < 20000 for s in copies)


def test_script_of_the_sketch(repo_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(repo_root / "scripts" / "check_gpu.py"), "--help"],
        capture_output=True, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "--test" in done.stdout and "example:" in done.stdout
