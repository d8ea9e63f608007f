"""Liger's kernels in the backbone: the same states and gradients; its losses stay out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_backbone_computes_the_same_with_ligers_kernels(tiny_model_dir):
    pytest.importorskip("triton", reason="pip install --no-deps liger-kernel triton")
    pytest.importorskip("liger_kernel", reason="pip install --no-deps liger-kernel triton")
    script = Path(__file__).parent / "liger_on_cpu.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_model_dir)],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *_, differences, kernels, whole = done.stdout.strip().splitlines()
    assert all(float(value) < 1e-5 for value in differences.split())
    assert kernels.split() == ["LigerRMSNorm.forward", "LigerSwiGLUMLP.forward"]
    assert "liger" not in whole.lower()  # no loss of Liger's in the model's forward
