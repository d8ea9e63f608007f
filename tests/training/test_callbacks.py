"""The log, the sample texts and the console lines of a run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from stylellm.training.callbacks import (
    ConsoleCallback,
    JsonlCallback,
    SampleCallback,
    evaluation_line,
    keep_until,
    training_line,
)

LOGS = {
    "loss": 3.14159, "reconstruction": 3.1, "kl": 0.01234, "kl_beta": 0.1, "num_labels": 812.4,
    "num_kl": 300.0, "learning_rate": 2e-4, "tokens_per_second": 1234.5,
}  # fmt: skip


def state(step, main=True):
    return SimpleNamespace(global_step=step, max_steps=10, is_world_process_zero=main)


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_training_line_names_the_numbers_that_fit_a_terminal():
    line = training_line(12, LOGS)
    assert line.startswith("step    12")
    for part in ("loss 3.1416", "kl 0.0123", "lr 2.0e-04", "tok/s 1234"):
        assert part in line
    assert "general" not in line
    assert len(training_line(123456, LOGS | {"general_kl": 0.12345})) <= 80


def test_an_evaluation_line_names_what_was_measured():
    line = evaluation_line(7, {"eval_author_nll": 2.5, "eval_drift_kl": 0.125, "epoch": 1})
    assert "[validation]" in line
    assert "author nll 2.5000" in line
    assert "drift kl 0.1250" in line
    assert "epoch" not in line


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "train_log.jsonl"
    lines = [json.dumps({"step": step, "loss": step / 10}) for step in range(1, 6)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_keep_until_drops_later_rows(log):
    keep_until(log, 3)
    assert [row["step"] for row in rows(log)] == [1, 2, 3]
    assert list(log.parent.iterdir()) == [log]


def test_keep_until_the_start_drops_all(log):
    keep_until(log, 0)
    assert log.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("broken", ['{"step": 4, "lo', "[]", '{"loss": 1}', '{"step": null}', "7"])
def test_keep_until_drops_a_row_that_was_cut_off(log, broken):
    with log.open("a", encoding="utf-8") as file:
        file.write(broken)
    keep_until(log, 5)
    assert [row["step"] for row in rows(log)] == [1, 2, 3, 4, 5]


def test_keep_until_without_a_file_makes_none(tmp_path):
    keep_until(tmp_path / "none.jsonl", 3)
    assert not list(tmp_path.iterdir())


def test_the_log_goes_on_after_the_step_of_the_checkpoint(tmp_path):
    folder = tmp_path / "输出 一"
    first = JsonlCallback(folder)
    first.on_train_begin(None, state(0), None)
    for step in (1, 2, 3):
        first.on_log(None, state(step), None, logs={"loss": float(step)})
    resumed = JsonlCallback(folder)
    resumed.on_train_begin(None, state(2), None)
    resumed.on_log(None, state(3), None, logs={"loss": 30.0})
    assert rows(folder / "train_log.jsonl") == [
        {"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 30.0}
    ]  # fmt: skip


def test_only_the_main_process_writes(tmp_path):
    log = JsonlCallback(tmp_path / "run")
    log.on_train_begin(None, state(0, main=False), None)
    log.on_log(None, state(1, main=False), None, logs={"loss": 1.0})
    sampled = SampleCallback(tmp_path / "run", lambda model: [{"prompt": "", "text": ""}])
    sampled.on_train_begin(None, state(0, main=False), None)
    sampled.on_evaluate(None, state(1, main=False), None, model=torch.nn.Linear(1, 1))
    assert not (tmp_path / "run").exists()


def test_samples_are_kept_with_their_step(tmp_path):
    def sample(model):
        return [{"prompt": "剑光", "text": "一闪\u2028\x85\n人已倒地"}]

    callback = SampleCallback(tmp_path, sample)
    model = torch.nn.Linear(1, 1)
    callback.on_train_begin(None, state(0), None)
    callback.on_evaluate(None, state(5), None, model=model)
    callback.on_evaluate(None, state(10), None, model=model)
    path = tmp_path / "samples.jsonl"
    wanted = {"step": 5, "prompt": "剑光", "text": "一闪\u2028\x85\n人已倒地"}
    assert rows(path) == [wanted, {**wanted, "step": 10}]
    # A resumed run keeps the texts up to its checkpoint, line separators inside them or not.
    SampleCallback(tmp_path, sample).on_train_begin(None, state(5), None)
    assert rows(path) == [wanted]


def test_the_console_shows_a_line_a_log(capsys):
    console = ConsoleCallback(disable=True)
    console.on_train_begin(None, state(0), None)
    console.on_step_end(None, state(1), None)
    console.on_log(None, state(1), None, logs=LOGS)
    console.on_log(None, state(1), None, logs={"eval_author_nll": 2.0})
    console.on_log(None, state(1), None, logs={"train_runtime": 1.0})
    console.on_log(None, state(1, main=False), None, logs=LOGS)
    console.on_train_end(None, state(1), None)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2
    assert "loss 3.1416" in lines[0]
    assert "author nll 2.0000" in lines[1]
    assert console.bar is None
