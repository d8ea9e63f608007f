"""`doctor --test`: how fast the machine multiplies matrices and copies memory, measured now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 0.5  # of each measurement, after a warm-up


@dataclass(frozen=True)
class Speed:
    """One measured figure."""

    what: str
    value: float
    unit: str


def measure(*, seconds: float = SECONDS, size: int = 0) -> list[Speed]:
    """Matrix products per number format (TFLOP/s) and copies (GB/s) on the GPU, else on the CPU.

    Args:
        seconds: of each measurement.
        size: rows of the square matrices; 0 takes 8192 on a GPU, 1024 on a CPU.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = size or (8192 if device == "cuda" else 1024)
    where = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    found = [
        Speed(f"matrix product, {name}, {size} x {size} ({where})",
              _matmul(torch, device, getattr(torch, name), size, seconds), "TFLOP/s")
        for name in _formats(torch, device)
    ]  # fmt: skip
    found.append(
        Speed(f"copy within memory ({where})", _copy(torch, device, device, seconds), "GB/s")
    )
    if device == "cuda":
        found.append(Speed("copy from RAM to GPU", _copy(torch, "cpu", "cuda", seconds), "GB/s"))
    return found


def _formats(torch, device: str) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    if device == "cpu":
        return ("float32", "bfloat16")
    if torch.cuda.get_device_capability() >= (8, 0):
        return ("float32", "float16", "bfloat16")
    return ("float32", "float16")


def _matmul(torch, device: str, dtype, size: int, seconds: float) -> float:  # type: ignore[no-untyped-def]
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    out = torch.empty_like(a)
    per_second = _repeat(lambda: torch.matmul(a, b, out=out), _waiter(torch, device), seconds)
    return 2 * size**3 * per_second / 1e12


def _copy(torch, source: str, target: str, seconds: float) -> float:  # type: ignore[no-untyped-def]
    count = 2**26 if "cuda" in (source, target) else 2**24
    a = torch.zeros(count, dtype=torch.float32, device=source)
    if source != target:
        a = a.pin_memory()
    b = torch.empty(count, dtype=torch.float32, device=target)
    per_second = _repeat(lambda: b.copy_(a), _waiter(torch, target), seconds)
    moved = 4 * count * (2 if source == target else 1)  # read and written
    return moved * per_second / 1e9


def _waiter(torch, device: str) -> Callable[[], None]:  # type: ignore[no-untyped-def]
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def _repeat(work: Callable[[], object], wait: Callable[[], None], seconds: float) -> float:
    """Runs per second, over at least three runs and about this long."""
    work()
    wait()
    started, runs = time.perf_counter(), 0
    while runs < 3 or time.perf_counter() - started < seconds:
        work()
        wait()
        runs += 1
    return runs / (time.perf_counter() - started)
