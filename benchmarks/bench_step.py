"""Time and memory of a whole training step: two models with full logits against ours.

Rows (all on the same random weights of a Qwen2.5 shape, LoRA on all linear layers, bf16; naive and
ce with peft's and torch's own layers, the others with those that our trainer puts in):

    naive        policy and a second frozen model, logits of both, log-softmax in float32, autograd
    ours         the step of stylellm's trainer: one model, adapter on and off, loss in chunks
    ce           cross-entropy alone: the step of transformers' Trainer; ce_checkpointed
    cached       ours, all of the reference's hidden states from the cache (objective.reference)
    top_half     ours, the adapter on the upper half of the layers (lora.lora_layers); top_quarter
    checkpointed ours, with gradient checkpointing
    compiled     ours, the decoder's layers compiled (training.torch_compile); also
                 compiled_cached, compiled_top_half, compiled_top_quarter, compiled_checkpointed

A step is forward and backward; the optimizer is the same for all and left out. The rows take turns
in one process; peak memory (weights included) is that of a fresh process for each row: what torch
has allocated on a GPU, what is resident on a CPU (Linux only; with --malloc mmap memory that is
freed goes back at once, with default glibc keeps much of it). --bf16 runs every row under autocast,
as training.bf16 does. Times are of the processor for one thread, of the clock otherwise. Only the
ratios of medians mean anything on another machine. Each round is printed, so that a run which is
cut off has said what it found.

    python benchmarks/bench_step.py --layers 6 --batch 2 --length 256
    python benchmarks/bench_step.py --layers 24 --batch 4 --length 512 --rows naive ours ce top_half
    python benchmarks/bench_step.py --device cuda --bf16 --batch 4 --length 512 --pairs 20
    python benchmarks/bench_step.py --shape tiny --layers 4 --batch 2 --length 32 --pairs 2
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory_fit import MMAP

from stylellm.doctor.shapes import QWEN25, Shape

OPTIONS = ("cached", "top_half", "top_quarter", "checkpointed")
ROWS = (
    "naive", "ours", "ce", *OPTIONS, "ce_checkpointed",
    "compiled", *(f"compiled_{option}" for option in OPTIONS),
)  # fmt: skip
SHAPES = QWEN25 | {"tiny": Shape("tiny", 64, 4, 4, 2, 256, 4000, True, 16)}
LORA = {"lora_alpha": 16, "lora_dropout": 0.05}
WIDTH = max(map(len, ROWS)) + 1
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    args = parse()
    if args.memory_of:
        print(peak_memory(args))
        return
    memory = {} if args.no_memory else {row: measured_apart(row, args.malloc) for row in args.rows}
    seconds = times(args)
    report(args, seconds, memory)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="0.5B", choices=SHAPES)
    parser.add_argument("--layers", type=int, help="as many as the shape has unless given")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--bf16", action="store_true", help="autocast, as training.bf16 does")
    parser.add_argument("--lora_r", type=int, default=8)
    parser.add_argument("--kl", type=float, default=1.0, help="share of positions with a KL")
    parser.add_argument("--rows", nargs="+", default=["naive", "ours", "ce"], choices=ROWS)
    parser.add_argument("--pairs", type=int, default=5, help="measured steps of each row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--malloc", choices=["mmap", "default"], default="mmap")
    parser.add_argument("--no_memory", action="store_true", help="time only")
    parser.add_argument("--memory_of", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.layers = args.layers or SHAPES[args.shape].layers
    return args


# What every row works on.


def make_model(args: argparse.Namespace) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = SHAPES[args.shape]
    config = Qwen2Config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        num_hidden_layers=args.layers,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=4096,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, args.dtype))
    torch.manual_seed(0)
    try:
        with torch.device(args.device):
            return Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def make_policy(args: argparse.Namespace, rows: list[str]) -> Any:
    """One base with an adapter for each way that a row needs; B is random, so that KL is above 0."""
    import torch
    from peft import LoraConfig, get_peft_model

    def config(first: int) -> Any:
        layers = list(range(first, args.layers)) if first else None
        return LoraConfig(
            **LORA, r=args.lora_r, target_modules=LINEARS, layers_to_transform=layers,
            task_type="CAUSAL_LM",
        )  # fmt: skip

    torch.manual_seed(2)
    policy = get_peft_model(make_model(args), config(0), adapter_name="all")
    for row, share in (("top_half", 2), ("top_quarter", 4)):
        if row in map(uncompiled, rows):
            policy.add_adapter(row, config(args.layers - max(1, args.layers // share)))
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return policy.to(args.device).train()


def make_batch(args: argparse.Namespace) -> dict[str, Any]:
    """Windows of the full length, all positions scored."""
    import torch

    from stylellm.masking.collate import collate

    torch.manual_seed(1)
    items = []
    for _ in range(args.batch):
        ids = torch.randint(SHAPES[args.shape].vocabulary, (args.length,)).tolist()
        kl = (torch.rand(args.length) < args.kl).tolist()
        items.append({
            "input_ids": ids, "labels": [*ids[1:], -100], "label_weight": [1.0] * args.length,
            "kl_mask": [*kl[:-1], False], "general_mask": [False] * args.length,
            "repeats": [True],
        })  # fmt: skip
    return {key: value.to(args.device) for key, value in collate(items, pad_id=0).items()}


# The rows.


def naive(
    args: argparse.Namespace, policy: Any, batch: dict[str, Any], folder: str
) -> Callable[[], Any]:
    """As one would write it into a Trainer: a second model, and both models' logits."""
    import torch
    import torch.nn.functional as F
    from transformers import Trainer

    reference = make_model(args).requires_grad_(False).eval()

    class Naive(Trainer):
        def compute_loss(self, model: Any, inputs: Any, **_: Any) -> Any:
            ids = {key: inputs[key] for key in ("input_ids", "attention_mask")}
            with self.accelerator.autocast():
                with torch.no_grad():
                    log_q = reference(**ids).logits.float().log_softmax(-1)
                log_p = model(**ids).logits.float().log_softmax(-1)
            kl = (log_p.exp() * (log_p - log_q)).sum(-1)[inputs["kl_mask"]].mean()
            return F.nll_loss(log_p.flatten(0, 1), inputs["labels"].flatten()) + 0.1 * kl

    trainer = Naive(model=policy, **trainer_arguments(args, folder))
    trainer.model_accepts_loss_kwargs = True  # the loss is divided by its positions already
    return lambda: trainer.training_step(policy, batch, torch.tensor(batch["labels"].numel()))


