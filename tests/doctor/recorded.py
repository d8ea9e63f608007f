"""Outputs of nvidia-smi in the form of several real cards, and the machines around them."""

from __future__ import annotations

from dataclasses import replace

from stylellm.doctor.machine import Machine, Torch
from stylellm.doctor.nvidia import parse_cuda, parse_query

HEADER = "index, name, memory.total [MiB], memory.free [MiB], driver_version, compute_cap\n"

RTX_3060 = HEADER + "0, NVIDIA GeForce RTX 3060, 12288 MiB, 11754 MiB, 535.183.01, 8.6\n"
RTX_4090 = HEADER + "0, NVIDIA GeForce RTX 4090, 24564 MiB, 22860 MiB, 566.36, 8.9\n"
RTX_2080TI = HEADER + "0, NVIDIA GeForce RTX 2080 Ti, 11264 MiB, 11010 MiB, 550.144.03, 7.5\n"
GTX_1080TI = HEADER + "0, NVIDIA GeForce GTX 1080 Ti, 11264 MiB, 11170 MiB, 560.94, 6.1\n"
RTX_5090 = HEADER + "0, NVIDIA GeForce RTX 5090, 32607 MiB, 30109 MiB, 572.83, 12.0\n"
A100 = HEADER + (
    "0, NVIDIA A100-SXM4-80GB, 81920 MiB, 81229 MiB, 535.129.03, 8.0\n"
    "1, NVIDIA A100-SXM4-80GB, 81920 MiB, 34120 MiB, 535.129.03, 8.0\n"
)
# A driver that knows no compute_cap, and a field it does not support; Windows line ends.
OLD_DRIVER = (
    "index, name, memory.total [MiB], memory.free [MiB], driver_version\r\n"
    "0, Tesla K80, 11441 MiB, [Not Supported], 451.82\r\n"
)
HEAD = """\
Mon Jan  6 10:11:12 2025
+---------------------------------------------------------------------------------------+
| NVIDIA-SMI 535.183.01             Driver Version: 535.183.01   CUDA Version: 12.2     |
|-----------------------------------------+----------------------+----------------------+
"""

CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU128 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
GB = 10**9


def machine(cards: str = "", **changes: object) -> Machine:
    """A sound machine with these cards; torch for CUDA 12.6 unless changed."""
    base = Machine(
        system="Linux",
        python=(3, 12, 3),
        cores=8,
        ram=32 * GB,
        ram_free=24 * GB,
        disk_free=200 * GB,
        cards=parse_query(cards),
        driver_cuda=parse_cuda(HEAD) if cards else "",
        pci_nvidia=bool(cards),
        torch=Torch("2.7.1+cu126", cuda="12.6", archs=CU126, cuda_works=True),
        packages=(("bitsandbytes", "0.45.5"),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


CPU_TORCH = Torch("2.7.1+cpu")
CU128_TORCH = Torch("2.8.0+cu128", cuda="12.8", archs=CU128, cuda_works=True)
CU130_TORCH = Torch("2.10.0+cu130", cuda="13.0", archs=CU128, cuda_works=False)
