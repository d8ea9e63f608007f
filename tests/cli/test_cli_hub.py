"""`stylellm export hub`: what is uploaded loads elsewhere, tells what it is, and gives nothing away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from stylellm.cli.main import main

REPO = ["--repo_id", "someone/style-lora"]


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with its evaluation."""
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(trained / "run", folder)
    assert main(["evaluate", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def exported(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("hub") / "up"
    command = ["export", "hub", str(evaluated), "--output_dir", str(output), *REPO]
    assert main([*command, "--base_model", "Qwen/Qwen2.5-0.5B", "--license", "apache-2.0"]) == 0
    return output


def test_card_says_what_the_run_recorded(exported: Path, evaluated: Path) -> None:
    card = ModelCard.load(exported / "README.md")
    data = card.data.to_dict()
    assert data["base_model"] == "Qwen/Qwen2.5-0.5B"
    assert (data["library_name"], data["license"], data["language"]) == ("peft", "apache-2.0", "zh")
    result = json.loads((evaluated / "evaluation.json").read_text(encoding="utf-8"))
    bits = result["author"]["policy"]["bits_per_character"]
    assert f"| {bits:.4f} |" in card.text
    for said in ("| 夜雨 | 3 |", "| 长桥 | 3 |", "r 4, alpha 16", "某人", "Not evaluated"):
        assert (said in card.text) == (said != "Not evaluated"), said


def test_nothing_of_this_machine_or_the_books_is_in_it(exported: Path, shelf: Path) -> None:
    for file in exported.iterdir():
        if file.suffix in {".md", ".json"}:
            text = file.read_text(encoding="utf-8")
            assert str(shelf.parent) not in text and "/tmp/" not in text, file.name
    assert {file.name for file in exported.iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip


def test_adapter_loads_as_the_card_shows(
    exported: Path, evaluated: Path, tiny_model_dir: Path
) -> None:
    ids = AutoTokenizer.from_pretrained(exported)("剑光一闪", return_tensors="pt")
    logits = []
    for folder in (exported, evaluated):
        base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
        logits.append(PeftModel.from_pretrained(base, str(folder))(**ids).logits)
    assert torch.equal(*logits)


def test_merged_model_loads_alone(evaluated: Path, tmp_path: Path) -> None:
    """No id of the base is needed, and a run that was not evaluated says so."""
    shutil.copytree(evaluated, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation.json"))
    command = ["export", "hub", str(tmp_path / "run"), "--output_dir", str(tmp_path / "up"), *REPO]
    assert main([*command, "--merged"]) == 0
    card = ModelCard.load(tmp_path / "up" / "README.md")
    assert card.data.to_dict()["library_name"] == "transformers"
    assert "Not evaluated" in card.text
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "up").num_parameters() > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (REPO, "--base_model USER/NAME"),
        (["--repo_id", "no id"], "'no id' is no model id"),
        (["--repo_id", "lonely"], "names no owner"),
    ],
)
def test_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    command = ["export", "hub", str(trained / "run"), "--output_dir", str(tmp_path / "up")]
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
