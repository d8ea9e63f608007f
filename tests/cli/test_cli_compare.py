"""compare and sweep: runs in one table, a sweep that goes on where it was, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stylellm.cli.main import main
from stylellm.cli.sweep import parse_betas
from stylellm.errors import StyleLLMError


@pytest.mark.parametrize(
    ("text", "expected"), [("0,0.1", [0.0, 0.1]), (" 1 , 0.5,1,", [0.5, 1.0]), ("2", [2.0])]
)
def test_betas(text: str, expected: list[float]) -> None:
    assert parse_betas(text) == expected


@pytest.mark.parametrize("text", ["", ",", "a", "0.1,-1", "inf", "nan", "0.1;0.2"])
def test_bad_betas(text: str) -> None:
    with pytest.raises(StyleLLMError, match="--kl_beta"):
        parse_betas(text)


def test_sweep_trains_compares_and_is_done_the_second_time(
    write_config: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = write_config(tmp_path, training={"max_steps": 2, "eval_strategy": "no"})
    out = tmp_path / "sweep"
    command = ["sweep", "--config", str(config), "--kl_beta", "2,0", "--output_dir", str(out),
               "--quick"]  # fmt: skip
    assert main(command) == 0
    rows = json.loads((out / "compare.json").read_text(encoding="utf-8"))["runs"]
    assert [row["name"] for row in rows] == ["kl_beta-0", "kl_beta-2"]
    assert [row["settings"] for row in rows] == [{"kl_beta": 0.0}, {"kl_beta": 2.0}]
    weights = {p: p.stat().st_mtime_ns for p in out.glob("*/adapter_model.safetensors")}
    assert len(weights) == 2
    capsys.readouterr()
    # The evaluation of one run is lost: only that is made again.
    (out / "kl_beta-2" / "evaluation.json").unlink()
    kept = (out / "kl_beta-0" / "evaluation.json").stat().st_mtime_ns
    assert main(command) == 0
    assert {p: p.stat().st_mtime_ns for p in weights} == weights
    assert (out / "kl_beta-0" / "evaluation.json").stat().st_mtime_ns == kept
    assert (out / "kl_beta-2" / "evaluation.json").is_file()
    assert "kl_beta-2" in capsys.readouterr().out
    assert main(["compare", str(out), "--output_dir", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "compare.json").read_text(encoding="utf-8"))["runs"]
    assert again == json.loads((out / "compare.json").read_text(encoding="utf-8"))["runs"]
    # Other settings are another sweep.
    assert main([*command, "--set", "lora.lora_r=8"]) == 2
    assert "lora_r" in capsys.readouterr().err


def test_compare_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "run").mkdir()
    assert main(["compare", str(tmp_path / "run")]) == 2
    assert "holds no evaluation.json" in capsys.readouterr().err
    (tmp_path / "run" / "evaluation.json").write_text("{", encoding="utf-8")
    assert main(["compare", str(tmp_path / "run")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "run" / "evaluation.json").write_text("[]", encoding="utf-8")
    assert main(["compare", str(tmp_path / "run")]) == 2
    assert "is no evaluation" in capsys.readouterr().err
