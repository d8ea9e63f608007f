"""Fixtures shared by all tests: where the real books lie, and a tiny random model to run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tiny_models import STORY, save_tiny_model, save_tiny_tokenizer

# Times on a shared machine say nothing about the code.
hypothesis.settings.register_profile("stylellm", deadline=None)
hypothesis.settings.load_profile("stylellm")

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def corpus_dir() -> Path:
    """The folder of real books; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("STYLELLM_CORPUS") or ROOT.parent / "shared" / "corpus")
    if not folder.is_dir():
        pytest.skip(f"real books not found at {folder} (set STYLELLM_CORPUS)")
    return folder


@pytest.fixture(scope="session")
def story() -> str:
    """A short original text."""
    return STORY


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Qwen2 model and its tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny_tokenizer(folder)
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_model_dir: Path) -> Any:
    """The tokenizer of ``tiny_model_dir``."""
    from stylellm.model.load import load_tokenizer

    return load_tokenizer(str(tiny_model_dir))


@pytest.fixture(scope="session")
def make_policy(tiny_model_dir: Path) -> Callable[..., Any]:
    """A factory of fresh LoRA policies on the tiny model, in eval mode.

    ``trained=True`` gives the adapter random B weights, so that policy and reference differ;
    ``double=True`` converts everything to float64; other options go to ``add_lora``.
    """
    import torch

    from stylellm.model.load import load_base
    from stylellm.model.policy import add_lora

    def make(*, trained: bool = False, double: bool = False, seed: int = 0, **lora: Any) -> Any:
        base = load_base(str(tiny_model_dir), dtype="float32")  # auto: 16 bits on a GPU
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            policy = add_lora(
                base, **{"base_name": str(tiny_model_dir), "r": 4, "dropout": 0.0, **lora}
            )
            if trained:
                for name, weight in policy.named_parameters():
                    if "lora_B" in name:
                        torch.nn.init.normal_(weight, std=0.1)
        return (policy.double() if double else policy).eval()

    return make
