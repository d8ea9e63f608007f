"""``stylellm doctor``: what this machine has, what is wrong with it, and what fits on it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylellm.doctor.machine import Machine
    from stylellm.doctor.nvidia import Card
    from stylellm.doctor.setup import Setup
    from stylellm.doctor.shapes import Shape

EXAMPLE = """\
example:
  stylellm doctor
  stylellm doctor --test
  stylellm doctor --model Qwen/Qwen2.5-7B --lora_r 16 --batch 8
  stylellm doctor --model Qwen/Qwen2.5-7B --load_in_4bit --memory 8     (a card of 8 GB)
  stylellm doctor --config configs/qwen2.5-7b.yaml

Memory is predicted, nothing is downloaded or loaded. 1 GB = 10^9 bytes. The exit code is 3 where a
problem was found or the settings do not fit."""

GB = 10**9
FOUND = 3
WEIGHTS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("--test", action="store_true",
                        help="measure matrix products (TFLOP/s) and copies (GB/s), some seconds")  # fmt: skip
    fit = parser.add_argument_group("what fits (with --model or --config)")
    fit.add_argument("--model", metavar="ID", help="a Qwen2.5 id, stylellm-tiny, or a model folder")
    fit.add_argument(
        "--config", metavar="FILE", help="take model and settings from a configuration"
    )
    for name, text in (("batch", "windows per micro-batch"), ("accumulation", "micro-batches per step"),
                       ("max_length", "tokens of a window"), ("lora_r", "rank of the adapter")):  # fmt: skip
        fit.add_argument(f"--{name}", type=int, default=None, metavar="N", help=text)
    fit.add_argument("--dtype", choices=("auto", *WEIGHTS), default=None,
                     help="number format of weights and computation")  # fmt: skip
    for name, text in (("load_in_4bit", "hold the base in 4 bits"),
                       ("load_in_8bit", "hold the base in 8 bits"),
                       ("gradient_checkpointing", "compute activations twice")):  # fmt: skip
        fit.add_argument(
            f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=text
        )
    fit.add_argument("--target_modules", nargs="+", default=None, metavar="NAME",
                     help="adapted layers, such as q_proj v_proj (all linear ones)")  # fmt: skip
    fit.add_argument("--memory", type=float, default=None, metavar="GB",
                     help="plan for a GPU of this much memory instead of this machine")  # fmt: skip
    fit.add_argument("--device", choices=("cuda", "cpu"), default=None,
                     help="plan for the GPU or the CPU (what this machine has)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from stylellm.doctor.advice import advice
    from stylellm.doctor.machine import gather

    machine = gather()
    _print_machine(machine)
    findings = advice(machine)
    _print_findings(findings)
    good = not any(finding.level == "problem" for finding in findings)
    if args.test:
        _print_speed()
    if args.model or args.config:
        good = _fits(args, machine) and good
    elif _asks_what_fits(args):
        from stylellm.errors import StyleLLMError

        raise StyleLLMError(
            "settings were given without a model",
            "--model or --config as well",
            "stylellm doctor --model Qwen/Qwen2.5-7B --lora_r 16 --batch 8",
        )
    return 0 if good else FOUND


def _asks_what_fits(args: argparse.Namespace) -> bool:
    names = ("batch", "accumulation", "max_length", "lora_r", "dtype", "load_in_4bit", "load_in_8bit",
             "gradient_checkpointing", "target_modules", "memory", "device")  # fmt: skip
    return any(getattr(args, name) is not None for name in names)


def _print_machine(m: Machine) -> None:
    rows = [
        ("system", f"{m.system} {m.release}{' (WSL)' if m.wsl else ''}, {m.cores} cores"),
        ("python", ".".join(map(str, m.python))),
        ("memory", f"{_gb(m.ram_free)} of {_gb(m.ram)} free; disk {_gb(m.disk_free)} free"),
        (
            "console",
            f"{m.console}{', UTF-8 mode' if m.utf8_mode else ''}, language {m.language or '-'}",
        ),
    ]
    for card in m.cards:
        rows.append(("gpu", _card(card, m.driver_cuda)))
    if not m.cards:
        rows.append(
            ("gpu", "Apple (mps)" if m.torch and m.torch.mps else "none that nvidia-smi sees")
        )
    if m.torch is not None and not m.torch.error:
        build = f"CUDA {m.torch.cuda}" if m.torch.cuda else "no CUDA"
        rows.append(("torch", f"{m.torch.version}, {build}"))
    versions = ", ".join(f"{name} {version}" for name, version in m.packages if name != "torch")
    rows.append(("packages", versions))
    for name, text in rows:
        print(f"{name:<10}{text}")


def _card(card: Card, cuda: str) -> str:
    memory = f"{_gb(card.memory_free)} of {_gb(card.memory_total)} free"
    driver = f"driver {card.driver}" + (f" (CUDA {cuda})" if cuda else "")
    arch = card.arch or "architecture unknown"
    return f"{card.name}, {memory}, {arch}, bf16 {_bf16(card.capability)}, {driver}"


def _bf16(capability: tuple[int, int] | None) -> str:
    return "?" if capability is None else "yes" if capability >= (8, 0) else "no"


def _print_findings(findings: list[Any]) -> None:
    print()
    if not findings:
        print("Nothing is wrong.")
    for finding in findings:
        print(f"{finding.level}: {finding.text}")
        for command in finding.fix:
            print(f"    {command}")


def _print_speed() -> None:
    from stylellm.doctor.speed import measure

    print("\nmeasured now:")
    for speed in measure():
        print(f"  {speed.value:10.3f} {speed.unit:<8} {speed.what}")


def _fits(args: argparse.Namespace, machine: Machine) -> bool:
    """Prints the prediction, the savings and what fits; whether the settings fit."""
    from stylellm.doctor.memory import predict
    from stylellm.doctor.proposals import propose, savings

    shape, setup = _shape_and_setup(args, machine)
    available, where = _available(args, machine, setup.device)
    prediction = predict(shape, setup)
    print(f"\n{shape.name}: {shape.parameters:,} parameters. One training step, predicted:")
    print("  " + _described(setup))
    for part, size in sorted(prediction.parts.items(), key=lambda item: -item[1]):
        print(f"  {size / GB:10.2f} GB  {part}")
    print(f"  {prediction.peak / GB:10.2f} GB  peak (in the {prediction.phase})")
    if setup.device == "cuda":
        print(f"  {prediction.needed / GB:10.2f} GB  with CUDA's own 0.5 GB and 5% fragmentation")
    fits = available is None or prediction.needed <= available
    if available is not None:
        print(f"  {available / GB:10.2f} GB  {where}: {'it fits' if fits else 'it does not fit'}")
    print("\nwhat each change saves by itself:")
    for text, saved in savings(shape, setup):
        print(f"  {saved / GB:10.2f} GB  {text}")
    if not fits and available is not None:
        _print_proposals(propose(shape, setup, available), setup)
    return fits


def _described(setup: Setup) -> str:
    layers = setup.target_modules
    parts = [
        f"batch {setup.batch} x {setup.accumulation}, {setup.max_length} tokens",
        f"rank {setup.lora_r} on {layers if isinstance(layers, str) else ', '.join(layers)}",
        f"{_weights(setup)} weights",
        f"{setup.compute} autocast" if setup.compute else "no autocast",
        f"checkpointing {'on' if setup.checkpointing else 'off'}",
        setup.device,
    ]
    return "; ".join(parts)


def _weights(setup: Setup) -> str:
    return "4-bit" if setup.load_in_4bit else "8-bit" if setup.load_in_8bit else setup.weights


def _print_proposals(proposals: list[Any], setup: Setup) -> None:
    from stylellm.doctor.proposals import yaml_lines

    if not proposals:
        print("\nNo setting of this model fits; take a smaller one.")
    for number, proposal in enumerate(proposals, 1):
        print(f"\nproposal {number}, {proposal.prediction.needed / GB:.1f} GB:")
        for line in yaml_lines(proposal.setup, before=setup):
            print(f"  {line}")


def _shape_and_setup(args: argparse.Namespace, machine: Machine) -> tuple[Shape, Setup]:
    from pathlib import Path

    from stylellm.doctor.check import setup_of
    from stylellm.doctor.setup import Setup
    from stylellm.doctor.shapes import known_shape, shape_of
    from stylellm.model.load import model_location

    device, bf16 = args.device or _device(args, machine), _has_bf16(machine)
    name = args.model
    if args.config:
        from stylellm.config import load_config

        config = load_config(args.config, [])
        name = name or config.model.model_name_or_path
        setup = setup_of(config, device=device, bf16_card=bf16)
    else:
        half: Any = "bfloat16" if bf16 else "float16"
        setup = Setup(device=device, weights=half, compute=half)
        if device == "cpu":
            setup = replace(setup, weights="float32", compute=None)
    shape = known_shape(name)
    if shape is None or Path(name).is_dir():
        folder = Path(model_location(name))
        shape = shape_of(name, folder if folder.is_dir() else None)
    return shape, _changed(setup, args, device, bf16)


def _changed(setup: Setup, args: argparse.Namespace, device: str, bf16: bool) -> Setup:
    """The setup with the options of the command line."""
    given = {
        "batch": args.batch,
        "accumulation": args.accumulation,
        "max_length": args.max_length,
        "lora_r": args.lora_r,
        "load_in_4bit": args.load_in_4bit,
        "load_in_8bit": args.load_in_8bit,
        "checkpointing": args.gradient_checkpointing,
        "target_modules": tuple(args.target_modules) if args.target_modules else None,
    }
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if args.dtype is not None:
        auto = "fp32" if device == "cpu" else "bf16" if bf16 else "fp16"
        dtype = auto if args.dtype == "auto" else args.dtype
        changed["weights"] = WEIGHTS[dtype]
        changed["compute"] = None if dtype == "fp32" else WEIGHTS[dtype]
    if changed.get("target_modules") == ("all-linear",):
        changed["target_modules"] = "all-linear"
    return replace(setup, **changed)


def _device(args: argparse.Namespace, machine: Machine) -> Any:
    """A card counts even if the installed torch cannot use it: that is what the findings fix."""
    return "cuda" if machine.cards or args.memory is not None else "cpu"


def _has_bf16(machine: Machine) -> bool:
    capability = machine.cards[0].capability if machine.cards else None
    return capability is None or capability >= (8, 0)


def _available(args: argparse.Namespace, machine: Machine, device: str) -> tuple[float | None, str]:
    if args.memory is not None:
        return args.memory * GB, "as given with --memory"
    if device == "cpu":
        return machine.ram_free, "RAM is free"
    if not machine.cards:
        return None, ""
    card = machine.cards[0]
    return card.memory_free or card.memory_total, f"of the {card.name} are free"


def _gb(size: int | None) -> str:
    return "?" if size is None else f"{size / GB:.1f} GB"
