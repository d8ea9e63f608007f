"""The snapshot of a machine that advice is given on: gathered once, a plain value afterwards."""

from __future__ import annotations

import locale
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from stylellm.doctor import nvidia
from stylellm.doctor.nvidia import Card

PACKAGES = (
    "stylellm", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers",
    "safetensors", "huggingface_hub", "numpy", "bitsandbytes", "flash_attn", "triton-windows",
    "modelscope-hub",
)  # fmt: skip


@dataclass(frozen=True)
class Torch:
    """The installed torch.

    Attributes:
        version: "2.13.0+cpu"; cuda, hip: what it was built with, None for neither.
        archs: the GPU architectures it holds, such as sm_86.
        cuda_works: torch.cuda.is_available().
        mps: Apple's GPU can be used.
        memory: (free, total) bytes of the first GPU as the runtime sees it.
        error: why it cannot be imported; then the rest is unknown.
    """

    version: str = ""
    cuda: str | None = None
    hip: str | None = None
    archs: tuple[str, ...] = ()
    cuda_works: bool = False
    mps: bool = False
    memory: tuple[int, int] | None = None
    error: str = ""


@dataclass(frozen=True)
class Machine:
    """What was found; sizes in bytes, None where it could not be found out."""

    system: str = "Linux"
    release: str = ""
    wsl: bool = False
    python: tuple[int, int, int] = (3, 11, 0)
    bits: int = 64
    cores: int = 1
    cpu_bf16: bool | None = None
    ram: int | None = None
    ram_free: int | None = None
    disk_free: int | None = None
    cards: tuple[Card, ...] = ()
    driver_cuda: str = ""
    driver_error: str = ""
    pci_nvidia: bool = False
    hidden_cards: bool = False
    torch: Torch | None = None
    packages: tuple[tuple[str, str], ...] = ()
    outdated: tuple[str, ...] = ()
    console: str = "utf-8"
    utf8_mode: bool = False
    language: str = ""
    long_paths: bool | None = None

    def package(self, name: str) -> str:
        """Its version, empty if it is not installed."""
        return dict(self.packages).get(name, "")


def gather(folder: Path | None = None) -> Machine:
    """Looks at this machine. Imports torch; nothing else is loaded, nothing is written.

    Args:
        folder: whose disk is looked at (the working folder).
    """
    cards, driver_cuda, driver_error = nvidia.ask()
    ram, ram_free = memory()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Machine(
        system=platform.system(),
        release=platform.release(),
        wsl="microsoft" in platform.release().lower(),
        python=sys.version_info[:3],
        bits=64 if sys.maxsize > 2**32 else 32,
        cores=os.cpu_count() or 1,
        cpu_bf16=cpu_bf16(),
        ram=ram,
        ram_free=ram_free,
        disk_free=_disk(folder or Path.cwd()),
        cards=cards,
        driver_cuda=driver_cuda,
        driver_error=driver_error,
        pci_nvidia=bool(cards) or _pci_nvidia(),
        hidden_cards=visible is not None and visible.strip() in ("", "-1"),
        torch=_torch(),
        packages=_packages(),
        outdated=_outdated(),
        console=console_encoding(),
        utf8_mode=bool(sys.flags.utf8_mode),
        language=locale.getlocale()[0] or "",
        long_paths=_long_paths(),
    )


def cpu_bf16() -> bool | None:
    """Whether the processor multiplies bfloat16 by itself; None where torch cannot tell."""
    try:
        import torch

        found = torch.cpu.get_capabilities()
    except (ImportError, OSError, AttributeError):  # no torch, a broken one, one before 2.9
        return None
    known = [found[name] for name in ("avx512_bf16", "amx_bf16", "bf16") if name in found]
    return any(known) if known else None


def memory() -> tuple[int | None, int | None]:
    """(total, available) RAM; a container's limit counts where it is lower."""
    try:
        import psutil
    except ImportError:
        return None, None
    seen = psutil.virtual_memory()
    total, free = int(seen.total), int(seen.available)
    for limit, used in _cgroup():
        total, free = min(total, limit), min(free, max(0, limit - used))
    return total, free


def _cgroup() -> list[tuple[int, int]]:
    """(limit, used) of this process's control group, if it has one."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return [(_number(limit), _number(used))]
        except (OSError, ValueError):
            continue
    return []


def _number(name: str) -> int:
    return int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii"))


def _disk(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _pci_nvidia() -> bool:
    """Whether a display device of NVIDIA is on the bus (Linux), with or without a driver."""
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor = (device / "vendor").read_text(encoding="ascii").strip()
            kind = (device / "class").read_text(encoding="ascii").strip()
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _torch() -> Torch | None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return None
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken DLL raises OSError on Windows
        return Torch(error=" ".join(str(error).split())[:300])
    works = torch.cuda.is_available()
    return Torch(
        version=torch.__version__,
        cuda=torch.version.cuda,
        hip=getattr(torch.version, "hip", None),
        archs=_archs(torch),
        cuda_works=works,
        mps=torch.backends.mps.is_available(),
        memory=_gpu_memory(torch) if works else None,
    )


def _archs(torch: object) -> tuple[str, ...]:
    """What the build holds; torch.cuda.get_arch_list() answers only where a card works."""
    flags = getattr(getattr(torch, "_C", None), "_cuda_getArchFlags", None)
    try:
        text = flags() if flags is not None else None
    except RuntimeError:
        text = None
    return tuple(text.split()) if text else ()


def _gpu_memory(torch: object) -> tuple[int, int] | None:
    try:
        return torch.cuda.mem_get_info()  # type: ignore[attr-defined]
    except RuntimeError:
        return None


def _packages() -> tuple[tuple[str, str], ...]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _outdated() -> tuple[str, ...]:
    """Requirements of stylellm that the installed packages do not meet, as pip writes them."""
    from importlib.metadata import PackageNotFoundError, requires, version

    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(text) for text in requires("stylellm") or []]
    except (ImportError, PackageNotFoundError):
        return ()
    unmet = []
    for need in wanted:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            fits = need.specifier.contains(version(need.name), prereleases=True)
        except PackageNotFoundError:
            fits = False
        if not fits:
            unmet.append(f"{need.name}{need.specifier}")
    return tuple(unmet)


def console_encoding() -> str:
    """Of standard output, as Python writes it: utf-8, gbk, cp936."""
    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    return encoding.lower().replace("_", "-")


def _long_paths() -> bool | None:
    """Windows: whether paths beyond 260 characters are allowed; None elsewhere."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as opened:
            return bool(winreg.QueryValueEx(opened, "LongPathsEnabled")[0])
    except OSError:
        return False
