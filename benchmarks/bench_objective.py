"""Time and memory of the loss stage: this project's beside full logits, Liger's and TRL's.

Loss (cross-entropy + 0.1 KL at every position) and gradient of the hidden states, from the same
inputs. Every measurement has a process of its own with one warm-up step (which also compiles); the
forms take turns, so that a busy machine is busy for all of them. Peak memory is what the process
takes beyond its inputs (Linux only; "not measured" elsewhere). Times are of the processor for one
thread, of the clock for several. Only the ratios of medians mean anything on another machine.

    python benchmarks/bench_objective.py --positions 1024 2048
    python benchmarks/bench_objective.py --positions 64 --vocabulary 4096 --hidden 64 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

TITLES = {
    "ours": "ours, eager",
    "ours_compiled": "ours, compiled",
    "full": "full logits",
    "liger": "Liger chunked JSD",
    "trl": "TRL chunked kernels",
}
BETA = 0.1


def main() -> None:
    args = parse()
    if args.measure:
        print(json.dumps(measure(args, args.measure)))
        return
    for positions in args.positions:
        results = take_turns(args, positions)
        report(args, positions, results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--direction", default="policy_ref", choices=["policy_ref", "ref_policy"])
    parser.add_argument("--forms", nargs="+", default=list(TITLES), choices=list(TITLES))
    parser.add_argument("--rounds", type=int, default=3, help="processes of each form")
    parser.add_argument("--steps", type=int, default=1, help="timed steps of a process")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--measure", choices=list(TITLES), help=argparse.SUPPRESS)
    return parser.parse_args()


def take_turns(args: argparse.Namespace, positions: int) -> dict[str, list[dict]]:
    """Measurements of each form; every second round in reverse order."""
    results: dict[str, list[dict]] = {form: [] for form in args.forms}
    for turn in range(args.rounds):
        for form in args.forms if turn % 2 == 0 else args.forms[::-1]:
            failed = results[form] and "not_run" in results[form][0]
            if not failed:
                results[form].append(apart(args, form, positions))
                show = results[form][-1]
                print(f"  N={positions} round {turn + 1} {TITLES[form]}: {show}", flush=True)
    return results


def apart(args: argparse.Namespace, form: str, positions: int) -> dict:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", form, "--positions", str(positions)]
    for name in ("hidden", "vocabulary", "dtype", "direction", "steps", "threads", "device"):
        command += [f"--{name}", str(getattr(args, name))]
    answer = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if answer.returncode:
        lines = answer.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"ended with status {answer.returncode} (memory?)"
        return {"not_run": reason}
    return json.loads(answer.stdout.splitlines()[-1])


def measure(args: argparse.Namespace, form: str) -> dict:
    """Seconds a step, peak memory in MiB beyond the inputs, and the loss."""
    import torch
    from loss_forms import NotInstalled, make

    torch.set_num_threads(args.threads)
    try:
        loss_of = make(form, args.direction)
    except NotInstalled as missing:
        return {"not_run": str(missing)}
    policy, reference, head, labels = inputs(args)
    start_memory(args.device)
    before = high_water_mark(args.device)

    def step() -> float:
        policy.grad = None
        loss = loss_of(policy, reference, head, labels, BETA, True)
        loss.backward()
        return loss.item()

    loss = step()
    peak = high_water_mark(args.device)
    clock = time.process_time if args.threads == 1 and args.device == "cpu" else time.perf_counter
    seconds = []
    for _ in range(args.steps):
        start = clock()
        step()
        seconds.append(clock() - start)
    used = None if peak is None or before is None else peak - before
    return {"seconds": statistics.median(seconds), "mib": used, "loss": loss}


def inputs(args: argparse.Namespace) -> tuple:
    """Hidden states of policy and reference with a KL near 0.004, head and labels."""
    import torch

    torch.manual_seed(0)
    dtype, device = getattr(torch, args.dtype), args.device
    head = torch.empty(args.vocabulary, args.hidden, dtype=dtype, device=device)
    head.normal_(0, 3 / args.hidden**0.5)
    policy = torch.empty(args.positions[0], args.hidden, dtype=dtype, device=device).normal_()
    reference = policy + 0.03 * torch.randn_like(policy)
    labels = torch.randint(args.vocabulary, (len(policy),), device=device)
    return policy.requires_grad_(), reference.detach(), head, labels


def start_memory(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def high_water_mark(device: str) -> float | None:
    """Peak so far in MiB; on a CPU VmHWM, which unlike ru_maxrss does not start at the parent's."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return None


def report(args: argparse.Namespace, positions: int, results: dict[str, list[dict]]) -> None:
    print(
        f"N={positions} H={args.hidden} V={args.vocabulary} {args.dtype}, {args.direction}, "
        f"{args.device}, {args.threads} thread(s), {args.rounds} processes each, medians"
    )
    rows = {form: medians(found) for form, found in results.items()}
    best = rows.get("ours") or rows.get("ours_compiled")
    print(f"{'loss':20} {'seconds':>9} {'ratio':>7} {'peak MiB':>9} {'ratio':>7} {'loss':>10}")
    for form in args.forms:
        row = rows[form]
        if row is None:
            print(f"{TITLES[form]:20} not run: {results[form][0]['not_run']}")
            continue
        seconds, mib, loss = row
        memory = "not meas." if mib is None else f"{mib:.0f}"
        times = f"{seconds / best[0]:.2f}" if best else "-"
        shares = f"{mib / best[1]:.2f}" if best and mib is not None and best[1] else "-"
        print(
            f"{TITLES[form]:20} {seconds:>9.3f} {times:>7} {memory:>9} {shares:>7} {loss:>10.5f}",
            flush=True,
        )


def medians(found: list[dict]) -> tuple[float, float | None, float] | None:
    if not found or any("not_run" in one for one in found):
        return None
    memory = [one["mib"] for one in found if one["mib"] is not None]
    return (
        statistics.median(one["seconds"] for one in found),
        statistics.median(memory) if memory else None,
        found[0]["loss"],
    )


if __name__ == "__main__":
    main()
