"""What a run writes while it goes: one console line a log, train_log.jsonl, sample texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from stylellm.files import write_text
from stylellm.progress import one_line

LOG_FILE = "train_log.jsonl"
SAMPLES_FILE = "samples.jsonl"

Sample = Callable[[Any], list[dict[str, str]]]

_COLUMNS = (
    ("loss", "loss", "{:.4f}"),
    ("kl", "kl", "{:.4f}"),
    ("general_kl", "general kl", "{:.4f}"),
    ("learning_rate", "lr", "{:.1e}"),
    ("tokens_per_second", "tok/s", "{:.0f}"),
)


def training_line(step: int, logs: dict[str, float]) -> str:
    """One line of training numbers that fits 80 columns; all of them are in ``train_log.jsonl``."""
    parts = [f"{name} {form.format(logs[key])}" for key, name, form in _COLUMNS if key in logs]
    return f"step {step:>5}  " + "  ".join(parts)


def evaluation_line(step: int, logs: dict[str, float]) -> str:
    """One readable line of the numbers measured at an evaluation."""
    parts = [
        f"{key.removeprefix('eval_').replace('_', ' ')} {value:.4f}"
        for key, value in logs.items()
        if key.startswith("eval_") and key != "eval_loss"  # the author's NLL under another name
    ]
    return f"step {step:>5}  [validation] " + "  ".join(parts)


class ConsoleCallback(TrainerCallback):
    """A progress bar, and one line for each log (the Trainer's own prints raw dictionaries)."""

    def __init__(self, disable: bool = False) -> None:
        self.disable = disable
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                unit="step",
                desc="train",
                dynamic_ncols=True,
                leave=False,
                # None: no bar where standard error is a file; the lines of the log say enough there.
                disable=self.disable or None,
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if "tokens_per_second" in logs:
            tqdm.write(training_line(state.global_step, logs))
        elif any(key.startswith("eval_") for key in logs):
            tqdm.write(evaluation_line(state.global_step, logs))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the bar's line, also when training stopped with an error."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class JsonlCallback(TrainerCallback):
    """Appends every log to ``train_log.jsonl``; a resumed run goes on after its checkpoint's step."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / LOG_FILE

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            keep_until(self.path, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            _append(self.path, {"step": state.global_step, **logs})


class SampleCallback(TrainerCallback):
    """Writes a few texts of the policy at every evaluation, so that a user sees the manner come.

    Args:
        folder: where ``samples.jsonl`` goes.
        sample: called with the policy; returns rows ``{"prompt", "text"}``.
    """

    def __init__(self, folder: str | Path, sample: Sample) -> None:
        self.path = Path(folder) / SAMPLES_FILE
        self.sample = sample

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            keep_until(self.path, state.global_step)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or model is None:
            return
        for row in self.sample(model):  # it sets the modes it needs, and back
            _append(self.path, {"step": state.global_step, **row})
            tqdm.write(
                f"step {state.global_step:>5}  [sample] {one_line(row['prompt'] + row['text'])}"
            )


def keep_until(path: Path, step: int) -> None:
    """Drops the rows after ``step``: a resumed run writes them again, each exactly once."""
    if not path.is_file():
        return
    # Not splitlines: a sample text may hold U+2028 or U+0085, which JSON leaves as they are.
    rows = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    kept = [line for line in rows if _step_of(line) <= step] if step else []
    write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line cut off when the run was killed
        return float("inf")


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
