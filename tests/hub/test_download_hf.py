"""Downloads from a local server through the real huggingface_hub client."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hub_models import NAME, NEEDED, model_files
from local_hub import TOKEN, Fault, LocalHub, git_sha1, sha256

from stylellm.errors import ModelError, OutputError, StyleLLMError
from stylellm.hub.download import Result, download
from stylellm.hub.progress import Quiet
from stylellm.hub.record import find

WEIGHTS = "model-00001-of-00002.safetensors"


class Told(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def get(hub: LocalHub, name: str = NAME, source: str = "hf", **options: object) -> Result:
    address = {"hf": hub.endpoint, "mirror": hub.endpoint}
    return download(name, source=source, endpoints=address, pause=0.01, **options)  # type: ignore[arg-type]


def failure(*args: object, kind: type[StyleLLMError] = ModelError, **options: object) -> str:
    with pytest.raises(kind) as raised:
        get(*args, **options)  # type: ignore[arg-type]
    message = str(raised.value)
    assert "\n" not in message
    return message


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_only_the_needed_files_come_and_they_are_right(served: LocalHub) -> None:
    result = get(served)
    folder = result.record.folder
    assert names(folder) == NEEDED == sorted(file.path for file in result.fetched)
    files = model_files()
    assert all((folder / name).read_bytes() == files[name] for name in NEEDED)
    assert find(NAME) == folder
    assert not list(folder.parent.parent.rglob("*.part"))


def test_a_second_run_verifies_and_brings_nothing(served: LocalHub) -> None:
    get(served)
    sent = served.sent
    again = get(served)
    assert again.fetched == () and served.sent == sent > 0


def test_the_cache_is_the_one_that_huggingface_hub_reads(served: LocalHub) -> None:
    """Both ways: it finds what we brought, and we take what it brought."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    folder = get(served).record.folder
    assert try_to_load_from_cache(NAME, "config.json") == str(folder / "config.json")
    sent = served.sent
    path = hf_hub_download(NAME, WEIGHTS, endpoint=served.endpoint)
    assert Path(path) == folder / WEIGHTS and served.sent == sent

    other = "someone/else"
    for name in NEEDED:
        hf_hub_download(other, name, endpoint=served.endpoint)
    sent = served.sent
    assert get(served, other).fetched == () and served.sent == sent


def test_a_new_commit_brings_only_what_changed(served: LocalHub) -> None:
    before = get(served).record.folder
    served.add(NAME, {**model_files(), "config.json": b'{"model_type": "qwen2", "x": 1}'})
    result = get(served)
    assert [file.path for file in result.fetched] == ["config.json"]
    assert result.record.folder != before and find(NAME) == result.record.folder
    assert names(result.record.folder) == NEEDED


