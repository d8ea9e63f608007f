"""The whole way: a model on a local hub, the command line, and the loader that finds it by its id."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_models import NAME, model_files
from local_hub import Fault, LocalHub, git_sha1

from stylellm.cli.main import build_parser, main
from stylellm.hub.download import download

ROOT = Path(__file__).resolve().parents[2]


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_downloaded_and_loaded_by_its_id(
    hub: LocalHub, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from huggingface_hub import constants

    from stylellm.model.load import load_base, load_tokenizer, model_location

    name = "Someone/x"
    hub.add(name, read_folder(tiny_model_dir))
    hub.faults += [Fault("cdn.*model.safetensors", times=2, cut=20_000)]
    for source in ("hf", "modelscope"):
        if source == "modelscope":
            pytest.importorskip("modelscope_hub")
        folder = download(
            name, source=source, endpoints={source: hub.endpoint}, pause=0.01
        ).record.folder
        assert model_location(name) == str(folder) != name
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.close()
    loaded, original = load_base(name).state_dict(), load_base(str(tiny_model_dir)).state_dict()
    assert all(torch.equal(loaded[key], original[key]) for key in original)
    assert len(load_tokenizer(name)) == len(load_tokenizer(str(tiny_model_dir)))
    (folder / "model.safetensors").unlink()
    assert model_location(name) == name  # no longer whole: left to transformers


def test_the_command_says_where_and_what_to_write(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr("stylellm.hub.download.MIRROR", served.endpoint)
    assert main(["download", "--model", NAME, "--use-mirror"]) == 0
    out = capsys.readouterr().out
    assert "10 files" in out and "all verified" in out
    lines = out.split("put into train_config.yaml:\n")[1]
    assert yaml.safe_load(lines) == {"model": {"model_name_or_path": NAME}}
    folder = Path(out.split("folder: ")[1].splitlines()[0])
    assert (folder / "config.json").is_file()

    assert main(["download", "--model", NAME, "--source", "mirror"]) == 0
    assert "nothing was missing" in capsys.readouterr().out

    own = tmp_path / "模型 一"
    assert main(["download", "--model", NAME, "--use_mirror", "--local-dir", str(own)]) == 0
    lines = capsys.readouterr().out.split("put into train_config.yaml:\n")[1]
    assert yaml.safe_load(lines)["model"]["model_name_or_path"] == own.as_posix()

    assert main(["download", "--model", NAME, "--use-mirror", "--dry_run"]) == 0
    assert "to download: 0 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model", "Qwen/Qwen2.5-0.1C"], NAME),
        (["--model", NAME, "--revision", "v9"], "no revision"),
        (["--model", NAME, "--source", "hf"], "contradict"),
        (["--model", "stylellm-tiny"], "part of StyleLLM"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    argv: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("stylellm.hub.download.MIRROR", served.endpoint)
    assert main(["download", *argv, "--use-mirror"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("stylellm: error: ") and err.count("\n") == 1 and words in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_on_the_way(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr("stylellm.hub.download.MIRROR", served.endpoint)
    key = git_sha1(model_files()["LICENSE"])
    (tmp_path / f"LICENSE.{key[:8]}.part").symlink_to("/dev/full")
    argv = ["--model", NAME, "--use-mirror", "--local_dir", str(tmp_path)]
    assert main(["download", *argv]) == 2
    assert "no space left on the disk" in capsys.readouterr().err


def test_the_script_honours_the_environment(served: LocalHub, tmp_path: Path) -> None:
    """A process of its own, as a user runs it: HF_ENDPOINT, HF_HOME, and a GBK console."""
    home = tmp_path / "用户 home"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MODELSCOPE"))}
    environment |= {
        "HF_ENDPOINT": served.endpoint,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONIOENCODING": "gbk",
    }

    def run(*argv: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, str(ROOT / "scripts" / "download_model.py"), *argv]
        return subprocess.run(command, env=environment | more, capture_output=True, timeout=120)

    done = run("--model", NAME)
    assert done.returncode == 0, done.stderr
    assert str(home) in done.stdout.decode("gbk")
    assert (home / "hub" / "models--Qwen--Qwen2.5-0.1B" / "refs" / "main").is_file()
    assert len(served.got("resolve/.*/config.json")) == 1
    assert sum(map(len, (model_files()[s] for s in ("LICENSE", "vocab.json")))) <= served.sent
    served.seen.clear()
    done = run("--model", NAME, HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and b"nothing was missing" in done.stdout and served.seen == []
    done = run("--model", "a/b", HF_HUB_OFFLINE="1")
    assert done.returncode == 2 and b"offline mode" in done.stderr


@pytest.mark.parametrize("page", ["docs/download.md", "docs/download.zh-CN.md"])
def test_the_commands_of_the_page_are_understood(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line)
        if words[0] == "python":
            assert (ROOT / words[1]).is_file()
            words[:2] = ["stylellm", "download"]
        assert words[:2] == ["stylellm", "download"]
        assert build_parser("download").parse_args(words[1:]).model.startswith("Qwen/")
