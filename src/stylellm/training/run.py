"""The files of a run: what was set, what it ran on, the last checkpoint that is whole."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from stylellm.errors import OutputError, TrainingError
from stylellm.files import write_text

CONFIG_FILE = "stylellm_config.yaml"
RUN_FILE = "stylellm_run.json"
CHECKPOINT_FILES = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt")
PACKAGES = ("stylellm", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Refuses an output folder that holds something, unless it is a former run to be overwritten.

    Raises:
        OutputError: the folder exists and holds something.
    """
    if folder.is_file():
        raise OutputError(f"{folder} is a file", "a folder", "Name another --output_dir.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    ours = (folder / CONFIG_FILE).is_file()
    if overwrite and ours:
        return
    hint = "Name another --output_dir."
    if ours:
        hint = (
            "Use --resume to go on, --overwrite_output_dir to start again, or another --output_dir."
        )
    raise OutputError(
        f"the output folder {folder} exists and holds "
        + ("a former run" if ours else "files that are no run of stylellm"),
        "a new or empty folder",
        hint,
    )


def check_apart(prepared: Path, folder: Path) -> None:
    """Refuses prepared windows inside the output folder: starting again would remove them.

    Raises:
        OutputError: they lie inside.
    """
    if prepared.resolve().is_relative_to(folder.resolve()):
        raise OutputError(
            f"data.prepared_dir {prepared} lies inside the output folder {folder}",
            "two separate folders",
            "Change data.prepared_dir or --output_dir.",
        )


def clear_output(folder: Path) -> None:
    """An empty output folder; what ``check_output`` let pass is removed, once the new run can start."""
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def find_run(folder: Path) -> Path:
    """The run in ``folder``, or the only one directly below it (``--output_dir ./output``).

    Raises:
        OutputError: there is none, or there are several.
    """
    if (folder / CONFIG_FILE).is_file():
        return folder
    below = sorted(p.parent for p in folder.glob(f"*/{CONFIG_FILE}")) if folder.is_dir() else []
    if len(below) == 1:
        return below[0]
    found = f"holds {len(below)} runs ({', '.join(p.name for p in below[:5])})" if below else (
        f"holds no run ({CONFIG_FILE} is missing)" if folder.is_dir() else "does not exist"
    )  # fmt: skip
    raise OutputError(
        f"the folder {folder} {found}",
        "the output folder of one training run",
        "Name it with --output_dir, or train first: stylellm train --config train_config.yaml",
    )


def last_checkpoint(folder: Path) -> Path:
    """The newest checkpoint that was written to its end.

    The Trainer writes trainer_state.json last, so a checkpoint without a readable one was cut off. One
    without optimizer (training.save_only_model) cannot be resumed exactly.

    Raises:
        TrainingError: there is none.
    """
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdigit() and _is_whole(path):
            found.append((int(number), path))
    if not found:
        raise TrainingError(
            f"{folder} holds no complete checkpoint",
            "a run that was interrupted after its first checkpoint (training.save_steps), with "
            "training.save_only_model: false",
            "Start it again without --resume (add --overwrite_output_dir).",
        )
    return max(found)[1]


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all((path / name).is_file() for name in CHECKPOINT_FILES)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    if "torch" in sys.modules:  # its metadata may leave out what it was built with, such as +cu130
        found["torch"] = sys.modules["torch"].__version__
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, if it runs from one."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True, encoding="utf-8", timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def save_final(trainer: Any, folder: Path) -> None:
    """Writes adapter, tokenizer and trainer state into ``folder``, each file whole or not at all."""
    staging = folder / ".final.tmp"
    trainer.save_model(str(staging))
    if not trainer.args.should_save:
        return
    trainer.state.save_to_json(str(staging / "trainer_state.json"))
    for path in sorted(staging.iterdir()):
        path.replace(folder / path.name)
    staging.rmdir()
