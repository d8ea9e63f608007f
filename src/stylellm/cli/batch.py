"""A file of prompts to a file of texts: interrupted, it goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

BATCH = 8


def write_batch(writer: Any, prompts: list[str], output: Path, *, beside_base: bool = True) -> int:
    """Continues all prompts, eight at a time, and returns how many texts the file holds.

    Rows go to ``OUTPUT.partial`` as they come; the file takes its name when all are there. A partial file
    of the same prompts and settings is continued, of others it is begun anew.
    """
    from stylellm.files import write_text
    from stylellm.progress import track

    partial = output.with_name(output.name + ".partial")
    header = _settings(writer, prompts, beside_base)
    rows = read_partial(partial, header)
    lines = [
        json.dumps(header, ensure_ascii=False),
        *(json.dumps(r, ensure_ascii=False) for r in rows),
    ]
    write_text(partial, "".join(line + "\n" for line in lines))
    starts = range(len(rows), len(prompts), BATCH)
    with partial.open("a", encoding="utf-8", newline="\n") as file:
        for start in track(starts, "write", "batch"):
            new = _rows(writer, prompts, start, beside_base)
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in new))
            file.flush()
            rows += new
    write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    partial.unlink()
    return len(rows)


def read_partial(path: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole rows of a partial file with this header; a line that was cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows[1:] if rows and rows[0] == header else []


def _rows(writer: Any, prompts: list[str], start: int, beside_base: bool) -> list[dict[str, Any]]:
    part = prompts[start : start + BATCH]
    seeds = [writer.options.seed + start + i for i in range(len(part))]
    rows: list[dict[str, Any]] = [
        {"prompt": p, "seed": s} for p, s in zip(part, seeds, strict=True)
    ]
    for name in ("base", "policy") if beside_base else ("policy",):
        texts = writer.continue_texts(part, seeds=seeds, which=name)
        for row, text in zip(rows, texts, strict=True):
            row[name] = text
    if writer.options.copy_watch:
        for row in rows:
            row["copies"] = [asdict(run) for run in writer.copies(row["policy"])]
    return rows


def _settings(writer: Any, prompts: list[str], beside_base: bool) -> dict[str, Any]:
    options = json.loads(json.dumps(asdict(writer.options)))
    sampling = json.loads(json.dumps(asdict(writer.sampling)))
    return {"prompts": prompts, "options": options, "sampling": sampling, "base": beside_base}
