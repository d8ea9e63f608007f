"""Options of the training through the command line, on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from stylellm.cli import anchors, memory
from stylellm.cli.main import main
from stylellm.config import load_config, parse_config
from stylellm.corpus.prepare import load_windows

SHORT = {"max_steps": 4, "logging_steps": 1, "eval_steps": 2, "save_steps": 2}


def rows_of(run: Path) -> list[dict[str, Any]]:
    lines = (run / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def trained_names(run: Path) -> list[str]:
    with safe_open(run / "adapter_model.safetensors", "pt") as file:
        return list(file.keys())


def test_without_general_text_the_base_writes_the_anchor(
    tmp_path: Path, write_config: Any, capsys: pytest.CaptureFixture
) -> None:
    config = write_config(
        tmp_path,
        data={"general_text": []},
        objective={"general_samples": 3, "target_kl": 1e-4, "kl_beta": 0.5, "reference": "cached"},
        masking={"span_mask_ratio": 0.3, "token_mask_ratio": 0.2, "no_mask_ratio": 0.5},
        lora={"lora_layers": "top_half", "use_dora": True},
        training={**SHORT, "gradient_checkpointing": "auto"},
    )
    assert main(["train", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "checkpointing: off" in out
    run, cache = tmp_path / "run", tmp_path / ".stylellm-cache"
    parts = [row for row in rows_of(run) if "reconstruction" in row]
    assert any("general_kl" in row for row in parts)
    betas = [row["kl_beta"] for row in parts]
    assert betas[0] == 0.5 and len(set(betas)) == 4
    assert all(".layers.1." in name for name in trained_names(run))
    [anchor] = (cache / "anchor").iterdir()
    [texts] = [json.loads(line) for line in anchor.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == 32 and all(texts)
    [reference] = (cache / "reference").iterdir()
    kept = (reference / "index-0.jsonl").read_text(encoding="utf-8").split()
    assert (reference / "hidden-0.bin").stat().st_size > 0 and kept

    written = anchor.stat().st_mtime_ns
    assert main(["train", "--config", str(config), "--overwrite_output_dir"]) == 0
    again = [row for row in rows_of(run) if "reconstruction" in row]
    assert anchor.stat().st_mtime_ns == written
    assert [row["kl_beta"] for row in again] == pytest.approx(betas)
    losses = [row["loss"] for row in parts]
    assert [row["loss"] for row in again] == pytest.approx(losses, rel=1e-4)


def test_the_best_checkpoint_and_packed_windows(
    tmp_path: Path, write_config: Any, story: str, capsys: pytest.CaptureFixture
) -> None:
    lines = [line for line in story.splitlines() if line]
    book = tmp_path / "《短章》.txt"  # chapters of a line each: several fit one window
    book.write_text(
        "".join(f"第{n}章\n{line}\n" for n, line in zip("一二三四五六七", lines, strict=False)),
        encoding="utf-8",
    )
    config = write_config(
        tmp_path,
        data={"pack": True, "near_duplicates": 0.0, "books": [str(book)], "max_length": 128},
        lora={"train_sentinels": True},
        training={
            **SHORT,
            "load_best_model_at_end": True,
            "max_drift_kl": 5.0,
            "early_stopping_patience": 3,
            "train_sampling_strategy": "group_by_length",
        },
    )
    assert main(["train", "--config", str(config)]) == 0
    windows = load_windows(tmp_path / "prepared", "train")
    assert any(len(lengths) > 1 for lengths in windows["documents"])
    assert "best:     step" in capsys.readouterr().out
    assert any("token" in name for name in trained_names(tmp_path / "run"))
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text(encoding="utf-8"))
    nll = {row["step"]: row["eval_loss"] for row in rows_of(tmp_path / "run") if "eval_loss" in row}
    assert state["best_metric"] == min(nll.values())


def test_bounds_on_a_drift_that_is_not_measured_are_refused(
    tmp_path: Path, write_config: Any, capsys: pytest.CaptureFixture
) -> None:
    config = write_config(
        tmp_path,
        data={"general_text": []},
        objective={"general_samples": 0},
        training={**SHORT, "load_best_model_at_end": True, "max_drift_kl": 0.1},
    )
    assert main(["train", "--config", str(config)]) == 2
    assert "training.max_drift_kl" in capsys.readouterr().err


@pytest.mark.parametrize(("free", "on"), [(1e12, False), (1e6, True), (None, False)])
def test_automatic_checkpointing_looks_at_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, free: float | None, on: bool
) -> None:
    found = None if free is None else (free, free)
    monkeypatch.setattr("stylellm.doctor.check.device_memory", lambda device: found)
    values = {"model": {"model_name_or_path": str(tiny_model_dir)}, "data": {"max_length": 64}}
    auto = parse_config({**values, "training": {"gradient_checkpointing": "auto"}})
    assert memory.wants_checkpointing(auto) is on
    fixed = parse_config({**values, "training": {"gradient_checkpointing": True}})
    assert memory.wants_checkpointing(fixed) is True


def test_a_step_that_cannot_fit_is_refused_before_anything_is_written(
    tmp_path: Path,
    write_config: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    config = write_config(tmp_path, training=SHORT)
    monkeypatch.setattr("stylellm.doctor.check.device_memory", lambda device: (1e5, 2e5))
    assert main(["train", "--config", str(config)]) == 2
    message = capsys.readouterr().err
    assert "a training step of" in message and "RAM has" in message and message.count("\n") == 1
    assert not (tmp_path / "run").exists() and not (tmp_path / "prepared").exists()


def test_a_step_that_may_not_fit_is_warned_of(
    tmp_path: Path,
    write_config: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    config = load_config(write_config(tmp_path, training=SHORT))
    monkeypatch.setattr("stylellm.doctor.check.device_memory", lambda device: (1e5, 1e12))
    memory.check_memory(config)
    assert capsys.readouterr().out.startswith("memory:   a training step of")
    monkeypatch.setattr("stylellm.doctor.check.device_memory", lambda device: (1e12, 1e12))
    memory.check_memory(config)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("steps", "samples", "number"), [(-1, 128, 33), (-1, 20, 20), (2, 128, 11)]
)
def test_the_base_writes_no_more_than_the_run_will_use(
    steps: int, samples: int, number: int
) -> None:
    config = parse_config({
        "objective": {"general_ratio": 0.1, "general_samples": samples},
        "training": {"num_train_epochs": 3, "max_steps": steps},
    })  # fmt: skip
    assert anchors.num_samples(config, 100) == number


def test_adapted_layers_are_the_upper_ones(make_policy: Any) -> None:
    base = make_policy().get_base_model()
    for share, layers in (("all", None), ("top_half", [1]), ("top_quarter", [1])):
        config = parse_config({"lora": {"lora_layers": share}})
        assert anchors.adapted_layers(config, base) == layers


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "flash_attention_2"),
        ({"model": {"dtype": "float32"}, "training": {"bf16": True}}, "sdpa"),
        ({"training": {"use_cpu": True}}, "sdpa"),
        ({"model": {"attn_implementation": "eager"}}, "eager"),
    ],
)
def test_automatic_attention_is_flash_for_16_bit_weights_alone(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr("stylellm.model.attention.flash_runs_here", lambda: True)
    assert anchors.attention_of(parse_config(values)) == expected


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("faster", [True, False])
def test_bf16_on_a_processor_that_multiplies_float32_faster_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bf16: bool, faster: bool
) -> None:
    monkeypatch.setattr("stylellm.model.products.wide_is_faster", lambda _: faster)
    memory.warn_of_slow_bf16(parse_config({"training": {"bf16": bf16, "use_cpu": True}}))
    assert ("through float32" in capsys.readouterr().out) == (bf16 and faster)
