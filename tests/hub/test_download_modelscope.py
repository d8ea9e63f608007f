"""Downloads from a local server through the real ModelScope client (modelscope-hub)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_models import NAME, NEEDED, model_files
from local_hub import Fault, LocalHub, sha256

from stylellm.errors import ModelError
from stylellm.hub.download import Result, download
from stylellm.hub.record import find

pytest.importorskip("modelscope_hub", reason="the extra modelscope is not installed")
WEIGHTS = "model-00001-of-00002.safetensors"


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's waits between its own attempts (read from the environment on import)."""
    from modelscope_hub import _legacy_api

    monkeypatch.setattr(_legacy_api, "REPO_TREE_PAGE_RETRY_MAX_DELAY_SECONDS", 0)


def get(hub: LocalHub, name: str = NAME, **options: object) -> Result:
    return download(
        name, source="modelscope", endpoints={"modelscope": hub.endpoint}, pause=0.01, **options
    )  # type: ignore[arg-type]


def failure(hub: LocalHub, name: str = NAME, **options: object) -> str:
    with pytest.raises(ModelError) as raised:
        get(hub, name, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_the_needed_files_come_into_modelscopes_cache(served: LocalHub, tmp_path: Path) -> None:
    result = get(served)
    folder = result.record.folder
    assert folder.is_relative_to(tmp_path / "modelscope") and find(NAME) == folder
    assert sorted(p.name for p in folder.iterdir()) == NEEDED
    assert all((folder / name).read_bytes() == model_files()[name] for name in NEEDED)
    sent = served.sent
    assert get(served).fetched == () and served.sent == sent


def test_its_own_client_finds_them(served: LocalHub) -> None:
    from modelscope_hub import HubApi

    folder = get(served).record.folder
    api = HubApi(endpoint=served.endpoint)
    path = api.download_file(NAME, "model", "config.json", cache_dir=folder.parents[3],
                             local_files_only=True)  # fmt: skip
    assert path == folder / "config.json"


def test_cut_connections_are_continued_in_this_run_and_the_next(served: LocalHub) -> None:
    served.faults += [Fault(f"cdn.*{WEIGHTS}", cut=131_072)]
    served.faults += [Fault(f"cdn.*{WEIGHTS}", times=99, cut=0)]
    assert "cannot be received" in failure(served, max_workers=1)
    served.faults.clear()
    served.seen.clear()
    folder = get(served).record.folder
    asked = [s.headers["Range"] for s in served.got(f"/cdn/.*{WEIGHTS}")]
    assert asked == ["bytes=131072-"]
    assert sha256((folder / WEIGHTS).read_bytes()) == sha256(model_files()[WEIGHTS])


def test_a_file_that_stays_damaged_is_refused(served: LocalHub) -> None:
    served.faults += [Fault("FilePath=tokenizer.json", times=99, corrupt=True)]
    message = failure(served)
    assert "tokenizer.json" in message and "damaged twice (sha256" in message
    assert find(NAME) is None


def test_a_wrong_name_or_revision(served: LocalHub) -> None:
    assert NAME in failure(served, "Qwen/Qwen2.5-0.1")
    assert "no revision 'v9'; expected one of master" in failure(served, revision="v9")


def test_a_private_model(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.repos[NAME].private = True
    message = failure(served)
    assert "some accounts only (HTTP 403)" in message and "MODELSCOPE_API_TOKEN" in message
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-local")
    assert len(get(served).fetched) == len(NEEDED)
    asked = served.got("FilePath=config.json")
    assert asked[-1].headers["Authorization"] == "Bearer ms-local"
    storage = [s.headers for s in served.got("^/cdn/")]
    assert storage and not any({"Authorization", "Cookie"} & set(headers) for headers in storage)


def test_a_server_that_is_down(served: LocalHub) -> None:
    served.close()
    message = failure(served)
    assert "cannot be reached" in message and "--use-mirror" in message


def test_auto_ends_at_modelscope(served: LocalHub) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port: nothing listens
    result = download(
        NAME, endpoints={"hf": nowhere, "mirror": nowhere, "modelscope": served.endpoint}
    )
    assert result.record.source == "modelscope"