def trainer_arguments(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    from transformers import TrainingArguments

    return {"args": TrainingArguments(folder, use_cpu=args.device == "cpu", report_to=[], disable_tqdm=True,
                                      remove_unused_columns=False, max_steps=1, bf16=args.bf16)}  # fmt: skip


def ours(
    args: argparse.Namespace,
    policy: Any,
    batch: dict[str, Any],
    passes: Any,
    folder: str,
    *,
    compiled: bool = False,
) -> Callable[[], Any]:
    from stylellm.training.tally import count_positions
    from stylellm.training.trainer import Objective, StyleTrainer

    trainer = StyleTrainer(
        model=policy, objective=Objective(kl_beta=0.1), passes=passes, compile_layers=compiled,
        **trainer_arguments(args, folder),
    )  # fmt: skip
    counts = count_positions(batch)
    return lambda: trainer.training_step(policy, batch, counts)


def cross_entropy(
    args: argparse.Namespace, policy: Any, batch: dict[str, Any], folder: str
) -> Callable[[], Any]:
    import torch
    from transformers import Trainer

    trainer = Trainer(model=policy, **trainer_arguments(args, folder))
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    inputs["labels"] = inputs["input_ids"]
    count = torch.tensor(batch["labels"].numel() - len(batch["labels"]))
    return lambda: trainer.training_step(policy, inputs, count)


def uncompiled(row: str) -> str:
    """The row whose step a compiled_ row compiles; any other row itself."""
    return row.removeprefix("compiled_")


def make_step(args: argparse.Namespace, row: str, policy: Any, folder: str) -> Any:
    """A function that runs one step of a row, returns its seconds and keeps its loss as ``loss``."""
    import torch

    from stylellm.model.hidden_cache import HiddenCache
    from stylellm.model.passes import Passes, shared_layers_of

    batch = make_batch(args)
    kind = uncompiled(row)
    adapter = kind if kind.startswith("top_") else "all"
    policy.set_adapter(adapter)
    pefts = [type(module) for module in policy.modules()]
    if row == "naive":
        run = naive(args, policy, batch, folder)
    elif kind.startswith("ce"):
        run = cross_entropy(args, policy, batch, folder)
    else:
        cache = HiddenCache(Path(folder) / "cache") if kind == "cached" else None
        shared = shared_layers_of(policy) if adapter != "all" else 0
        passes = Passes(shared, cache)
        run = ours(args, policy, batch, passes, folder, compiled=row.startswith("compiled"))
    # Our trainer gives the adapter a forward pass of its own; naive and ce keep peft's.
    classes = [(module, type(module)) for module in policy.modules()]
    for (module, _), plain in zip(classes, pefts, strict=True):
        module.__class__ = plain

    def step() -> float:
        """Seconds of the step alone: what lets the rows share a policy is not part of it."""
        policy.set_adapter(adapter)
        for module, kept in classes:
            module.__class__ = kept
        if kind.endswith("checkpointed"):
            policy.get_base_model().gradient_checkpointing_enable()
        clock = clock_of(args)
        start = clock()
        step.loss = float(run())  # its loss is read
        if args.device == "cuda":
            torch.cuda.synchronize()
        seconds = clock() - start
        if kind.endswith("checkpointed"):
            policy.get_base_model().gradient_checkpointing_disable()
        policy.zero_grad(set_to_none=True)
        return seconds

    return step


def clock_of(args: argparse.Namespace) -> Callable[[], float]:
    on_cpu = args.device == "cpu"
    return time.process_time if args.threads == 1 and on_cpu else time.perf_counter


# Measuring.


def times(args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per step of each row, the rows taking turns after one warm-up each."""
    import torch

    torch.set_num_threads(args.threads)
    seconds: dict[str, list[float]] = {row: [] for row in args.rows}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        policy = make_policy(args, args.rows)
        steps = {row: make_step(args, row, policy, folder) for row in args.rows}
        for row, step in steps.items():
            print(f"  first step: {row} {step():.1f}", flush=True)  # what is compiled is so here
        print("loss: " + ", ".join(f"{row} {s.loss:.4f}" for row, s in steps.items()), flush=True)
        for pair in range(args.pairs):
            for row in args.rows if pair % 2 == 0 else args.rows[::-1]:
                seconds[row].append(steps[row]())
            shown = ", ".join(f"{row} {values[-1]:.3f}" for row, values in seconds.items())
            print(f"  round {pair + 1}: {shown}", flush=True)
    return seconds


def measured_apart(row: str, malloc: str) -> float | None:
    """Peak memory of a process that takes two steps of one row, in MiB beyond its imports."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory_of", row]
    environment = os.environ | (MMAP if malloc == "mmap" else {})
    answer = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=environment
    )
    if answer.returncode:
        sys.exit(answer.stderr)
    value = answer.stdout.split()[-1]
    return None if value == "None" else float(value)


