"""The README's memory table: the sketch's figures beside what is predicted or was measured.

    python -m stylellm.doctor.table [--measured results.json] [README.md README.zh-CN.md ...]

prints the table, and writes it between its markers in the files that are named. A measured peak is
taken from what benchmarks/memory_fit.py wrote, and marked so; the others are predictions.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylellm.doctor.memory import GB, predict
from stylellm.doctor.setup import Setup
from stylellm.doctor.shapes import QWEN25
from stylellm.errors import OutputError, StyleLLMError
from stylellm.files import write_text

BEGIN, END = "<!-- memory:begin -->", "<!-- memory:end -->"


@dataclass(frozen=True)
class Row:
    """One recipe. sketch: the sketch's estimate as it wrote it, empty where it has none."""

    config: str
    model: str
    setup: Setup
    sketch: str


def _setup(r: int, batch: int, *, checkpointing: bool = True, bits4: bool = False) -> Setup:
    return Setup(batch=batch, lora_r=r, checkpointing=checkpointing, load_in_4bit=bits4)


ROWS = (
    Row("qwen2.5-0.5b", "0.5B", _setup(8, 4), ""),
    Row("qwen2.5-1.5b", "1.5B", _setup(8, 4), "8"),
    Row("qwen2.5-7b", "7B", _setup(8, 4), "24"),
    Row("", "7B", _setup(16, 8), "40"),
    Row("qwen2.5-14b", "14B", _setup(16, 4), "48"),
    Row("qwen2.5-7b-4bit", "7B", _setup(8, 4, bits4=True), "8–10"),
)

TEXT = {
    "en": {
        "head": ("recipe", "model", "LoRA rank", "batch x accumulation", "the sketch's estimate",
                 "peak, checkpointing on", "peak, checkpointing off"),
        "same": "the same with `lora_r: {r}`, batch {b}",
        "bits": " in 4 bits",
        "predicted": "predicted",
        "measured": "measured",
        "note": "GB (10^9 bytes) that torch allocates on a GPU at windows of 512 tokens in bf16; "
                "the card holds about 0.5 GB and 5% more. Predicted by `stylellm doctor`; measured "
                "on an H200 with one micro-batch a step where it says so.",
    },
    "zh": {
        "head": ("配置", "模型", "LoRA 秩", "批 x 累积", "最初方案的估计", "峰值（开重算）", "峰值（关重算）"),
        "same": "同上，`lora_r: {r}`，批 {b}",
        "bits": "，4 bit",
        "predicted": "预测",
        "measured": "实测",
        "note": "单位 GB（10^9 字节）：窗口 512 token、bf16 时 torch 在 GPU 上分配的峰值；显卡实际占用"
                "再多约 0.5 GB 和 5%。由 `stylellm doctor` 预测；标“实测”者在一块 H200 上以每步一个微批测得。",
    },
}  # fmt: skip


def table(language: str = "en", measured: dict[str, float] | None = None) -> str:
    """The markdown table with its note.

    Args:
        language: en or zh.
        measured: `measured_key` -> bytes, for the rows that were measured on a GPU.
    """
    words = TEXT[language]
    lines = ["| " + " | ".join(words["head"]) + " |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in ROWS:
        s = row.setup
        recipe = f"[{row.config}.yaml](configs/{row.config}.yaml)" if row.config else ""
        recipe = recipe or str(words["same"]).format(r=s.lora_r, b=s.batch)
        model = f"Qwen/Qwen2.5-{row.model}" + (str(words["bits"]) if s.load_in_4bit else "")
        cells = [recipe, model, str(s.lora_r), f"{s.batch} x {s.accumulation}"]
        cells.append(f"{row.sketch} GB" if row.sketch else "-")
        cells += [
            _peak(row, checkpointing, measured or {}, words) for checkpointing in (True, False)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", str(words["note"])])


def _peak(row: Row, checkpointing: bool, measured: dict[str, float], words: dict[str, Any]) -> str:
    from dataclasses import replace

    setup = replace(row.setup, checkpointing=checkpointing)
    known = measured.get(measured_key(row.model, setup))
    if known is not None:
        return f"{known / GB:.1f} GB, {words['measured']}"
    return f"{predict(QWEN25[row.model], setup).peak / GB:.1f} GB, {words['predicted']}"


def measured_key(model: str, setup: Setup) -> str:
    """Names a measurement: what benchmarks/memory_fit.py writes and this table reads."""
    form = setup.weights + (f"+{setup.compute}" if setup.compute else "")
    return " ".join(
        [
            model, setup.device, form, f"r{setup.lora_r}",
            f"{setup.batch}x{setup.max_length}",
            "4bit" if setup.load_in_4bit else "full",
            "checkpointing" if setup.checkpointing else "kept",
        ]
    )  # fmt: skip


def write_table(path: Path, measured: dict[str, float] | None = None) -> None:
    """Puts the table between the markers of a file (Chinese in *.zh-CN.md).

    Raises:
        OutputError: the file has no markers, or cannot be written.
    """
    text = path.read_text(encoding="utf-8")
    start, end = text.find(BEGIN), text.find(END)
    if start < 0 or end < start:
        raise OutputError(f"{path} has no place for the table", f"{BEGIN} and {END}")
    language = "zh" if ".zh" in path.name else "en"
    body = f"{BEGIN}\n{table(language, measured)}\n"
    write_text(path, text[:start] + body + text[end:])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stylellm.doctor.table",
                                     description="Write the memory table.")  # fmt: skip
    parser.add_argument("files", nargs="*", type=Path, help="files with the markers")
    parser.add_argument("--measured", type=Path, help="JSON of benchmarks/memory_fit.py")
    parser.add_argument("--language", choices=sorted(TEXT), default="en")
    args = parser.parse_args(argv)
    try:
        measured = json.loads(args.measured.read_text(encoding="utf-8")) if args.measured else {}
        for path in args.files:
            write_table(path, measured)
    except (StyleLLMError, OSError, ValueError) as error:
        print(f"table: error: {error}", file=sys.stderr)
        return 2
    if not args.files:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        print(table(args.language, measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
