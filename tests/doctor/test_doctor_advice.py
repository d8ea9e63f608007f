"""Recorded machines: each fault is found, in a sentence, with the command that mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded import (
    A100,
    CPU_TORCH,
    CU126,
    CU128,
    CU128_TORCH,
    CU130_TORCH,
    GB,
    GTX_1080TI,
    HEAD,
    OLD_DRIVER,
    RTX_2080TI,
    RTX_3060,
    RTX_4090,
    RTX_5090,
    machine,
)

from stylellm.doctor import nvidia
from stylellm.doctor.advice import Finding, advice, supports
from stylellm.doctor.machine import Machine, Torch, cpu_bf16
from stylellm.doctor.nvidia import parse_capability, parse_cuda, parse_query


def problems(m: Machine) -> list[Finding]:
    return [finding for finding in advice(m) if finding.level == "problem"]


def test_query_is_parsed() -> None:
    (card,) = parse_query(RTX_3060)
    assert card.name == "NVIDIA GeForce RTX 3060"
    assert (card.memory_total, card.memory_free) == (12288 * 2**20, 11754 * 2**20)
    assert (card.driver, card.capability, card.arch) == ("535.183.01", (8, 6), "sm_86")
    assert [c.memory_free for c in parse_query(A100)] == [81229 * 2**20, 34120 * 2**20]
    assert parse_query(RTX_5090)[0].arch == "sm_120"


def test_old_or_silent_drivers() -> None:
    (card,) = parse_query(OLD_DRIVER)
    assert card.capability is None and card.memory_free is None and card.driver == "451.82"
    assert parse_query("") == () and parse_query("No devices were found\n") == ()
    assert parse_cuda(HEAD) == "12.2" and parse_cuda("") == ""
    assert parse_capability("sm_90a") == (9, 0) and parse_capability("[N/A]") is None


def test_asking_without_compute_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(program: str, *arguments: str) -> tuple[int, str]:
        asked.append(arguments)
        if arguments and "compute_cap" in arguments[0]:
            return 2, 'Field "compute_cap" is not a valid field to query.\n'
        return 0, OLD_DRIVER if arguments else HEAD

    monkeypatch.setattr(nvidia.shutil, "which", lambda name: name)
    monkeypatch.setattr(nvidia, "_run", run)
    cards, cuda, error = nvidia.ask()
    assert cards[0].name == "Tesla K80" and cuda == "12.2" and error == "" and len(asked) == 3
    monkeypatch.setattr(nvidia, "_run", lambda *_: (9, "NVIDIA-SMI has failed because ...\nmore"))
    assert nvidia.ask() == ((), "", "NVIDIA-SMI has failed because ...")
    monkeypatch.setattr(nvidia.shutil, "which", lambda name: None)
    assert nvidia.ask() == ((), "", "")


@pytest.mark.parametrize(
    ("card", "archs", "expected"),
    [
        ((8, 9), ("sm_86",), True),  # a binary runs on a later minor version
        ((8, 0), ("sm_86",), False),
        ((6, 1), CU126, True),
        ((6, 1), CU128, False),
        ((12, 0), CU126, False),
        ((12, 0), CU128, True),
        ((12, 1), ("compute_90",), True),  # PTX is compiled by the driver
        ((7, 5), ("compute_80", "nonsense"), False),
    ],
)
def test_which_builds_run_on_a_card(
    card: tuple[int, int], archs: tuple[str, ...], expected: bool
) -> None:
    assert supports(card, archs) is expected


@pytest.mark.parametrize("cards", [RTX_3060, RTX_4090])
def test_a_sound_machine_has_no_problem(cards: str) -> None:
    found = advice(machine(cards))
    assert [f.level for f in found] == ["note"] and "nothing needs to be done" in found[0].text


def test_a_machine_without_card_has_nothing_to_mend() -> None:
    assert advice(machine(torch=CPU_TORCH, packages=())) == []


def test_cpu_torch_beside_a_card_on_windows() -> None:
    m = machine(RTX_4090, system="Windows", torch=CPU_TORCH, long_paths=False, console="gbk")
    (found,) = problems(m)
    assert "without CUDA" in found.text and "RTX 4090" in found.text
    assert found.fix[0] == "python -m pip uninstall -y torch"
    assert found.fix[1].endswith("--index-url https://download.pytorch.org/whl/cu126")
    texts = {f.text: f.fix for f in advice(m) if f.level == "warning"}
    assert any(
        "260 characters" in text and "LongPathsEnabled" in fix[0] for text, fix in texts.items()
    )
    assert any("gbk" in text and fix[0] == "chcp 65001" for text, fix in texts.items())


@pytest.mark.parametrize(("changes", "told"), [
    ({"system": "Windows"}, True),
    ({"system": "Windows", "packages": (("triton-windows", "3.3.1"),)}, False),
    ({"system": "Windows", "torch": CPU_TORCH}, False),
    ({"system": "Linux"}, False),  # there torch brings it along
])  # fmt: skip
def test_the_compiler_that_windows_lacks_is_named(changes: dict[str, Any], told: bool) -> None:
    fixes = [fix for f in advice(machine(RTX_4090, **changes)) for fix in f.fix]
    assert ("python -m pip install triton-windows" in fixes) is told


def test_blackwell_needs_a_build_that_holds_it() -> None:
    (found,) = problems(machine(RTX_5090))
    assert "sm_120" in found.text and found.fix[-1].endswith("/cu128")
    assert problems(machine(RTX_5090, torch=CU128_TORCH)) == []
    (old,) = problems(machine(RTX_5090.replace("572.83", "566.36"), torch=CU128_TORCH))
    assert "too old" in old.text and "570 or newer" in old.text


def test_pascal_with_a_build_that_dropped_it() -> None:
    (found,) = problems(machine(GTX_1080TI, torch=CU128_TORCH))
    assert "sm_61" in found.text and found.fix[-1].endswith("/cu126")
    assert problems(machine(GTX_1080TI)) == []


@pytest.mark.parametrize("cards", [GTX_1080TI, RTX_2080TI])
def test_cards_without_bf16(cards: str) -> None:
    (found,) = [f for f in advice(machine(cards)) if f.level == "warning"]
    assert "no bfloat16" in found.text and "training.fp16=true" in found.fix[0]
    assert not [f for f in advice(machine(RTX_3060)) if "bfloat16" in f.text]


def test_processors_without_bf16() -> None:
    (found,) = [f for f in advice(machine(cpu_bf16=False)) if "bfloat16" in f.text]
    assert found.level == "note" and "bf16=false" in found.fix[0]
    for other in (machine(cpu_bf16=True), machine(), machine(RTX_3060, cpu_bf16=False)):
        assert not [f for f in advice(other) if "bfloat16" in f.text]


def test_bf16_of_this_processor() -> None:
    """Against the kernel's own list of flags."""
    flags = Path("/proc/cpuinfo")
    if not flags.exists() or "flags" not in flags.read_text(encoding="utf-8"):
        pytest.skip("no list of x86 flags on this system")
    words = set(flags.read_text(encoding="utf-8").split())
    assert cpu_bf16() in (None, bool(words & {"avx512_bf16", "amx_bf16"}))


