"""docs/install: the same commands in both languages, none of which harms a working GPU build."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from stylellm.cli.main import build_parser
from stylellm.doctor.advice import WHEELS

PAGES = ("docs/install.md", "docs/install.zh-CN.md")
_BLOCK = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(root: Path, page: str) -> list[list[str]]:
    text = (root / page).read_text(encoding="utf-8")
    return [block.splitlines() for block in _BLOCK.findall(text)]


def test_both_languages_show_the_same_commands(repo_root: Path) -> None:
    english, chinese = (blocks(repo_root, page) for page in PAGES)
    assert english == chinese and len(english) >= 8


@pytest.mark.parametrize("page", PAGES)
def test_no_command_exchanges_a_working_build(page: str, repo_root: Path) -> None:
    """torch is named only with its index, nothing is upgraded or forced, requirements.txt (which
    pins torch on Linux) stands in no block, and an uninstall only before the right build."""
    for block in blocks(repo_root, page):
        for line in block:
            if "pip install" not in line:
                continue
            assert not re.search(r"requirements|--upgrade|\s-U\b|--force|--pre\b", line), line
            if re.search(r"\storch\b", line):
                assert re.search(r"--index-url https://\S+/whl/(cu126|cu128|cpu)$", line), line
        removed = [i for i, line in enumerate(block) if "uninstall" in line]
        assert all("--index-url" in block[i + 1] for i in removed)
    text = (repo_root / page).read_text(encoding="utf-8")
    assert all(f"`{WHEELS}/{index}`" in text for index in ("cu126", "cu128", "cpu"))


@pytest.mark.parametrize("page", PAGES)
def test_windows_has_no_make(page: str, repo_root: Path) -> None:
    windows = [block for block in blocks(repo_root, page) if any("Scripts" in x for x in block)]
    assert len(windows) == 1 and "stylellm demo" in windows[0]
    assert not any(line.startswith(("make", "source", "export")) for line in windows[0])


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse_and_links_lead_somewhere(page: str, repo_root: Path) -> None:
    lines = [line for block in blocks(repo_root, page) for line in block]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("stylellm ")]
    assert len(commands) >= 8
    for argv in commands:
        assert build_parser(argv[0]).parse_args(argv).command == argv[0]
    text = (repo_root / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (repo_root / "docs" / link).exists(), link
