"""What LLaMA-Factory gets: whole chapters, our masks, complete configurations; and that it trains on them.

The last is marked `llamafactory`: it needs an environment of several GB (make test-llamafactory).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from datasets import load_from_disk
from transformers import AutoModelForCausalLM

from stylellm.cli.build import style_dataset
from stylellm.cli.main import main
from stylellm.config import load_config
from stylellm.delivery.llamafactory_run import VENV, program
from stylellm.model.load import load_tokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "scripts" / "train_llamafactory.py"


def export(config: Path, folder: Path) -> int:
    """The exit code of the command."""
    return main(["export", "llamafactory", "--config", str(config), "--output_dir", str(folder)])


@pytest.fixture(scope="module")
def exported(write_config: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The configuration and the folder exported with it."""
    work = tmp_path_factory.mktemp("lf")
    config = write_config(work)
    folder = work / "导出"
    assert export(config, folder) == 0
    return config, folder


def test_chapters_are_whole_and_only_for_training(exported: tuple[Path, Path]) -> None:
    config, folder = exported
    prepared = Path(load_config(config).data.prepared_dir)
    rows = [json.loads(x) for x in (prepared / "chapters.jsonl").read_text("utf-8").splitlines()]
    wanted = [row["text"] for row in rows if row["split"] == "train"]
    lines = (folder / "chapters.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"text": text} for text in wanted]
    held_out = [row["text"] for row in rows if row["split"] != "train"]
    assert held_out and not set(wanted) & set(held_out)


def test_info_names_the_file_in_ascii(exported: tuple[Path, Path]) -> None:
    raw = (exported[1] / "dataset_info.json").read_bytes()
    assert raw.isascii()
    assert json.loads(raw)["stylellm"]["file_name"] == "chapters.jsonl"


def test_tokens_and_labels_are_those_of_training(exported: tuple[Path, Path]) -> None:
    """Row by row, epoch by epoch, as `stylellm train` draws them."""
    config, folder = load_config(exported[0]), exported[1]
    data = load_from_disk(str(folder / "tokenised"))["train"]
    dataset = style_dataset(config, load_tokenizer(config.model.model_name_or_path))
    assert len(data) == 2 * len(dataset)
    seen = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for i in range(len(dataset)):
            row, example = data[epoch * len(dataset) + i], dataset.example(i)
            assert row["input_ids"] == example.input_ids
            assert row["labels"][0] == -100
            assert row["labels"][1:] == example.labels[:-1]
            assert row["attention_mask"] == [1] * len(example.input_ids)
            seen.append(tuple(row["input_ids"]))
    assert seen[: len(dataset)] != seen[len(dataset) :], "each epoch has masks of its own"


def test_labels_score_what_ours_score(exported: tuple[Path, Path], tiny_model_dir: Path) -> None:
    """transformers' own loss on a row is the cross-entropy at our positions."""
    config, folder = load_config(exported[0]), exported[1]
    dataset = style_dataset(config, load_tokenizer(config.model.model_name_or_path))
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir).double()
    row, example = load_from_disk(str(folder / "tokenised"))["train"][0], dataset.example(0)
    ids = torch.tensor([row["input_ids"]])
    theirs = model(input_ids=ids, labels=torch.tensor([row["labels"]])).loss
    logits, labels = model(input_ids=ids).logits[0], torch.tensor(example.labels)
    ours = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100)
    assert theirs.item() == pytest.approx(ours.item(), abs=1e-6)  # theirs is in float32


def test_recipes_follow_the_configuration(
    exported: tuple[Path, Path], tiny_model_dir: Path
) -> None:
    plain, masked = (yaml.safe_load((exported[1] / name).read_text("utf-8"))
                     for name in ("pt.yaml", "masked.yaml"))  # fmt: skip
    for recipe in (plain, masked):
        assert recipe["model_name_or_path"] == str(tiny_model_dir)
        assert (recipe["lora_rank"], recipe["lora_target"]) == (4, "all")
        assert recipe["per_device_train_batch_size"] == recipe["gradient_accumulation_steps"] == 2
        assert not {"template", "packing"} & set(recipe)
    assert (plain["stage"], plain["num_train_epochs"], plain["preprocessing_num_workers"]) == (
        "pt",
        2,
        1,
    )
    assert (masked["stage"], masked["num_train_epochs"]) == ("sft", 1)
    assert masked["tokenized_path"] == "tokenised"


def test_max_steps_ask_for_enough_epochs(write_config: Any, tmp_path: Path) -> None:
    config = write_config(tmp_path, training={"max_steps": 9})
    assert export(config, tmp_path / "x") == 0
    data = load_from_disk(str(tmp_path / "x" / "tokenised"))["train"]
    assert len(data) >= 9 * 4
    assert yaml.safe_load((tmp_path / "x" / "masked.yaml").read_text("utf-8"))["max_steps"] == 9


def test_what_it_could_not_follow_is_refused(
    write_config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, masking={"context_loss_weight": 0.5}, data={"pack": True})
    assert export(config, tmp_path / "x") == 2
    error = capsys.readouterr().err
    assert "2 problems" in error and "context_loss_weight is 0.5" in error and "data.pack" in error
    assert not (tmp_path / "x").exists()


def test_script_without_llamafactory(exported: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--train", "--folder", str(exported[1]), "--venv",
               str(tmp_path / "none")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 2
    assert "python scripts/train_llamafactory.py --install" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.llamafactory
@pytest.mark.parametrize("recipe", ["pt", "masked"])
def test_it_trains_and_the_adapter_comes_back(
    tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded model on the sample, a few steps; the adapter writes and is evaluated."""
    venv = Path(os.environ.get("STYLELLM_LLAMAFACTORY_VENV") or ROOT / VENV)
    if not program(venv, "llamafactory-cli").is_file():
        pytest.skip(f"no LLaMA-Factory in {venv} (scripts/train_llamafactory.py --install)")
    config = tmp_path / "config.yaml"
    values = {
        "data": {"books": [str(ROOT / "data/demo/author")], "split_by": "chapter",
                 "general_text": [str(ROOT / "data/demo/general")], "test_fraction": 0.15,
                 "prepared_dir": str(tmp_path / "prepared")},
        "training": {"max_steps": 16, "per_device_train_batch_size": 2, "learning_rate": 1e-3,
                     "gradient_accumulation_steps": 1, "logging_steps": 4, "save_steps": 16,
                     "output_dir": str(tmp_path / "run")},
    }  # fmt: skip
    config.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    folder = tmp_path / "lf"
    command = [sys.executable, str(SCRIPT), "--train", "--config", str(config), "--folder",
               str(folder), "--venv", str(venv), "--recipe", recipe]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((folder / recipe / "trainer_state.json").read_text(encoding="utf-8"))
    losses = [row["loss"] for row in state["log_history"] if "loss" in row]
    assert len(losses) == 4
    assert (
        main(["write", str(folder / recipe), "--prompt", "剑光一闪", "--max_new_tokens", "12"]) == 0
    )
    assert "policy" in capsys.readouterr().out
    command = ["evaluate", str(folder / recipe), "--data", str(tmp_path / "prepared"), "--quick"]
    assert main([*command, "--set", "evaluation.sample_chars=40"]) == 0
    result = json.loads((folder / recipe / "evaluation.json").read_text(encoding="utf-8"))
    author = result["author"]
    assert author["policy"]["nll_per_token"] < author["base"]["nll_per_token"]
    assert result["drift_kl"] > 0