def test_driver_too_old_for_the_build() -> None:
    (found,) = problems(machine(RTX_3060, torch=CU130_TORCH))
    assert "Driver 535.183.01 is too old" in found.text and "580 or newer" in found.text
    assert any("cu126" in line for line in found.fix)  # the other way out: keep the driver
    newer = machine(RTX_3060.replace("535.183.01", "580.65.06"), torch=CU130_TORCH)
    assert "torch finds no GPU" in problems(newer)[0].text  # then it is something else
    (old,) = problems(machine(OLD_DRIVER))
    assert "451.82 is too old" in old.text and "525" in old.text


def test_card_without_driver() -> None:
    (found,) = problems(machine(pci_nvidia=True, torch=CPU_TORCH))
    assert "no driver answers" in found.text and "ubuntu-drivers" in found.fix[0]
    failing = machine(driver_error="NVIDIA-SMI has failed", wsl=True, torch=CPU_TORCH)
    assert "not inside WSL" in problems(failing)[0].fix[0]


def test_hidden_cards_and_other_programs() -> None:
    blind = Torch("2.7.1+cu126", cuda="12.6", archs=CU126, cuda_works=False)
    (found,) = problems(machine(RTX_3060, torch=blind, hidden_cards=True))
    assert "CUDA_VISIBLE_DEVICES" in found.text
    busy = RTX_3060.replace("11754 MiB", "3000 MiB")
    assert any("Other programs hold 9.7 GB" in f.text for f in advice(machine(busy)))
    assert any("2 cards" in f.text for f in advice(machine(A100)))


def test_python_torch_packages_and_space() -> None:
    assert "3.9.1" in problems(machine(python=(3, 9, 1)))[0].text
    assert any("32-bit" in f.text for f in problems(machine(bits=32)))
    (missing,) = problems(machine(RTX_4090, torch=None))
    assert "not installed" in missing.text and "/cu126" in missing.fix[0]
    broken = replace(CPU_TORCH, error="[WinError 126] fbgemm.dll")
    assert "VCRedist" in problems(machine(system="Windows", torch=broken))[0].fix[0]
    (old,) = problems(machine(outdated=("peft>=0.18",)))
    assert old.fix == ('python -m pip install "peft>=0.18"',)
    small = advice(machine(disk_free=5 * GB, ram=4 * GB))
    assert [f.level for f in small] == ["warning", "warning"]
    assert "HF_HOME" in small[0].fix[0]
    old_torch = machine(RTX_4090, outdated=("torch>=2.6",))
    assert any("older than StyleLLM needs" in f.text for f in problems(old_torch))


def test_every_finding_is_one_sentence_with_plain_characters() -> None:
    """It is shown on a GBK console too."""
    machines = [
        machine(RTX_4090, torch=CPU_TORCH, system="Windows", long_paths=False, console="cp936"),
        machine(RTX_5090), machine(A100), machine(pci_nvidia=True, torch=None),
    ]  # fmt: skip
    for finding in (f for m in machines for f in advice(m)):
        assert finding.text.endswith(".") and "\n" not in finding.text
        finding.text.encode("gbk")
