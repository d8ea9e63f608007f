"""Bad input: one clear line on stderr, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stylellm.cli.main import main


def fails(capsys: pytest.CaptureFixture, *argv: Any) -> str:
    """Runs a command that must fail with exit code 2; returns its one line."""
    capsys.readouterr()
    assert main([str(word) for word in argv]) == 2
    error = capsys.readouterr().err
    lines = [
        line for line in error.replace("\r", "\n").splitlines() if line.startswith("stylellm:")
    ]
    assert len(lines) == 1, error
    assert "Traceback" not in error
    return lines[0]


def prepare(*books: Any, output: Path, model: Path) -> list[Any]:
    return ["prepare", *books, "--output_dir", output, "--model_name", model]


def test_no_books(tmp_path: Path, tiny_model_dir: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert "no books" in fails(capsys, *prepare(output=out, model=tiny_model_dir))
    empty = tmp_path / "空"
    empty.mkdir()
    assert str(empty) in fails(capsys, *prepare(empty, output=out, model=tiny_model_dir))
    missing = tmp_path / "没有"
    assert str(missing) in fails(capsys, *prepare(missing, output=out, model=tiny_model_dir))
    assert list(tmp_path.iterdir()) == [empty]


def test_an_empty_book(tmp_path: Path, tiny_model_dir: Path, capsys: Any) -> None:
    book = tmp_path / "空书.txt"
    book.write_bytes(b"")
    assert "空书.txt" in fails(capsys, *prepare(book, output=tmp_path / "o", model=tiny_model_dir))
    assert list(tmp_path.iterdir()) == [book]


def test_a_binary_file_named_txt(tmp_path: Path, tiny_model_dir: Path, capsys: Any) -> None:
    book = tmp_path / "图片.txt"
    book.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    assert "图片.txt" in fails(capsys, *prepare(book, output=tmp_path / "o", model=tiny_model_dir))
    assert {path.name for path in tmp_path.iterdir()} <= {"图片.txt", ".stylellm-cache"}


def test_a_model_that_is_nowhere(tmp_path: Path, shelf: Path, capsys: Any) -> None:
    books, out = shelf / "作者", tmp_path / "o"
    line = fails(capsys, *prepare(books, output=out, model=Path("no-such-team/no-such-model")))
    assert "no-such-team/no-such-model" in line and "stylellm-tiny" in line
    line = fails(capsys, *prepare(books, output=out, model=tmp_path / "models" / "none"))
    assert "does not exist" in line
    assert not out.exists()


def test_a_folder_without_a_tokenizer(
    tmp_path: Path, shelf: Path, tiny_model_dir: Path, capsys: Any
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    shutil.copy(tiny_model_dir / "config.json", model)
    line = fails(capsys, *prepare(shelf / "作者", output=tmp_path / "o", model=model))
    assert "no tokenizer" in line and "tokenizer.json" in line


def test_max_length_beyond_the_models_positions(
    tmp_path: Path, write_config: Any, capsys: Any
) -> None:
    config = write_config(tmp_path, data={"max_length": 512})
    line = fails(capsys, "train", "--config", config)
    assert "512" in line and "256" in line
    assert not (tmp_path / "run").exists() and not (tmp_path / "prepared").exists()


def test_an_existing_output_folder(tmp_path: Path, write_config: Any, capsys: Any) -> None:
    config = write_config(tmp_path)
    precious = tmp_path / "run" / "notes.txt"
    precious.parent.mkdir()
    precious.write_text("mine", encoding="utf-8")
    assert "exists" in fails(capsys, "train", "--config", config)
    assert "no run of stylellm" in fails(
        capsys, "train", "--config", config, "--overwrite_output_dir"
    )
    assert precious.read_text(encoding="utf-8") == "mine"


def test_an_existing_prepared_folder(
    tmp_path: Path, shelf: Path, tiny_model_dir: Path, capsys: Any
) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert "exists" in fails(capsys, *prepare(shelf / "作者", output=out, model=tiny_model_dir))
    assert (out / "notes.txt").exists()


def test_no_space_left(
    tmp_path: Path, shelf: Path, tiny_model_dir: Path, capsys: Any, monkeypatch: Any
) -> None:
    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "windows")

    monkeypatch.setattr("stylellm.corpus.store.os.fsync", full)
    line = fails(capsys, *prepare(shelf / "作者", output=tmp_path / "o", model=tiny_model_dir))
    assert "space" in line
    assert {path.name for path in tmp_path.iterdir()} <= {".stylellm-cache"}


def test_all_problems_of_a_config_at_once(tmp_path: Path, write_config: Any, capsys: Any) -> None:
    config = write_config(
        tmp_path,
        lora={"lora_rr": 8},
        masking={"span_mask_ratio": 0.9},
        training={"evaluation_strategy": "steps", "fp16": True},
    )
    assert main(["train", "--config", str(config)]) == 2
    error = capsys.readouterr().err
    for word in ("lora_r", "sum", "eval_strategy", "fp16"):
        assert word in error, error
    assert "Traceback" not in error


def test_evaluate_and_write_without_a_run(tmp_path: Path, trained: Path, capsys: Any) -> None:
    assert "does not exist" in fails(capsys, "write", tmp_path / "none", "--prompt", "剑")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "adapter_config.json" in fails(capsys, "evaluate", empty, "--data", trained / "prepared")
    line = fails(capsys, "write", trained / "run", "--prompts", tmp_path / "none.txt")
    assert "none.txt" in line
    line = fails(capsys, "write", trained / "run", "--prompt", "剑" * 400)
    assert "positions" in line
    line = fails(
        capsys, "write", trained / "run", "--prompt", "剑", "--output", tmp_path / "a" / "b"
    )
    assert "--output" in line


def test_eval_only_without_a_run(tmp_path: Path, capsys: Any) -> None:
    assert "--output_dir" in fails(capsys, "train", "--eval_only")
    assert "does not exist" in fails(capsys, "train", "--eval_only", "--output_dir", tmp_path / "x")


def test_resume_without_a_checkpoint(tmp_path: Path, trained: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained / "run" / "stylellm_config.yaml", run)
    half = run / "checkpoint-9"  # cut off before its trainer_state.json was written
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    line = fails(capsys, "train", "--resume", "--output_dir", run)
    assert "no complete checkpoint" in line


def test_resume_with_other_settings(tmp_path: Path, trained: Path, capsys: Any) -> None:
    command = ["train", "--resume", "--output_dir", str(trained / "run"), "--kl_beta", "0.7"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "objective.kl_beta" in error and "0.7" in error


def test_kl_without_a_position(tmp_path: Path, write_config: Any, capsys: Any) -> None:
    # So rarely untouched that none of these few windows is.
    ratios = {"span_mask_ratio": 0.9999, "token_mask_ratio": 0.0, "no_mask_ratio": 0.0001}
    config = write_config(tmp_path, masking={**ratios, "order": "native"})
    line = fails(capsys, "train", "--config", config)
    assert "kl_positions" in line


def test_a_loss_that_is_not_finite(
    tmp_path: Path, write_config: Any, tiny_model_dir: Path, capsys: Any
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model_dir, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    config = write_config(tmp_path, model={"model_name_or_path": str(broken)})
    line = fails(capsys, "train", "--config", config)
    assert "nan" in line and "learning_rate" in line
    assert not (tmp_path / "run" / "adapter_model.safetensors").exists()


def test_a_cut_off_log_line_is_dropped_on_resume(tmp_path: Path) -> None:
    from stylellm.training.callbacks import keep_until

    log = tmp_path / "train_log.jsonl"
    log.write_text('{"step": 2}\n{"step": 4}\n{"step": 6, "lo', encoding="utf-8")
    keep_until(log, 4)
    steps = [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert steps == [2, 4]


def test_prepared_windows_inside_the_output_folder(
    tmp_path: Path, write_config: Any, capsys: Any
) -> None:
    config = write_config(tmp_path, data={"prepared_dir": str(tmp_path / "run" / "prepared")})
    assert "inside the output folder" in fails(capsys, "train", "--config", config)
    assert not (tmp_path / "run").exists()