def test_without_links_the_files_lie_in_the_snapshot(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows without developer mode; nothing is kept twice."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = get(served).record.folder
    assert names(folder) == NEEDED and not any(p.is_symlink() for p in folder.iterdir())
    assert list((folder.parent.parent / "blobs").iterdir()) == []
    assert get(served).fetched == ()


def test_a_folder_of_ones_own(served: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "我的 模型"
    result = get(served, local_dir=folder)
    assert result.record.folder == folder and names(folder) == NEEDED
    assert not any(p.is_symlink() for p in folder.iterdir())
    assert find(NAME) == folder
    assert get(served, local_dir=folder).fetched == ()
    assert "is a file" in failure(served, local_dir=folder / "LICENSE", kind=OutputError)


# connections that fail


def test_cut_connections_are_continued_where_they_were_cut(served: LocalHub) -> None:
    served.faults += [Fault(f"/cdn/.*{WEIGHTS}", times=3, cut=70_000)]
    told = Told()
    get(served, progress=told)
    assert sum("connection lost" in line for line in told.lines) == 3
    ranges = [s.headers.get("Range") for s in served.got(f"/cdn/.*{WEIGHTS}")]
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in ranges if r]
    assert ranges[0] is None and starts == sorted(starts) and starts[0] > 0
    assert starts[-1] <= 210_000
    assert sum(len(model_files()[name]) for name in NEEDED) == served.sent


def test_a_download_that_was_given_up_goes_on_in_the_next_run(served: LocalHub) -> None:
    served.faults += [Fault(WEIGHTS, cut=100_000), Fault(f"cdn.*{WEIGHTS}", cut=100_000)]
    served.faults += [Fault(f"cdn.*{WEIGHTS}", times=99, cut=0)]
    message = failure(served, max_workers=1)
    assert f"{WEIGHTS} cannot be received" in message and "it goes on where it stopped" in message
    assert find(NAME) is None
    served.faults.clear()
    served.seen.clear()
    get(served)
    assert [s.headers.get("Range") for s in served.got(f"/cdn/.*{WEIGHTS}")] == ["bytes=100000-"]


def test_another_source_goes_on_with_what_has_come(served: LocalHub) -> None:
    served.faults += [Fault(f"cdn.*{WEIGHTS}", cut=100_000)]
    served.faults += [Fault(f"cdn.*{WEIGHTS}", times=99, cut=0)]
    failure(served, max_workers=1)
    served.faults.clear()
    served.seen.clear()
    assert get(served, source="mirror").record.source == "mirror"
    assert [s.headers.get("Range") for s in served.got(f"/cdn/.*{WEIGHTS}")] == ["bytes=100000-"]


def test_a_server_that_ignores_the_range_sends_the_whole_file(served: LocalHub) -> None:
    served.faults += [Fault(f"cdn.*{WEIGHTS}", cut=50_000), Fault("cdn", times=9, plain=True)]
    folder = get(served).record.folder
    assert sha256((folder / WEIGHTS).read_bytes()) == sha256(model_files()[WEIGHTS])


def test_a_part_that_is_too_long_or_complete(served: LocalHub) -> None:
    folder = get(served).record.folder
    blobs, content = folder.parent.parent / "blobs", model_files()[WEIGHTS]
    for start in (content + b"more", content, content[:9]):
        (blobs / sha256(content)).unlink()
        (folder / WEIGHTS).unlink()
        (blobs / f"{sha256(content)}.{WEIGHTS}.part").write_bytes(start)
        assert [file.path for file in get(served).fetched] == [WEIGHTS]
        assert (folder / WEIGHTS).read_bytes() == content


def test_a_busy_or_slow_server_is_asked_again(served: LocalHub) -> None:
    served.faults += [
        Fault("^/api/models", times=2, status=503),
        Fault("cdn", times=2, status=429),
        Fault("config.json", delay=0.5),
    ]
    assert len(get(served).fetched) == len(NEEDED)


def test_a_server_that_stays_silent(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    served.faults += [Fault("^/api/models", times=9, delay=1)]
    assert "cannot be reached" in failure(served)


# contents that are wrong


def test_a_damaged_file_is_brought_again(served: LocalHub) -> None:
    served.faults += [Fault(f"cdn.*{WEIGHTS}", corrupt=True), Fault("resolve.*vocab", corrupt=True)]
    folder = get(served).record.folder
    assert all((folder / name).read_bytes() == model_files()[name] for name in NEEDED)


@pytest.mark.parametrize("file", [WEIGHTS, "tokenizer.json"])
def test_a_file_that_stays_damaged_is_refused_and_not_kept(served: LocalHub, file: str) -> None:
    served.faults += [Fault(f"(cdn|resolve).*{file}", times=99, corrupt=True)]
    message = failure(served)
    assert f"{file} from 127.0.0.1" in message and "damaged twice" in message
    assert ("sha256" if file == WEIGHTS else "git sha1") in message
    assert find(NAME) is None
    content = model_files()[file]
    bad = hashlib.sha256(content[:-1] + bytes([content[-1] ^ 1])).hexdigest()
    everything = [p for p in Path(served_cache()).rglob("*") if p.is_file()]
    assert everything and bad not in {sha256(p.read_bytes()) for p in everything}


def served_cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def test_a_file_damaged_on_the_disk_is_found_and_brought_again(served: LocalHub) -> None:
    folder = get(served).record.folder
    target = (folder / WEIGHTS).resolve()
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    assert [file.path for file in get(served).fetched] == [WEIGHTS]
    assert sha256((folder / WEIGHTS).read_bytes()) == sha256(model_files()[WEIGHTS])


# names, access, space


def test_a_wrong_name_is_answered_with_the_nearest(served: LocalHub) -> None:
    message = failure(served, "Qwen/Qwen2.5-0.1")
    assert "has no model Qwen/Qwen2.5-0.1, or it is private" in message and NAME in message
    assert NAME in failure(served, "qwen2.5_0.1B")
    assert NAME in failure(served, "Qwem/Qwen2.5-0.1B")


def test_without_a_search_the_shipped_names_are_offered(served: LocalHub) -> None:
    served.search_works = False
    assert "Qwen/Qwen2.5-7B" in failure(served, "Qwen/Qwen2.5-7b-bse")


def test_letters_in_another_case_are_the_same_model(served: LocalHub) -> None:
    folder = get(served, NAME.lower()).record.folder
    assert "models--Qwen--Qwen2.5-0.1B" in str(folder) and find(NAME) == folder


def test_a_wrong_revision_is_answered_with_those_there_are(served: LocalHub) -> None:
    message = failure(served, revision="v9")
    assert f"{NAME} has no revision 'v9'" in message and "main" in message


def test_a_revision_is_a_branch_a_tag_or_a_commit(served: LocalHub) -> None:
    old = served.repos[NAME].refs["main"]
    served.add(NAME, {**model_files(), "config.json": b'{"model_type": "new"}'})
    served.repos[NAME].refs["v1"] = old
    tagged = get(served, revision="v1").record.folder
    assert tagged.name == old and get(served).record.folder.name != old
    assert find(NAME, "v1") == find(NAME, old) == tagged != find(NAME) == find(NAME, "main")
    assert get(served, revision=old).fetched == ()


@pytest.mark.parametrize("revision", ["../x", "", "a b"])
def test_what_is_no_revision(served: LocalHub, revision: str) -> None:
    assert "is no revision" in failure(served, revision=revision)
    assert served.seen == []


def test_names_that_lead_out_of_the_folder_are_not_followed(served: LocalHub) -> None:
    bad = ["../tokenizer.json", "tokenizer\\..\\..\\x.json", "C:tokenizer.json"]
    served.add("a/b", model_files() | dict.fromkeys(bad, b"x"))
    assert sorted(file.path for file in get(served, "a/b").fetched) == NEEDED


def test_a_gated_model(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.repos[NAME].gated = True
    message = failure(served)
    assert "is gated" in message and "no token was sent" in message and "HF_TOKEN" in message
    assert f"https://huggingface.co/{NAME}" in message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "was not let in" in failure(served)


def test_a_private_model_needs_its_token(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.repos[NAME].private = True
    assert "or it is private" in failure(served)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert len(get(served).fetched) == len(NEEDED)
    # The storage is another host: the token must not go there.
    assert all("Authorization" not in s.headers for s in served.got("^/cdn/"))
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert "refuses the token" in failure(served)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model-00002-of-00002.safetensors": None}, "incomplete on the hub"),
        ({"model.safetensors.index.json": None}, "incomplete on the hub"),
        ({"config.json": None}, "holds no config.json"),
    ],
)
def test_a_repository_that_cannot_be_used(
    served: LocalHub, change: dict[str, None], words: str
) -> None:
    files = {k: v for k, v in model_files().items() if k not in change}
    served.add("a/b", files)
    assert words in failure(served, "a/b")


def test_a_repository_of_gguf_files_only(served: LocalHub) -> None:
    served.add("a/b-GGUF", {"config.json": b"{}", "b-q4.gguf": b"1"})
    message = failure(served, "a/b-GGUF")
    assert "no weights that transformers loads (it has gguf, json)" in message


def test_no_space_is_said_before_the_first_byte(served: LocalHub) -> None:
    served.sizes[WEIGHTS] = 10**18
    message = failure(served, kind=OutputError)
    assert "needs 1000000000.0 GB more" in message and "--local_dir" in message
    assert served.sent == 0


def test_a_second_download_at_the_same_time_is_refused(served: LocalHub) -> None:
    served.faults += [Fault("cdn", delay=0.6)]
    first = threading.Thread(target=get, args=(served,))
    first.start()
    while not served.got("^/cdn/"):
        pass
    assert "another download" in failure(served, kind=OutputError)
    first.join()
    assert find(NAME) is not None


# sources


def closed_port() -> str:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_no_network_names_the_mirror() -> None:
    with pytest.raises(ModelError, match="--use-mirror") as raised:
        download(NAME, source="hf", endpoints={"hf": closed_port()}, pause=0.01)
    assert "cannot be reached" in str(raised.value)


def test_auto_goes_to_the_mirror_and_sends_it_no_token(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    told = Told()
    result = download(
        NAME, endpoints={"hf": closed_port(), "mirror": served.endpoint}, progress=told
    )
    assert result.record.source == "mirror" and "cannot be reached" in " ".join(told.lines)
    assert all("Authorization" not in s.headers for s in served.seen)
    get(served, source="mirror")  # asked for by name, it is trusted
    assert served.seen[-1].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_login_page_in_place_of_the_hub(served: LocalHub) -> None:
    served.faults += [Fault("^/api/models", times=9, html=True)]
    assert "cannot be reached" in failure(served)


def test_a_proxy_is_used(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session

    monkeypatch.setenv("HTTP_PROXY", served.endpoint)
    close_session()
    result = download(NAME, source="hf", endpoints={"hf": "http://hub.invalid"}, pause=0.01)
    close_session()  # the next one reads the environment again
    assert len(result.fetched) == len(NEEDED)
    assert all(s.path.startswith("http://") for s in served.seen)


# offline


def test_offline_verifies_and_asks_nobody(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = get(served).record.folder
    served.seen.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get(served).record.folder == folder and served.seen == []
    assert "offline mode is on" in failure(served, "someone/else")
    (folder / WEIGHTS).resolve().write_bytes(b"short")
    assert f"{WEIGHTS} in {folder} is 5 bytes" in failure(served)


def test_a_model_that_is_there_needs_no_hub(served: LocalHub) -> None:
    folder = get(served).record.folder
    told = Told()
    result = download(NAME, source="hf", endpoints={"hf": closed_port()}, progress=told)
    assert result.record.folder == folder and "verifying what was downloaded" in told.lines[-1]


def test_a_dry_run_writes_no_model(served: LocalHub) -> None:
    result = get(served, dry_run=True)
    assert [file.path for file in result.fetched] == NEEDED
    assert served.sent == 0 and find(NAME) is None and not result.record.folder.exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("stylellm-tiny", "part of StyleLLM"),
        ("", "no model id"),
        ("a/b/c", "no model id"),
        ("../x", "no model id"),
        ("Qwen2.5 7B", "Qwen/Qwen2.5-7B"),
    ],
)
def test_what_is_no_id(
    served: LocalHub, typed: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no folder of such a name is
    assert words in failure(served, typed)
    assert served.seen == []


@pytest.mark.parametrize("page", ["https://huggingface.co/{}", "https://hf-mirror.com/{}/tree/main",
                                  "https://modelscope.cn/models/{}/summary"])  # fmt: skip
def test_the_address_of_a_page_is_an_id(served: LocalHub, page: str) -> None:
    assert get(served, page.format(NAME), dry_run=True).record.listing.model == NAME


def test_hashes_are_gits() -> None:
    assert git_sha1(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's empty blob
