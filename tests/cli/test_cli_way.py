"""The whole way through the commands, on a tiny random model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stylellm.cli.main import COMMANDS, main


def test_train_writes_the_layout_of_peft_and_the_trainer(trained: Path) -> None:
    run = trained / "run"
    for name in (
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "trainer_state.json",
        "stylellm_config.yaml", "stylellm_run.json", "train_log.jsonl", "samples.jsonl",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    record = json.loads((run / "stylellm_run.json").read_text(encoding="utf-8"))
    assert record["versions"]["peft"] and record["prepared_fingerprint"]
    assert not list(run.glob(".final*")) and not list(run.glob("*.tmp"))


def test_the_log_has_every_part_of_the_loss(trained: Path) -> None:
    lines = (trained / "run" / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    parts = [row for row in rows if "reconstruction" in row]
    assert parts
    for row in parts:
        total = (
            row["reconstruction"]
            + row["kl_beta"] * row["kl"]
            + row["general_beta"] * row.get("general_kl", 0.0)
        )
        # The logged loss is a mean over steps, the parts are means over tokens: near, not equal.
        assert row["loss"] == pytest.approx(total, rel=0.05)
        assert row["num_labels"] > 0 and row["num_kl"] > 0 and row["tokens_per_second"] > 0
    assert any("eval_author_nll" in row and "eval_drift_kl" in row for row in rows)


def test_the_adapter_loads_with_peft_alone(trained: Path, tiny_model_dir: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    policy = PeftModel.from_pretrained(base, str(trained / "run"))
    weights = [p for n, p in policy.named_parameters() if "lora_B" in n]
    assert weights and any(float(w.abs().max()) > 0 for w in weights)


def test_evaluate_writes_json_and_report(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["evaluate", str(trained / "run"), "--output_dir", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert list(result)[:5] == [
        "author", "general", "drift_kl", "ngram_overlap", "function_word_jsd",
    ]  # fmt: skip
    rows = {"base", "policy", "other_author", "held_out_author"}
    assert set(result["ngram_overlap"]) == rows == set(result["function_word_jsd"])
    for text in ("author", "general"):
        for which in ("base", "policy"):
            assert set(result[text][which]) == {
                "nll_per_token", "perplexity", "bits_per_character",
            }  # fmt: skip
    assert result["drift_kl"] > 0
    # Trained on this author: his held-out text became likelier.
    assert result["author"]["policy"]["nll_per_token"] < result["author"]["base"]["nll_per_token"]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result["samples"][0]["prompt"] in html and "<svg" in html
    assert "drift on general text: KL" in capsys.readouterr().out


def test_eval_only_needs_no_config(trained: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--eval_only", "--output_dir", str(trained)]) == 0
    assert (trained / "run" / "report.html").is_file()


def test_write_is_seeded_and_shows_both(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def write(seed: int, name: str) -> list[dict[str, Any]]:
        command = ["write", str(trained / "run"), "--prompt", "剑光一闪", "--prompt", "夜已深，"]
        out = tmp_path / name
        assert main([*command, "--seed", str(seed), "--output", str(out)]) == 0
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    first, again, other = write(1, "a.jsonl"), write(1, "b.jsonl"), write(2, "c.jsonl")
    assert first == again
    assert [row["policy"] for row in first] != [row["policy"] for row in other]
    assert {"base", "policy", "prompt"} <= set(first[0])
    assert [row["seed"] for row in first] == [1, 2]  # a draw of its own for each prompt
    shown = capsys.readouterr().out
    assert "base" in shown and "policy" in shown and "剑光一闪" in shown


def test_write_reads_prompts_from_a_gbk_file(trained: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "提示.txt"
    prompts.write_bytes("# 注释\r\n剑光一闪\r\n\r\n雪下了一夜，那老者却不说话。\r\n".encode("gbk"))
    out = tmp_path / "out.jsonl"
    command = ["write", str(trained / "run"), "--prompts", str(prompts), "--output", str(out)]
    assert main([*command, "--no_base"]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == ["剑光一闪", "雪下了一夜，那老者却不说话。"]
    assert "base" not in rows[0]


def test_write_asks_for_prompts(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    answers = iter(["剑光一闪", "", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(answers))
    assert main(["write", str(trained / "run"), "--no_base"]) == 0
    assert "剑光一闪" in capsys.readouterr().out


def test_mask_preview_shows_the_sketchs_table(
    trained: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    text = "剑光一闪，灯便灭了，黑暗之中只听得一声轻响。"
    for order in ("infill", "in_place"):
        command = ["mask-preview", "--text", text, "--model_name", str(tiny_model_dir)]
        assert main([*command, "--set", f"masking.format={order}"]) == 0
        shown = capsys.readouterr().out
        assert "[MASK]" in shown and "60% of windows" in shown
    assert (
        main(["mask-preview", str(trained / "prepared"), "--model_name", str(tiny_model_dir)]) == 0
    )
    assert "<|fim_suffix|>" in capsys.readouterr().out


def test_train_uses_a_current_preparation_again(
    trained: Path, capsys: pytest.CaptureFixture
) -> None:
    config = trained / "config.yaml"
    run = trained / "second"
    command = [
        "train",
        "--config",
        str(config),
        "--output_dir",
        str(run),
        "--set",
        "training.max_steps=1",
    ]
    assert main(command) == 0
    assert "is up to date" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "example:" in capsys.readouterr().out


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; from stylellm.cli.main import build_parser; build_parser('train').format_help();"
        "print([m for m in ('torch', 'transformers', 'datasets', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
