"""The report in a real browser: it shows, it logs no error, and no request leaves the page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from full_result import full_result

from stylellm.evaluation.compare_page import write_comparison
from stylellm.evaluation.report import to_html

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--enable-logging=stderr", "--log-level=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here")
    return found


def opened(chromium: str, page: Path, folder: Path) -> tuple[str, str, list[str]]:
    """The document as it was built, what the console said, and every address that was asked for."""
    log = folder / "net.json"
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}",
               "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    urls = re.findall(r'"url":"([^"]+)"', log.read_text(encoding="utf-8", errors="replace"))
    return done.stdout, console, urls


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["report", "compare"])
def test_page(chromium: str, tmp_path: Path, kind: str) -> None:
    page = tmp_path / "报告.html"
    if kind == "report":
        page.write_text(to_html(full_result()), encoding="utf-8")
    else:
        page = write_comparison({"甲": full_result(1), "乙": full_result(2)}, tmp_path)
    document, console, urls = opened(chromium, page, tmp_path)
    assert document.count("<svg") > (5 if kind == "report" else 0)
    assert not console
    asked = {url for url in urls if not url.startswith(("file:", "data:", "chrome", "about:"))}
    # The browser itself looks for its updates; the page would ask for something of its own.
    assert not {url for url in asked if not re.search(r"//[^/]*google(apis)?\.com", url)}


@pytest.mark.slow
def test_the_check_sees_a_request_and_an_error(chromium: str, tmp_path: Path) -> None:
    """A page that asks for a picture and throws is caught by the same means."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<meta charset=utf-8><img src='http://stylellm.invalid/a.png'><script>throw Error('x')</script>",
        encoding="utf-8",
    )
    _, console, urls = opened(chromium, page, tmp_path)
    assert "Uncaught Error: x" in console
    assert any("stylellm.invalid" in url for url in urls)
