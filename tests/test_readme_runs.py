"""Every runnable command of the READMEs and of docs/ is run, in order, as it stands, at tiny size."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/evaluation.md",
    "docs/ingest.md",
    "docs/writing.md",
)  # both READMEs hold the same commands (test_readme.py)
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [line for block in _BLOCK.findall(text) for line in block.splitlines() if line.strip()]


def tiny_clone(folder: Path, model: Path) -> None:
    """What the commands use of a clone; train_config.yaml differs in its size only."""
    shutil.copytree(ROOT / "data" / "demo", folder / "data" / "demo")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "train.py", folder)
    config = yaml.safe_load((ROOT / "train_config.yaml").read_text(encoding="utf-8"))
    config["model"]["model_name_or_path"] = str(model)
    config["data"]["max_length"] = 96
    config["training"] |= {"max_steps": 2, "per_device_train_batch_size": 1, "save_steps": 1}
    config["evaluation"] = {"num_windows": 4, "num_samples": 2, "sample_chars": 20}
    config["generation"] = {"max_new_tokens": 8}
    (folder / "train_config.yaml").write_text(
        yaml.safe_dump(config, allow_unicode=True), encoding="utf-8"
    )


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    start = {"stylellm": [sys.executable, "-m", "stylellm"], "python": [sys.executable]}
    # evaluate reads the size of its samples from the saved configuration, but for these pages' own.
    words = [w.replace("num_samples=300", "num_samples=3") for w in words]
    environment = {**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*start[words[0]], *words[1:]], cwd=folder, env=environment, capture_output=True,
        encoding="utf-8", timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path, tiny_model_dir: Path) -> None:
    tiny_clone(tmp_path, tiny_model_dir)
    lines = [line for page in PAGES for line in commands(page)]
    assert len(lines) > 8
    for line in dict.fromkeys(lines):  # a page may repeat a command of another
        done = run(line, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr and "Warning" not in done.stderr, (
            f"{line}\n{done.stderr}"
        )
        control = [c for c in done.stdout + done.stderr if ord(c) < 32 and c != "\n"]
        assert not control, f"{line} writes control characters into a log: {control[:5]}"
    for name in ("adapter_model.safetensors", "report.html"):
        assert (tmp_path / "output" / "wuxia_model" / name).is_file()