def peak_memory(args: argparse.Namespace) -> float | None:
    if args.device == "cpu" and not Path("/proc/self/status").exists():
        return None
    import torch

    import stylellm.training.trainer  # noqa: F401

    torch.set_num_threads(args.threads)
    before = 0.0 if args.device == "cuda" else high_water_mark()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        policy = make_policy(args, [args.memory_of])
        step = make_step(args, args.memory_of, policy, folder)
        for _ in range(2):
            step()
        if args.device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return high_water_mark() - before


def high_water_mark() -> float:
    """VmHWM of this process in MiB: unlike ru_maxrss it does not start at the parent's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def report(
    args: argparse.Namespace, seconds: dict[str, list[float]], memory: dict[str, float | None]
) -> None:
    print(
        f"{args.shape} shape, {args.layers} layers, {args.batch}x{args.length}, {args.dtype}"
        f"{' under autocast' if args.bf16 else ''}, rank {args.lora_r}, {device_name(args.device)}, "
        f"KL at {args.kl:g} of the positions, {args.threads} thread(s), {args.pairs} steps a row"
    )
    medians = {row: statistics.median(values) for row, values in seconds.items()}
    base = "naive" if "naive" in medians else args.rows[0]
    print(f"{'':{WIDTH}}{'median s':>10}{'min':>9}{'max':>9}{'peak MiB':>10}"
          f"{'time: ' + base + ' /':>15}{'memory: ' + base + ' /':>17}{'time / ce':>11}")  # fmt: skip
    for row in args.rows:
        peak, other = memory.get(row), memory.get(base)
        cells = [f"{x:.3f}" for x in (medians[row], min(seconds[row]), max(seconds[row]))]
        less = f"{other / peak:.2f}" if peak and other else "not measured"
        ce = f"{medians[row] / medians['ce']:.2f}" if "ce" in medians else "not run"
        print(f"{row:{WIDTH}}{cells[0]:>10}{cells[1]:>9}{cells[2]:>9}"
              f"{f'{peak:.0f}' if peak else '-':>10}{medians[base] / medians[row]:>15.2f}"
              f"{less:>17}{ce:>11}")  # fmt: skip
    for row in ROWS:
        if row not in args.rows:
            print(f"{row:{WIDTH}}not run: --rows {row}")


if __name__ == "__main__":
    main()
