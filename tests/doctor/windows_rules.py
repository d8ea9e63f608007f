"""Windows' rules on Linux, put on a child process through a sitecustomize module.

No symbolic links (a plain account may make none), no fork (processes are spawned), and, where the
system can compile one, a GBK locale, so that text files and the console are GBK unless said otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

RULES = """\
import multiprocessing
import os


def _refused(*args, **kwargs):
    raise OSError(1314, "A required privilege is not held by the client")


os.symlink = _refused
if hasattr(os, "fork"):
    del os.fork  # whoever asks for it fails, as on Windows
multiprocessing.set_start_method("spawn")
"""


def gbk_locale(folder: Path) -> dict[str, str]:
    """Environment of a GBK locale made for this test; without localedef only the console is GBK."""
    console = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "gbk", "PYTHONCOERCECLOCALE": "0"}
    if shutil.which("localedef") is None:
        return console
    made = folder / "zh_CN.GBK"
    command = ["localedef", "-i", "zh_CN", "-f", "GBK", str(made)]
    if not made.exists():
        subprocess.run(command, capture_output=True, check=False)
    if not made.exists():  # the charmaps are a package of their own
        return console
    return console | {"LOCPATH": str(folder), "LC_ALL": "zh_CN.GBK", "LANG": "zh_CN.GBK"}


def environment(folder: Path, *, gbk_files: bool = True) -> dict[str, str]:
    """The rules for a child process; folder holds what they are made of.

    Args:
        folder: a writable folder with an ASCII name.
        gbk_files: the locale too. File names are then GBK bytes, which no Windows does: paths that
            exist in UTF-8 cannot be named from such a child.
    """
    (folder / "sitecustomize.py").write_text(RULES, encoding="utf-8")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    values = inherited | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), inherited.get("PYTHONPATH")])),
        "PYTHONUTF8": "0", "PYTHONIOENCODING": "gbk", "OMP_NUM_THREADS": "1",
        "PYTHONWARNDEFAULTENCODING": "1", "LC_ALL": "C.UTF-8", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    return values | (gbk_locale(folder) if gbk_files else {})


def stylellm(
    *argv: str, env: dict[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The real command line, its output read as a GBK console would show it."""
    return subprocess.run(
        [sys.executable, "-m", "stylellm", *argv], env=env, cwd=cwd, capture_output=True,
        encoding="gbk", timeout=600,
    )  # fmt: skip
