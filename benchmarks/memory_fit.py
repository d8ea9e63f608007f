"""Predicted peak memory of a training step beside the measured one, each in a fresh process.

A real step: `StyleTrainer` on a base of the given shape with random weights and a LoRA adapter,
windows of random tokens. On a GPU the peak is torch.cuda.max_memory_allocated. On a CPU it is the
highest resident memory (VmHWM, Linux only) above the import baseline: the resident memory after all
imports, one step of a minute model and one compilation of the loss, so that code which is loaded
late is not counted as the step's.

Resident memory also holds what malloc keeps after a free. So the child runs with glibc's
MALLOC_MMAP_THRESHOLD_ fixed at 64 KiB: larger tensors are mapped by themselves and go back at once,
and the peak is that of live tensors, which is what is predicted. `--malloc default` measures with
glibc's own moving threshold, as training normally runs.

    python benchmarks/memory_fit.py --model 0.5B --output memory_fit.json
    python benchmarks/memory_fit.py --layers 2 --hidden 256 --vocabulary 4000 --length 128
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

from stylellm.doctor.memory import predict
from stylellm.doctor.setup import Setup
from stylellm.doctor.shapes import QWEN25, Shape
from stylellm.doctor.table import measured_key

MIB = 2**20
# glibc maps blocks from 64 KiB on one by one, and gives them back when they are freed.
MMAP = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
FORMATS = {
    "fp32": ("float32", None),
    "bf16": ("bfloat16", "bfloat16"),
    "mixed": ("float32", "bfloat16"),
}


def main() -> None:
    args = parse()
    if args.one:
        print(json.dumps(measure(json.loads(args.one))))
        return
    shape, results = shape_of(args), {}
    print(f"{'setting':<56}{'predicted':>12}{'measured':>12}{'ratio':>8}")
    for setup in setups(args):
        results |= compare(args, shape, setup)
        if args.output:  # after each, as a run may be cut off
            Path(args.output).write_text(json.dumps(results, indent=2), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(QWEN25), help="a Qwen2.5 shape")
    for name, value in (("layers", 2), ("hidden", 256), ("intermediate", 1280),
                        ("vocabulary", 4000), ("lora_r", 8), ("steps", 2), ("threads", 1)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--length", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--format", nargs="+", choices=sorted(FORMATS), default=["fp32", "bf16"])
    parser.add_argument("--checkpointing", nargs="+", choices=["on", "off"], default=["off", "on"])
    parser.add_argument("--load_in_4bit", action="store_true", help="on a GPU")
    parser.add_argument("--malloc", choices=["mmap", "default"], default="mmap")
    parser.add_argument("--output", help="JSON that `python -m stylellm.doctor.table` reads")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def shape_of(args: argparse.Namespace) -> Shape:
    if args.model:
        return QWEN25[args.model]
    heads = args.hidden // 64
    return Shape("small", args.hidden, args.layers, heads, max(1, heads // 4), args.intermediate,
                 args.vocabulary, True, 64)  # fmt: skip


def setups(args: argparse.Namespace) -> list[Setup]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = []
    for form, batch, length, checkpointing in product(
        args.format, args.batch, args.length, args.checkpointing
    ):
        weights, compute = FORMATS[form]
        found.append(
            Setup(batch=batch, accumulation=1, max_length=length, lora_r=args.lora_r,
                  weights=weights, compute=compute, load_in_4bit=args.load_in_4bit,
                  checkpointing=checkpointing == "on", device=device)
        )  # fmt: skip
    return found


def compare(args: argparse.Namespace, shape: Shape, setup: Setup) -> dict[str, float]:
    """Prints one line; the measured peak under the name that the README's table looks for."""
    task = {"shape": asdict(shape), "setup": asdict(setup), "steps": args.steps,
            "threads": args.threads}  # fmt: skip
    environment = dict(os.environ)
    if args.malloc == "mmap":
        environment |= MMAP
    answer = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(task)],
        capture_output=True, encoding="utf-8", env=environment,
    )  # fmt: skip
    if answer.returncode:
        sys.exit(answer.stderr)
    measured = float(json.loads(answer.stdout.splitlines()[-1])["peak"])
    predicted = predict(shape, setup).peak
    key = measured_key(shape.name.removeprefix("Qwen2.5-"), setup)
    print(
        f"{key:<56}{predicted / MIB:>8.0f} MiB{measured / MIB:>8.0f} MiB{predicted / measured:>8.3f}",
        flush=True,
    )
    return {key: measured}


