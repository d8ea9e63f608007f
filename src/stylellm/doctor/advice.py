"""What is wrong with a machine, in a sentence each, with the commands that fix it.

`advice` is a pure function of the snapshot, so it is tested on recorded ones. Sources: NVIDIA's
table of minor version compatibility (driver for a CUDA major version), the architecture lists of
the torch wheels, bitsandbytes' table of compute capabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stylellm.doctor.machine import Machine, Torch
from stylellm.doctor.nvidia import Card, parse_capability

GB = 10**9
WHEELS = "https://download.pytorch.org/whl"
DRIVERS = "https://www.nvidia.com/drivers"
PYTHONS = ((3, 11), (3, 13))
DRIVER_FOR_CUDA = {11: 450, 12: 525, 13: 580}  # major version -> oldest driver branch
BLACKWELL_DRIVER = 570
MIN_DISK = 20 * GB
MIN_RAM = 8 * GB


@dataclass(frozen=True)
class Finding:
    """One thing: a problem stops the work or the GPU, a warning costs something, a note is free."""

    level: Literal["problem", "warning", "note"]
    text: str
    fix: tuple[str, ...] = ()


def advice(machine: Machine) -> list[Finding]:
    """All findings, problems first; empty where nothing is to be done."""
    checks: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
        _python, _torch, _driver, _gpu_build, _bf16, _cpu_bf16, _four_bit, _attention, _compiler,
        _several, _other_users, _packages, _space, _console, _long_paths,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(machine)]
    order = ("problem", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.level))


def supports(capability: tuple[int, int], archs: Iterable[str]) -> bool:
    """Whether a build runs on a card: a binary of the same major version and no higher minor, or
    PTX (compute_XY) of no higher version, which the driver compiles."""
    for arch in archs:
        held = parse_capability(arch)
        if held is None:
            continue
        if arch.startswith("compute_") and held <= capability:
            return True
        if arch.startswith("sm_") and held[0] == capability[0] and held[1] <= capability[1]:
            return True
    return False


def wheel_index(card: Card) -> str:
    """The index whose torch holds this card: cu128 from Blackwell on, else cu126, which reaches
    back to Maxwell and needs no newer driver than 525."""
    new = card.capability is not None and card.capability >= (10, 0)
    return f"{WHEELS}/{'cu128' if new else 'cu126'}"


def reinstall(card: Card) -> tuple[str, ...]:
    """Commands that put the right build in the place of the one that is there."""
    return (
        "python -m pip uninstall -y torch",
        f"python -m pip install torch --index-url {wheel_index(card)}",
    )


def _python(m: Machine) -> Iterator[Finding]:
    version = ".".join(map(str, m.python))
    if m.bits != 64:
        yield Finding("problem", f"Python {version} is a 32-bit build, for which there is no torch.",
                      ("install the 64-bit Python 3.12 from https://www.python.org/downloads/",))  # fmt: skip
    if not PYTHONS[0] <= m.python[:2] <= PYTHONS[1]:
        create = "py -3.12 -m venv .venv" if m.system == "Windows" else "python3.12 -m venv .venv"
        yield Finding("problem", f"Python {version} is not one StyleLLM runs on (3.11 to 3.13).",
                      (create,))  # fmt: skip


def _torch(m: Machine) -> Iterator[Finding]:
    if m.torch is None:
        if m.cards:
            fix = reinstall(m.cards[0])[1:]
        else:
            fix = (f"python -m pip install torch --index-url {WHEELS}/cpu",)
        yield Finding("problem", "torch is not installed.", fix)
    elif m.torch.error:
        fix = ("python -m pip install --force-reinstall --no-deps torch",)
        if m.system == "Windows":  # its DLLs need Microsoft's runtime
            fix = ("winget install Microsoft.VCRedist.2015+.x64",)
        yield Finding("problem", f"torch cannot be imported ({m.torch.error}).", fix)


def _driver(m: Machine) -> Iterator[Finding]:
    if m.cards or not (m.driver_error or m.pci_nvidia):
        return
    where = "in Windows, not inside WSL" if m.wsl else "for the card"
    what = f"nvidia-smi fails ({m.driver_error})" if m.driver_error else "no driver answers"
    fix = f"install the NVIDIA driver {where}: {DRIVERS} ; then restart"
    if m.system == "Linux" and not m.wsl and not m.driver_error:
        fix = "sudo ubuntu-drivers install   (Ubuntu; elsewhere the distribution's NVIDIA driver)"
    yield Finding("problem", f"There is an NVIDIA card, but {what}, so it cannot be used.", (fix,))


def _gpu_build(m: Machine) -> Iterator[Finding]:
    """The build of torch against the card and the driver: the first reason that stops the GPU."""
    torch = m.torch
    if torch is None or torch.error or not m.cards:
        return
    card = m.cards[0]
    if torch.cuda is None:
        yield Finding(
            "problem",
            f"torch {torch.version} is built without CUDA, so the {card.name} lies idle.",
            reinstall(card),
        )
        return
    old = _driver_finding(m, card, torch)
    if old is not None:
        yield old
    elif card.capability and torch.archs and not supports(card.capability, torch.archs):
        yield _arch_finding(card, torch)
    elif m.hidden_cards:
        yield Finding("problem", "CUDA_VISIBLE_DEVICES hides every card from torch.",
                      ("set CUDA_VISIBLE_DEVICES=0" if m.system == "Windows"
                       else "unset CUDA_VISIBLE_DEVICES",))  # fmt: skip
    elif not torch.cuda_works:
        yield Finding(
            "problem",
            f"Driver {card.driver} and torch {torch.version} fit, yet torch finds no GPU.",
            ("restart the machine (a driver that was updated under way answers like this)",
             'python -c "import torch; torch.cuda.init()"   (says why)'),
        )  # fmt: skip


def _driver_finding(m: Machine, card: Card, torch: Torch) -> Finding | None:
    major = _major(torch.cuda)
    needed = DRIVER_FOR_CUDA.get(major, 0) if major else 0
    new = card.capability is not None and card.capability >= (10, 0)
    if new and major and major >= 12:
        needed = max(needed, BLACKWELL_DRIVER)
    have = _major(card.driver)
    if not have or have >= needed:
        return None
    fix: Sequence[str] = (f"update the driver to {needed} or newer: {DRIVERS}",)
    if major == 13 and have >= DRIVER_FOR_CUDA[12] and not new:
        fix = (*fix, "or keep it and take the build for CUDA 12:", *reinstall(card))
    return Finding(
        "problem",
        f"Driver {card.driver} is too old for torch {torch.version} (CUDA {torch.cuda}), which "
        f"needs {needed} or newer.",
        tuple(fix),
    )


def _arch_finding(card: Card, torch: Torch) -> Finding:
    return Finding(
        "problem",
        f"torch {torch.version} holds no code for the {card.name} ({card.arch}); it holds "
        f"{', '.join(torch.archs)}.",
        reinstall(card),
    )


def _bf16(m: Machine) -> Iterator[Finding]:
    for card in m.cards[:1]:
        if card.capability and card.capability < (8, 0):
            yield Finding(
                "warning",
                f"The {card.name} ({card.arch}) has no bfloat16; torch would imitate it, slowly.",
                ("--set training.bf16=false --set training.fp16=true --set model.dtype=float16",),
            )


def _cpu_bf16(m: Machine) -> Iterator[Finding]:
    if not m.cards and m.cpu_bf16 is False:
        yield Finding(
            "note",
            "This processor has no bfloat16 instructions: training.bf16: true takes somewhat longer "
            "here than float32, and saves memory.",
            ("--set training.bf16=false",),
        )


def _four_bit(m: Machine) -> Iterator[Finding]:
    for card in m.cards[:1]:
        if card.capability and card.capability < (6, 0):
            yield Finding("note", f"bitsandbytes does not support the {card.name}: load_in_4bit "
                          "cannot be used.")  # fmt: skip
        elif not m.package("bitsandbytes"):
            yield Finding("note", "bitsandbytes is not installed; only model.load_in_4bit needs it.",
                          ('python -m pip install ".[gpu]"',))  # fmt: skip


def _attention(m: Machine) -> Iterator[Finding]:
    for card in m.cards[:1]:
        if card.capability and card.capability >= (8, 0) and not m.package("flash_attn"):
            yield Finding("note", "flash-attn is not installed; attention runs on torch's own "
                          "kernels (attn_implementation: sdpa), nothing needs to be done.")  # fmt: skip


def _compiler(m: Machine) -> Iterator[Finding]:
    """torch brings Triton along on Linux, not on Windows."""
    works = m.torch is not None and m.torch.cuda_works
    if m.system == "Windows" and works and not m.package("triton-windows"):
        yield Finding(
            "note",
            "triton-windows is not installed; the loss runs without a compiler, which took three "
            "times as long where it was measured (Linux, H200).",
            ("python -m pip install triton-windows",),
        )


def _several(m: Machine) -> Iterator[Finding]:
    if len(m.cards) > 1:
        n = len(m.cards)
        command = f"torchrun --nproc_per_node {n} -m stylellm train --config train_config.yaml"
        text = f"{n} cards; stylellm train uses one unless it is started on all."
        yield Finding("note", text, (command,))
    if m.torch is not None and m.torch.hip:
        yield Finding("note", f"torch is built for AMD (ROCm {m.torch.hip}); StyleLLM has not been "
                      "tried there.")  # fmt: skip


def _other_users(m: Machine) -> Iterator[Finding]:
    for card in m.cards[:1]:
        if card.memory_total and card.memory_free is not None:
            used = card.memory_total - card.memory_free
            if used > max(0.15 * card.memory_total, 1.5 * GB):
                yield Finding(
                    "warning",
                    f"Other programs hold {used / GB:.1f} GB of the {card.name}'s memory.",
                    ("nvidia-smi   (lists them; close what is not needed)",),
                )


def _packages(m: Machine) -> Iterator[Finding]:
    wanted = [text for text in m.outdated if not text.startswith("torch")]
    if wanted:
        quoted = " ".join(f'"{text}"' for text in wanted)
        yield Finding("problem", f"Packages are missing or too old: {', '.join(wanted)}.",
                      (f"python -m pip install {quoted}",))  # fmt: skip
    if len(wanted) < len(m.outdated) and m.torch is not None:
        fix = reinstall(m.cards[0]) if m.cards else ()
        yield Finding(
            "problem", f"torch {m.torch.version} is older than StyleLLM needs (2.6).", fix
        )


def _space(m: Machine) -> Iterator[Finding]:
    if m.disk_free is not None and m.disk_free < MIN_DISK:
        text = (
            f"Only {m.disk_free / GB:.1f} GB of disk are free here; a 7B model alone takes 15 GB."
        )
        move = "setx HF_HOME D:\\hf" if m.system == "Windows" else "export HF_HOME=/big/disk/hf"
        yield Finding("warning", text, (f"{move}   (where models are kept)",))
    if m.ram is not None and m.ram < MIN_RAM:
        yield Finding("warning", f"{m.ram / GB:.1f} GB of RAM: models pass through it while they are "
                      "loaded; keep to the small ones.")  # fmt: skip


def _console(m: Machine) -> Iterator[Finding]:
    if m.console.replace("-", "") in ("utf8", "cp65001", "utf8sig"):
        return
    fix = ("chcp 65001", "setx PYTHONUTF8 1") if m.system == "Windows" else (
        "export PYTHONUTF8=1",
    )  # fmt: skip
    yield Finding(
        "warning",
        f"The console writes {m.console}, so characters outside of it are shown as ?; files are "
        "UTF-8 all the same.",
        fix,
    )


def _long_paths(m: Machine) -> Iterator[Finding]:
    if m.long_paths is False:
        yield Finding(
            "warning",
            "Windows refuses paths beyond 260 characters, which model caches can reach.",
            ("reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem /v LongPathsEnabled "
             "/t REG_DWORD /d 1 /f   (as administrator; then restart)",),
        )  # fmt: skip


def _major(version: str | None) -> int | None:
    head = (version or "").split(".")[0]
    return int(head) if head.isdigit() else None
