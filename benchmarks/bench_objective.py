"""Time and memory of the loss stage: full logits with autograd against the chunked form.

Both run in this one process, turn about, with the same inputs: loss and gradient of the hidden
states. Peak memory is taken in a process of its own for each (Linux only; "not measured"
elsewhere). Only the ratios mean anything on another machine.

    python benchmarks/bench_objective.py --positions 2048 --vocabulary 151936
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

FORMS = ("dense", "chunked")


def main() -> None:
    args = parse()
    if args.memory_of:
        print(peak_memory(args))
        return
    memory = {form: measured_apart(form) for form in FORMS}
    seconds = times(args)
    report(args, seconds, memory)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--scored", type=float, default=1.0, help="share of positions with a label")
    parser.add_argument("--kl", type=float, default=1.0, help="share of positions with a KL")
    parser.add_argument("--direction", default="policy_ref", choices=["policy_ref", "ref_policy"])
    parser.add_argument("--chunk_size", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory_of", choices=FORMS, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_step(args: argparse.Namespace, form: str):
    """A function that runs loss and backward once and returns the loss."""
    import torch

    from stylellm.objective import chunked, dense

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    head = torch.empty(args.vocabulary, args.hidden, dtype=dtype).normal_(0, 0.06)
    policy = torch.empty(args.positions, args.hidden, dtype=dtype).normal_()
    reference = policy + 0.03 * torch.randn_like(policy)
    labels = torch.randint(args.vocabulary, (args.positions,))
    labels[torch.rand(args.positions) >= args.scored] = -100
    kl_weight = torch.rand(args.positions) < args.kl
    policy.requires_grad_()
    loss_of = {"dense": dense, "chunked": chunked}[form].style_alignment_loss

    def step() -> float:
        policy.grad = None
        result = loss_of(
            policy,
            reference,
            head,
            labels,
            kl_weight,
            0.1,
            kl_direction=args.direction,
            chunk_size=args.chunk_size,
        )
        result.loss.backward()
        return result.loss.item()

    return step


def times(args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per step of each form, the forms taking turns after one warm-up each."""
    steps = {form: make_step(args, form) for form in FORMS}
    losses = {form: step() for form, step in steps.items()}
    print("loss: " + ", ".join(f"{form} {loss:.6f}" for form, loss in losses.items()))
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for pair in range(args.pairs):
        for form in FORMS if pair % 2 == 0 else FORMS[::-1]:
            start = time.perf_counter()
            steps[form]()
            seconds[form].append(time.perf_counter() - start)
    return seconds


def measured_apart(form: str) -> float | None:
    """Peak memory of one step in MiB beyond its inputs, from a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory_of", form]
    answer = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if answer.returncode:
        sys.exit(answer.stderr)
    value = answer.stdout.split()[-1]
    return None if value == "None" else float(value)


def peak_memory(args: argparse.Namespace) -> float | None:
    if not Path("/proc/self/status").exists():
        return None
    step = make_step(args, args.memory_of)
    before = high_water_mark()
    step()
    return high_water_mark() - before


def high_water_mark() -> float:
    """VmHWM of this process in MiB: unlike ru_maxrss it does not start at the parent's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def report(
    args: argparse.Namespace, seconds: dict[str, list[float]], memory: dict[str, float | None]
) -> None:
    print(
        f"N={args.positions} H={args.hidden} V={args.vocabulary} {args.dtype}, "
        f"scored {args.scored:g}, kl {args.kl:g}, {args.direction}, {args.threads} thread(s)"
    )
    medians = {form: statistics.median(values) for form, values in seconds.items()}
    for form in FORMS:
        mib = memory[form]
        peak = "not measured" if mib is None else f"{mib:.0f} MiB"
        print(
            f"{form:8} {medians[form]:.3f} s (min {min(seconds[form]):.3f}, "
            f"max {max(seconds[form]):.3f}, {args.pairs} runs), peak {peak}"
        )
    print(f"time   dense / chunked: {medians['dense'] / medians['chunked']:.2f}")
    if memory["dense"] and memory["chunked"]:
        print(f"memory dense / chunked: {memory['dense'] / memory['chunked']:.2f}")


if __name__ == "__main__":
    main()
