"""Results on the terminal: 80 columns are enough, and a log file gets the same without colours."""

from __future__ import annotations

from typing import Any

from stylellm.progress import one_line

ROWS = ("base", "policy", "other_author", "held_out_author")


def print_result(result: dict[str, Any]) -> None:
    """The table of an evaluation, a row a text, and what it means in three lines.

    Args:
        result: what ``evaluation.json`` holds.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    orders = [n for n in ("2", "3") if n in next(iter(result["ngram_overlap"].values()))]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = ("", "author", "general", "JSD", *(f"{n}-gram" for n in orders), "rep-4", "copy", "n")
    for column in columns:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name in (name for name in ROWS if name in result["function_word_jsd"]):
        table.add_row(
            name.replace("_", " "), *_likelihoods(result, name), *_style(result, name, orders)
        )
    console = Console(highlight=False)
    console.print(table)
    for line in _legend(result):
        console.print(line)


def _likelihoods(result: dict[str, Any], name: str) -> list[str]:
    """Bits per character on the author's and on general text; a real text has none."""
    rows = [(result[text] or {}).get(name) for text in ("author", "general")]
    return [f"{row['bits_per_character']:.3f}" if row else "" for row in rows]


def _style(result: dict[str, Any], name: str, orders: list[str]) -> list[str]:
    overlap = result["ngram_overlap"][name]
    return [
        f"{result['function_word_jsd'][name]:.4f}",
        *(f"{overlap[n]:.3f}" for n in orders),
        f"{result['rep_4'][name]:.3f}",
        str(result["longest_copy"][name]["length"]),
        f"{result['num_characters'][name]:,}",
    ]


def _legend(result: dict[str, Any]) -> list[str]:
    lines = [
        "author, general: bits per character of held-out text, lower is better",
        "JSD: distance of function words from the author, lower is nearer"
        + (" (few: noisy)" if result["small_sample"] else ""),
        "n-gram: share found in the author's books; copy: longest run taken from them",
    ]
    if result["drift_kl"] is not None:
        lines.append(f"drift on general text: KL {result['drift_kl']:.4f} nats per token")
    if result.get("suffix_gain"):
        gain = {name: result["suffix_gain"][name]["suffix_gain"] for name in ("base", "policy")}
        lines.append(
            f"gain from the text behind a gap: base {gain['base']:.3f}, policy {gain['policy']:.3f}"
        )
    return lines


def print_table(found: Any) -> None:
    """A table of the report, English labels.

    Args:
        found: a `stylellm.evaluation.tables.Table`.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in (found.corner, *found.columns):
        table.add_column(column.en, justify="left" if column is found.corner else "right")
    for row in found.rows:
        table.add_row(row.label.en, *(cell.text for cell in row.cells))
    Console(highlight=False).print(table)


def print_row(row: dict[str, Any]) -> None:
    """A prompt and its continuations, one below the other."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name in (name for name in ("base", "policy") if name in row):
        text = "\n".join(filter(None, map(one_line, row[name].splitlines())))
        table.add_row(name, Text.assemble((row["prompt"], "bold"), text))
    console = Console(highlight=False)
    console.print(table)
    console.print()


def print_copies(runs: list[Any]) -> None:
    """Runs of a text that stand in the books, one a line.

    Args:
        runs: of `stylellm.generation.copy_guard.Run`.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for run in runs:
        text = one_line(run.text)
        console.print(f"copied: {run.length} characters, {text} ({run.source}, at {run.offset:,})")


def print_fillings(fillings: list[Any]) -> None:
    """Ways to fill the gaps, the best first, the answers in bold.

    Args:
        fillings: of `stylellm.generation.infill.Filling`.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for filling in fillings:
        behind = "" if filling.suffix_nll is None else f" + {filling.suffix_nll:.2f}"
        table.add_row(f"{filling.nll:.2f}{behind}", one_line(filling.text))
    console = Console(highlight=False)
    console.print(table)
    console.print("nats per token, lower is better: the answer + the text behind it")
