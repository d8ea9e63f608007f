"""What nvidia-smi says: its CSV answer, and the CUDA version in the head of its table."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import dataclass

MIB = 2**20
FIELDS = ("index", "name", "memory.total", "memory.free", "driver_version", "compute_cap")
WINDOWS_PLACE = r"C:\Windows\System32\nvidia-smi.exe"


@dataclass(frozen=True)
class Card:
    """One NVIDIA GPU; memory in bytes, None where the driver does not say."""

    name: str
    memory_total: int | None = None
    memory_free: int | None = None
    driver: str = ""
    capability: tuple[int, int] | None = None

    @property
    def arch(self) -> str:
        """sm_86 and the like; empty if unknown."""
        return "sm_{}{}".format(*self.capability) if self.capability else ""


def parse_query(text: str) -> tuple[Card, ...]:
    """The cards in the answer to ``--query-gpu=... --format=csv`` (with header and units).

    Fields that a driver does not know are left unknown; lines that are no row are skipped.
    """
    rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if row]
    header = next((i for i, row in enumerate(rows) if "name" in row), None)
    if header is None:
        return ()
    names = [cell.split(" [")[0].strip() for cell in rows[header]]
    cards = []
    for row in rows[header + 1 :]:
        if len(row) == len(names):
            cards.append(_card(dict(zip(names, map(str.strip, row), strict=True))))
    return tuple(cards)


def _card(values: dict[str, str]) -> Card:
    return Card(
        name=values.get("name", "NVIDIA GPU"),
        memory_total=_bytes(values.get("memory.total", "")),
        memory_free=_bytes(values.get("memory.free", "")),
        driver=values.get("driver_version", ""),
        capability=parse_capability(values.get("compute_cap", "")),
    )


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"(\d+)(?: ?MiB)?", text)
    return int(found.group(1)) * MIB if found else None


def parse_capability(text: str) -> tuple[int, int] | None:
    """(8, 6) from "8.6", "sm_86" or "compute_86"."""
    found = re.fullmatch(r"(\d+)\.(\d)", text) or re.fullmatch(
        r"(?:sm|compute)_(\d+)(\d)[a-z]?", text
    )
    return (int(found.group(1)), int(found.group(2))) if found else None


def parse_cuda(text: str) -> str:
    """The highest CUDA version the driver can run, from the head of nvidia-smi's table."""
    found = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)", text)
    return found.group(1) if found else ""


def ask() -> tuple[tuple[Card, ...], str, str]:
    """(cards, driver's CUDA version, what went wrong) on this machine; all empty without a driver."""
    program = shutil.which("nvidia-smi") or shutil.which(WINDOWS_PLACE)
    if program is None:
        return (), "", ""
    for fields in (FIELDS, FIELDS[:-1]):  # drivers before 2021 do not know compute_cap
        code, text = _run(program, f"--query-gpu={','.join(fields)}", "--format=csv")
        if code == 0:
            return parse_query(text), parse_cuda(_run(program)[1]), ""
    first = text.strip().splitlines()[0] if text.strip() else f"exit code {code}"
    return (), "", first[:200]


def _run(program: str, *arguments: str) -> tuple[int, str]:
    try:
        done = subprocess.run([program, *arguments], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return 1, str(error)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", errors="replace")