def measure(task: dict[str, Any]) -> dict[str, float]:
    """One run in this process."""
    import torch

    torch.set_num_threads(task["threads"])
    task["setup"]["target_modules"] = "all-linear"
    shape, setup = Shape(**task["shape"]), Setup(**task["setup"])
    tiny = replace(shape, hidden=64, layers=1, heads=2, kv_heads=1, head_size=32,
                   intermediate=128, vocabulary=512)  # fmt: skip
    train(tiny, replace(setup, batch=2, max_length=16), steps=1)
    compile_loss(setup.device)
    on_gpu = setup.device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = status("VmRSS")
    train(shape, setup, steps=task["steps"])
    after = torch.cuda.max_memory_allocated() if on_gpu else status("VmHWM")
    return {"peak": after - before}


def compile_loss(device: str) -> None:
    """Loads the compiler and compiles the loss once, on a few numbers."""
    import torch

    from stylellm.objective.chunked import style_alignment_loss

    hidden = torch.randn(32, 8, device=device, requires_grad=True)
    head = torch.randn(64, 8, device=device)
    labels = torch.zeros(32, dtype=torch.long, device=device)
    weight = torch.ones(32, device=device)
    loss = style_alignment_loss(
        hidden, hidden.detach() + 0.1, head, labels, weight, 0.1, compile=True
    )
    loss.loss.backward()


def status(name: str) -> int:
    """A size in bytes from /proc/self/status."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} in /proc/self/status")


def train(shape: Shape, setup: Setup, *, steps: int) -> None:
    """Some optimizer steps with the project's own trainer."""
    from transformers import TrainingArguments

    from stylellm.masking.collate import collator
    from stylellm.training.trainer import Objective, StyleTrainer

    policy = build(shape, setup)
    reset_high_water_mark(setup.device)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=setup.batch,
            gradient_accumulation_steps=setup.accumulation, report_to=[], save_strategy="no",
            logging_steps=steps, disable_tqdm=True, use_cpu=setup.device == "cpu",
            bf16=setup.compute == "bfloat16", fp16=setup.compute == "float16",
            remove_unused_columns=False,
        )  # fmt: skip
        if setup.checkpointing:
            policy.gradient_checkpointing_enable()
        StyleTrainer(
            model=policy, args=arguments, train_dataset=Windows(shape, setup, steps),
            data_collator=collator(0), objective=Objective(kl_beta=0.1),
        ).train()  # fmt: skip


def build(shape: Shape, setup: Setup) -> Any:
    """A base with random weights, made in its own format, and the adapter."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from stylellm.model.policy import add_lora

    config = Qwen2Config(
        hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied, attn_implementation=setup.attention,
    )  # fmt: skip
    torch.set_default_dtype(getattr(torch, setup.weights))
    try:
        with torch.device(setup.device):
            model = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    if setup.load_in_4bit:
        model = in_4bit(model, setup)
    return add_lora(model, base_name="random", r=setup.lora_r, dropout=setup.dropout).train()


def in_4bit(model: Any, setup: Setup) -> Any:
    """The model saved and loaded again as `model.load_in_4bit` does."""
    from stylellm.model.load import load_base

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        del model
        return load_base(folder, dtype=setup.weights, load_in_4bit=True)


def reset_high_water_mark(device: str) -> None:
    """The peak starts again at what is there now: making the weights may have taken more."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    place = Path("/proc/self/clear_refs")
    if place.exists():
        place.write_text("5", encoding="ascii")


class Windows:
    """Random windows, all positions scored and under the KL; every second one three tokens short,
    as real windows end at sentences."""

    def __init__(self, shape: Shape, setup: Setup, steps: int) -> None:
        self.shape, self.setup = shape, setup
        self.count = steps * setup.batch * setup.accumulation

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """The masks of an epoch; there are none here."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        import random

        draw = random.Random(index)
        length = self.setup.max_length - 3 * (index % 2)
        ids = [draw.randrange(self.shape.vocabulary) for _ in range(length)]
        return {"input_ids": ids, "labels": ids, "label_weight": [1.0] * length,
                "kl_mask": [True] * length, "general_mask": [False] * length}  # fmt: skip


if __name__ == "__main__":
    main()
