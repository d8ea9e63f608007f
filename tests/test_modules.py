"""Every module of the package imports on its own, and the sketch's scripts still answer."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import stylellm

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages(stylellm.__path__, "stylellm."))


@pytest.mark.parametrize("name", [m for m in MODULES if not m.endswith("__main__")])
def test_module_imports_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ and len(module.__doc__.strip()) > 10


def run_script(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300
    )


@pytest.mark.parametrize(
    "script",
    [
        "train.py",
        "scripts/inference.py",
        "scripts/setup_data.py",
        "scripts/download_model.py",
        "scripts/check_gpu.py",
    ],
)
def test_help_of_the_sketchs_scripts(script: str) -> None:
    done = run_script(script, "--help")
    assert done.returncode == 0 and "example:" in done.stdout


def test_setup_data_copies_and_checks(tmp_path: Path) -> None:
    source = ROOT / "data" / "demo" / "author"
    command = ["scripts/setup_data.py", "--source", str(source), "--author", "沈雁迟"]
    done = run_script(*command, "--data_dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    copied = sorted(p.name for p in (tmp_path / "data" / "沈雁迟").iterdir())
    assert copied == sorted(p.name for p in source.glob("*.txt"))
    assert (
        run_script(*command, "--data_dir", str(tmp_path / "data")).returncode == 0
    )  # again: equal
    done = run_script("scripts/setup_data.py", "--source", str(tmp_path / "no"), "--author", "x")
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.slow
def test_quick_test_passes(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from quick_test import quick_test
    finally:
        sys.path.pop(0)
    assert quick_test(tmp_path) == []


def test_inference_takes_the_sketchs_model_option(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from inference import arguments
    finally:
        sys.path.pop(0)
    assert arguments(["--model", "out", "--seed", "1"]) == ["out", "--seed", "1"]
    assert arguments(["--seed", "1", "--model=out"]) == ["out", "--seed", "1"]
    assert json.dumps(arguments(["out"])) == '["out"]'
