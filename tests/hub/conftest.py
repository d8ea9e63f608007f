"""The local hub, clients that are online and know only it, and a model to serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_models import NAME, model_files
from local_hub import LocalHub


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    server = LocalHub()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub online, with its caches in a folder of the test, and no token or proxy."""
    from huggingface_hub import constants

    home = tmp_path / "缓存 home"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 3)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope_home"))


@pytest.fixture
def served(hub: LocalHub) -> LocalHub:
    """The local hub with one model and two neighbours."""
    hub.add(NAME, model_files())
    hub.add("Qwen/Qwen2.5-0.1B-Instruct", model_files())
    hub.add("someone/else", model_files())
    return hub
