"""`stylellm serve` as a process: it says where it is, finishes what it writes, and stops in order."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from stylellm.cli.main import main


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "stylellm", "serve", str(folder), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout
        first = process.stdout.readline()
        found = re.search(r"serving (.+) at (http://\S+/v1) ", first)
        assert found, first + process.communicate(timeout=60)[1]
        yield process, found[2]
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_ends_in_order_before_the_server_does(trained: Path, number: int) -> None:
    with served(trained / "run", "--served_model_name", "武侠") as (process, address):
        client = openai.OpenAI(base_url=address, api_key="none", max_retries=0)
        whole = client.completions.create(model="武侠", prompt="剑光一闪", seed=1, max_tokens=60)
        stream = client.completions.create(
            model="武侠", prompt="剑光一闪", seed=1, max_tokens=60, stream=True
        )
        text = next(iter(stream)).choices[0].text
        process.send_signal(number)
        text += "".join(piece.choices[0].text for piece in stream)
        assert text == whole.choices[0].text
        client.close()
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.splitlines()[-1] == "stopped"
        assert "Traceback" not in errors


@pytest.mark.slow
def test_key_from_the_command_line(trained: Path) -> None:
    with served(trained / "run", "--api_key", "secret") as (_, address):
        assert httpx.get(f"{address}/models").status_code == 401
        found = httpx.get(f"{address}/models", headers={"Authorization": "Bearer secret"})
        assert [model["id"] for model in found.json()["data"]] == ["run"]


def test_a_port_in_use(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", str(trained / "run"), "--port", port]) == 2
    error = capsys.readouterr().err
    assert "cannot listen on 127.0.0.1" in error
    assert error.count("\n") == 1


def test_what_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["serve", str(trained / "run"), "--max_queue", "0"]) == 2
    assert main(["serve", str(trained / "run"), "--port", "99999"]) == 2
    monkeypatch.setattr("stylellm.errors.find_spec", lambda name: None)
    assert main(["serve", str(trained / "run")]) == 2
    assert 'pip install ".[serve]"' in capsys.readouterr().err
