"""LLaMA-Factory in an environment of its own: it pins other versions than StyleLLM needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stylellm.errors import ModelError, StyleLLMError

VERSION = "0.9.5"
VENV = ".venv-llamafactory"
TORCH = "torch"
COMPANIONS = ("torchvision", "torchaudio")
PINS = ("transformers<=5.6.0", "peft==0.18.1", "datasets==4.0.0")
"""What the tests ran with; LLaMA-Factory's own ranges reach no further."""


def program(venv: Path, name: str) -> Path:
    """A program of a virtual environment, as this system lays it out."""
    if os.name == "nt":
        return venv / "Scripts" / f"{name}.exe"
    return venv / "bin" / name


def install(venv: Path, *, index_url: str | None = None, torch: str = TORCH) -> None:
    """Makes the environment: torch with its torchvision and torchaudio first, then LLaMA-Factory.

    LLaMA-Factory imports all three, and they load only if they were built for one another: they are
    taken from one index, and what comes after may not exchange them.

    Args:
        venv: its folder; one that exists is completed.
        index_url: where torch comes from, such as https://download.pytorch.org/whl/cpu.
        torch: which one.

    Raises:
        StyleLLMError: pip failed (its own message stands above), or they do not load.
    """
    python = program(venv, "python")
    if not python.is_file():
        _run([sys.executable, "-m", "venv", str(venv)], "the environment could not be made")
    pip = [str(python), "-m", "pip", "install"]
    index = ["--index-url", index_url] if index_url else []
    _run([*pip, torch, *COMPANIONS, *index], f"{torch} could not be installed")
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "constraints.txt"
        pins.write_text("\n".join([*PINS, *_kept(python)]) + "\n", encoding="utf-8")
        extra = ["--extra-index-url", index_url] if index_url else []
        _run([*pip, "-c", str(pins), f"llamafactory=={VERSION}", *extra],
             f"LLaMA-Factory {VERSION} could not be installed")  # fmt: skip
    _run([str(python), "-c", "import torch, torchvision, torchaudio"],
         "torch, torchvision and torchaudio do not load together")  # fmt: skip


def train(venv: Path, folder: Path, recipe: str) -> None:
    """Runs ``llamafactory-cli train`` on an exported folder.

    Args:
        venv: LLaMA-Factory's environment.
        folder: what `export_llamafactory` wrote.
        recipe: one of its yaml files.

    Raises:
        StyleLLMError: it is not installed, or the folder holds no such recipe.
        ModelError: the training failed.
    """
    cli = program(venv, "llamafactory-cli")
    if not cli.is_file():
        raise StyleLLMError(
            f"{venv} holds no LLaMA-Factory", f"version {VERSION} in an environment of its own",
            "python scripts/train_llamafactory.py --install",
        )  # fmt: skip
    if not (folder / recipe).is_file():
        raise StyleLLMError(
            f"{folder} holds no {recipe}", "a folder made by stylellm export llamafactory"
        )
    # Not resolve(): a virtual environment's program must be called by its own path.
    done = subprocess.run([str(cli.absolute()), "train", recipe], cwd=folder)
    if done.returncode:
        raise ModelError(f"LLaMA-Factory ended with exit code {done.returncode}; see above")


def _kept(python: Path) -> list[str]:
    """Pins of the three that are there, their build included."""
    names = ("torch", *COMPANIONS)
    code = (
        f"from importlib.metadata import version as v\nfor n in {names}: print(f'{{n}}=={{v(n)}}')"
    )
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return found.stdout.split()


def _run(command: Sequence[str], failed: str) -> None:
    if subprocess.run(list(command)).returncode:
        raise StyleLLMError(f"{failed} (see above)", "Python 3.11 to 3.13 and a network")
