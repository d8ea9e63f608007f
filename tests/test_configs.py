"""Every shipped configuration loads, and trains a step at tiny size with a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylellm.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [ROOT / "train_config.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_config_trains_a_step(path: Path, tmp_path: Path, tiny_model_dir: Path) -> None:
    sample = ROOT / "data" / "demo"
    changes = {
        "model.model_name_or_path": tiny_model_dir,
        "model.load_in_4bit": "false",  # needs a GPU
        "data.books": f"['{sample / 'author'}']",
        "data.general_text": f"['{sample / 'general'}']",
        "data.other_author": f"['{sample / 'other_author'}']",
        "data.prepared_dir": tmp_path / "prepared",
        "data.max_length": 96,
        "training.max_steps": 1,
        "training.per_device_train_batch_size": 1,
        "training.gradient_accumulation_steps": 2,
        "training.bf16": "false",
        "training.eval_strategy": "'no'",
        "training.report_to": "[none]",
        "evaluation.sample_prompts_during_training": "[]",
    }
    overrides = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    run = tmp_path / "run"
    assert main(["train", "--config", str(path), "--output_dir", str(run), *overrides]) == 0
    assert (run / "adapter_model.safetensors").is_file()
