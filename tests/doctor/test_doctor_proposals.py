"""What fits: proposals, savings, yaml lines, the check before training, the README's table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stylellm.config import load_config, parse_config
from stylellm.doctor import memory
from stylellm.doctor.check import check_fit, setup_of
from stylellm.doctor.memory import (
    BLOCK,
    CHUNK_BYTES_CUDA,
    CHUNK_ELEMENTS_CPU,
    GB,
    MIN_CHUNK,
    predict,
)
from stylellm.doctor.proposals import overrides, propose, savings, yaml_lines
from stylellm.doctor.setup import Setup
from stylellm.doctor.shapes import QWEN25
from stylellm.doctor.table import BEGIN, END, main, measured_key, table, write_table
from stylellm.errors import OutputError

SEVEN, ASKED = QWEN25["7B"], Setup(batch=8, accumulation=4, lora_r=16)


def test_chunks_are_those_of_the_loss() -> None:
    from stylellm.objective import chunking, compiled

    assert chunking.CHUNK_ELEMENTS_CPU == CHUNK_ELEMENTS_CPU
    assert chunking.MAX_CHUNK_BYTES == CHUNK_BYTES_CUDA
    assert chunking.MIN_CHUNK == MIN_CHUNK
    assert {"cpu": chunking.BLOCK_ELEMENTS_CPU, "cuda": chunking.BLOCK_ELEMENTS} == BLOCK
    assert chunking.BLOCK_ELEMENTS_COMPILED == memory.COMPILED_BLOCK
    assert compiled.CPU_VOCABULARY == memory.COMPILED_VOCABULARY
    assert compiled.CPU_ELEMENTS == memory.COMPILED_LOGITS


@given(st.sampled_from(sorted(QWEN25)), st.integers(6, 90), st.integers(1, 12), st.booleans())
def test_proposals_fit_and_keep_the_step(size: str, gb: int, batch: int, again: bool) -> None:
    setup = replace(ASKED, batch=batch, checkpointing=again)
    for proposal in propose(QWEN25[size], setup, gb * GB):
        s = proposal.setup
        assert s.batch * s.accumulation == batch * 4
        assert proposal.prediction == predict(QWEN25[size], s)
        assert proposal.prediction.needed <= gb * GB
        assert s.checkpointing or not again  # what the user turned on stays on


def test_eight_bits_turn_into_four() -> None:
    eight = replace(ASKED, load_in_8bit=True)
    (first, *_) = propose(SEVEN, eight, 8 * GB)
    assert first.setup.load_in_4bit and not first.setup.load_in_8bit
    lines = yaml_lines(first.setup, before=eight)
    assert "  load_in_4bit: true" in lines and "  load_in_8bit: false" in lines


def test_what_already_fits_is_proposed_unchanged() -> None:
    (first, *_) = propose(SEVEN, ASKED, 80 * GB)
    assert first.setup == ASKED and first.cost == 0


def test_cards_of_several_sizes() -> None:
    assert propose(SEVEN, ASKED, 4 * GB) == []
    eight = propose(SEVEN, ASKED, 8 * GB)[0].setup
    assert eight.load_in_4bit and eight.checkpointing and eight.max_length == 512
    twenty_four = propose(SEVEN, ASKED, 24 * GB)[0].setup
    assert not twenty_four.load_in_4bit and twenty_four.target_modules == "all-linear"
    assert any(p.setup.checkpointing and p.setup.batch == 8 for p in propose(SEVEN, ASKED, 24 * GB))
    cpu = replace(ASKED, device="cpu", weights="float32", compute=None)
    assert not any(p.setup.load_in_4bit for p in propose(QWEN25["0.5B"], cpu, 8 * GB))


def test_savings_are_differences_of_predictions() -> None:
    found = dict(savings(SEVEN, ASKED))
    without = predict(SEVEN, replace(ASKED, checkpointing=True)).needed
    assert found["training.gradient_checkpointing: true"] == predict(SEVEN, ASKED).needed - without
    assert list(found.values()) == sorted(found.values(), reverse=True)
    least = replace(ASKED, batch=1, max_length=64, lora_r=4, dropout=0.0, checkpointing=True,
                    load_in_4bit=True, target_modules=("q_proj",), lora_layers="top_quarter")  # fmt: skip
    assert savings(SEVEN, least) == []


def test_yaml_lines_and_overrides_are_a_configuration() -> None:
    target = replace(ASKED, batch=2, accumulation=16, checkpointing=True, load_in_4bit=True,
                     max_length=256, target_modules=("q_proj", "v_proj"))  # fmt: skip
    values = yaml.safe_load("\n".join(yaml_lines(target)))
    assert setup_of(parse_config(values), device="cuda") == target
    changed = yaml.safe_load("\n".join(yaml_lines(target, before=ASKED)))
    assert set(changed) == {"model", "data", "lora", "training"}
    assert "lora_r" not in changed["lora"] and "dtype" not in changed["model"]
    options = overrides(target, before=ASKED).split()
    start = yaml.safe_load("\n".join(yaml_lines(ASKED)))
    config = parse_config(start, "it", [o for o in options if o != "--set"])
    assert setup_of(config, device="cuda") == target
    assert yaml_lines(ASKED, before=ASKED) == []


def test_setup_of_a_configuration(repo_root: Path) -> None:
    config = load_config(repo_root / "configs" / "qwen2.5-7b-4bit.yaml", [])
    setup = setup_of(config, device="cuda")
    assert setup == Setup(load_in_4bit=True, checkpointing=True)
    plain = parse_config({"objective": {"kl_beta": 0, "general_beta": 0}})
    assert setup_of(plain, device="cpu").weights == "float32"
    assert setup_of(plain, device="cuda", bf16_card=False).weights == "float16"
    auto = parse_config({"training": {"gradient_checkpointing": "auto"}})
    assert setup_of(auto, device="cuda").checkpointing is True
    assert not setup_of(plain, device="cpu").kl and setup_of(plain, device="cpu").compute is None


def test_check_before_training() -> None:
    name = "Qwen/Qwen2.5-7B"
    assert check_fit(name, ASKED, total=80 * GB, free=79 * GB).level == "fine"
    refused = check_fit(name, ASKED, total=24 * GB, free=23 * GB)
    assert refused.level == "refuse" and "\n" not in refused.line
    needed = f"needs about {predict(SEVEN, ASKED).needed / GB:.1f} GB"
    assert needed in refused.line and "has 24.0 GB" in refused.line
    assert "--set training." in refused.line
    busy = check_fit(name, ASKED, total=80 * GB, free=30 * GB)
    assert busy.level == "warn" and "30.0 GB of it free" in busy.line
    # Slightly beyond the card: the prediction may be 15% too high, so this only warns.
    needed = predict(SEVEN, ASKED).needed
    assert check_fit(name, ASKED, total=0.9 * needed, free=0.9 * needed).level == "warn"
    hopeless = check_fit("Qwen/Qwen2.5-72B", ASKED, total=8 * GB, free=8 * GB)
    assert hopeless.level == "refuse" and "smaller model" in hopeless.line
    assert check_fit("somebody/else", ASKED, total=GB, free=GB).level == "fine"  # not known


def test_check_asks_the_device(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stylellm.doctor import machine

    setup = Setup(device="cpu", weights="float32", compute=None, max_length=64)
    monkeypatch.setattr(machine, "memory", lambda: (16 * GB, 10**6))
    assert check_fit("it", setup, folder=tiny_model_dir).level == "warn"
    monkeypatch.setattr(machine, "memory", lambda: (16 * GB, 8 * GB))
    assert check_fit("it", setup, folder=tiny_model_dir).level == "fine"
    monkeypatch.setattr(machine, "memory", lambda: (None, None))
    assert check_fit("it", replace(setup, batch=10**6), folder=tiny_model_dir).level == "fine"


def test_table_marks_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    key = measured_key("7B", Setup(lora_r=8, checkpointing=True))
    text = table("en", {key: 16.66e9})
    assert text.count("measured") == 2 and "16.7 GB, measured" in text  # the row and the note
    assert "48 GB" in text and "predicted" in text and "预测" in table("zh")
    file = tmp_path / "README.zh-CN.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    results = tmp_path / "measured.json"
    results.write_text(json.dumps({key: 16.66e9}), encoding="utf-8")
    assert main([str(file), "--measured", str(results)]) == 0
    written = file.read_text(encoding="utf-8")
    assert "16.7 GB, 实测" in written and "old" not in written
    assert written.startswith("before\n") and written.endswith(f"{END}\nafter\n")
    assert main([]) == 0 and "the sketch's estimate" in capsys.readouterr().out
    (tmp_path / "plain.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(OutputError):
        write_table(tmp_path / "plain.md")
    assert main([str(tmp_path / "plain.md")]) == 2 and main([str(tmp_path / "none.md")]) == 2


def test_shipped_configurations_are_the_tables_rows(repo_root: Path) -> None:
    from stylellm.doctor.table import ROWS

    for row in ROWS:
        if row.config:
            config = load_config(repo_root / "configs" / f"{row.config}.yaml", [])
            assert config.model.model_name_or_path == f"Qwen/Qwen2.5-{row.model}"
            found = setup_of(config, device="cuda")
            assert replace(found, checkpointing=True) == row.setup
