"""``stylellm style``: the style of one or several texts, and how near they are to others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

EXAMPLE = """\
example:
  stylellm style 三侠五义.txt
  stylellm style 三侠五义.txt 儿女英雄传.txt 绿牡丹.txt
  stylellm style generated.txt --reference data/金庸 --names 人名.txt
  stylellm style chapter.txt --reference 甲.txt 乙.txt 丙.txt 丁.txt --json > style.json

Texts are read in any encoding, made simplified and brought to one punctuation; they are not
cleaned: page numbers and adverts count as text. Every file is one text. Rates are per 1000
characters; [ ] is the 95% interval of a bootstrap over passages of 1000 characters. Distances are
0 for the same style; Delta needs three references, imposters four. "Rhythm off by" is the
Wasserstein distance of the lengths, in characters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("files", nargs="+", metavar="FILE", help="texts (or folders of texts)")
    parser.add_argument("--reference", nargs="+", default=[], metavar="FILE",
                        help="texts to compare with, such as the author's books")  # fmt: skip
    parser.add_argument("--words", metavar="FILE",
                        help="function words to use instead of the shipped list")  # fmt: skip
    parser.add_argument("--names", metavar="FILE",
                        help="names of persons and places, which then do not count as words")  # fmt: skip
    parser.add_argument("--unit", choices=("character", "word"), default="character",
                        help="what Delta counts (character)")  # fmt: skip
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows of a list (10)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (0)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")


def run(args: argparse.Namespace) -> int:
    from stylellm.errors import DataError
    from stylellm.stylometry import function_words
    from stylellm.stylometry.overview import overview

    if args.top < 1:
        raise DataError(f"--top {args.top}", "1 or more")
    words = function_words.load_words(args.words) if args.words else None
    names = function_words.load_words(args.names) if args.names else ()
    texts = _read(args.files, names)
    references = _read(args.reference, names)
    options = {"words": words, "top": args.top, "unit": args.unit, "seed": args.seed}
    found = overview(texts, references, **options)
    if args.json:
        import json

        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print(found, args.top)
    return 0


def _read(paths: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """name -> text, simplified and normalised."""
    from stylellm.corpus.read import find_sources, read_book
    from stylellm.corpus.script import to_simplified
    from stylellm.stylometry.normalise import normalise, without_names

    texts: dict[str, str] = {}
    for source in find_sources(paths).files if paths else []:
        name = source.name.removesuffix(source.suffix)
        unique, number = name, 2
        while unique in texts:
            unique, number = f"{name} ({number})", number + 1
        text = normalise(to_simplified(read_book(source).text))
        texts[unique] = without_names(text, names)
    return texts


def _print(found: dict[str, Any], top: int) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    _print_texts(console, found)
    if found["pairs"]:
        _print_pairs(console, found["pairs"][:top])
    for name, row in found["texts"].items():
        if found["references"]:
            _print_nearness(console, name, row)
            _print_distances(console, row["distances"])
        _print_words(console, name, row, top, bool(found["references"]))
        _print_lists(console, row)


def _table(columns: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, column in enumerate(columns):
        if number:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="ellipsis", no_wrap=True, max_width=20)
    return table


def _print_texts(console: Any, found: dict[str, Any]) -> None:
    table = _table(("text", "characters", "sentence", "clause", "dialogue", "register", "MATTR",
                    "rep-4"))  # fmt: skip
    for name, row in found["texts"].items():
        rhythm = row["rhythm"]
        table.add_row(
            name,
            f"{row['characters']:,}" + ("*" if row["small_sample"] else ""),
            _number(rhythm["sentences"] and rhythm["sentences"]["mean"], 1),
            _number(rhythm["clauses"] and rhythm["clauses"]["mean"], 1),
            f"{rhythm['dialogue_share']:.0%}",
            f"{row['register']['index']:+.2f}",
            _number(row["mattr"], 3),
            f"{row['rep_4']:.3f}",
        )
    console.print(table)
    console.print("sentence, clause: mean length; register: +1 literary, -1 vernacular;")
    console.print("MATTR: share of different characters in 500; rep-4: repeated 4-grams")
    if any(row["small_sample"] for row in found["texts"].values()):
        console.print("* below 2,000 characters: figures of words are mostly noise")


def _print_pairs(console: Any, pairs: list[dict[str, Any]]) -> None:
    console.print("\nnearest pairs by function words")
    table = _table(("text", "and", "JSD", "Delta"))
    table.columns[1].justify = "left"
    for row in pairs:
        table.add_row(*row["texts"], f"{row['jsd']:.4f}", _number(row["delta"], 3))
    console.print(table)


def _print_nearness(console: Any, name: str, row: dict[str, Any]) -> None:
    from rich.markup import escape

    jsd, wasserstein, copy = row["jsd"], row["wasserstein"], row["longest_copy"]
    interval = f" [{jsd['low']:.4f}, {jsd['high']:.4f}]" if jsd["low"] is not None else ""
    console.print(f"\n[bold]{escape(name)}[/bold] beside the reference")
    console.print(f"  function words   JSD {jsd['value']:.4f}{escape(interval)}")
    console.print("  n-grams found    " + ", ".join(
        f"{share:.1%} of the {n}-grams" for n, share in row["overlap"].items()))  # fmt: skip
    lengths = [f"{kind} {value:.1f}" for kind, value in wasserstein.items() if value is not None]
    console.print(f"  rhythm off by    {', '.join(lengths)}")
    if row["punctuation_distance"] is not None:
        console.print(f"  punctuation      {row['punctuation_distance']:.2f} (0 alike, 1 disjoint)")
    where = f" from {copy['source']}: {_short(copy['text'])}" if copy["length"] else ""
    console.print(f"  longest copy     {copy['length']} characters{escape(where)}")


def _print_distances(console: Any, distances: dict[str, dict[str, float]]) -> None:
    if not distances:
        return
    kinds = list(next(iter(distances.values())))
    table = _table(("reference", *(kind.replace("_", " ") for kind in kinds)))
    for name, row in sorted(distances.items(), key=lambda item: item[1]["cosine_delta"]):
        table.add_row(name, *(f"{row[kind]:.3f}" for kind in kinds))
    console.print(table)
    if "imposters" in kinds:
        console.print("imposters: share of 100 draws in which this reference was the nearest")


def _print_words(console: Any, name: str, row: dict[str, Any], top: int, compared: bool) -> None:
    from rich.markup import escape

    words = row["function_words"]
    if compared:
        marked = [word for word in words if word["differs"]]
        words = sorted(marked, key=lambda word: -abs(word["difference"]["value"]))[:top]
        title = f"function words that differ: {len(marked)} of {len(row['function_words'])}"
    else:
        words = sorted(words, key=lambda word: -word["rate"]["value"])[:top]
        title = "most frequent function words"
    console.print(f"\n[bold]{escape(name)}[/bold]: {title}")
    table = _table(("word", "per 1000", "95%", *(("reference", "95%") if compared else ())))
    for word in words:
        kinds = ("rate", "reference") if compared else ("rate",)
        cells = [cell for kind in kinds for cell in _rate(word[kind])]
        table.add_row(word["word"], *cells)
    if words:
        console.print(table)


def _print_lists(console: Any, row: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for kind, items in row["frequent"].items():
        table.add_row(f"frequent {kind}", Text(" ".join(item["text"] for item in items)))
    for kind in ("preferred", "avoided"):
        if row.get(kind):
            table.add_row(f"{kind} (Zeta)", Text(" ".join(item["item"] for item in row[kind])))
    console.print(table)


def _rate(rate: dict[str, Any]) -> tuple[str, str]:
    if rate["low"] is None:
        return f"{rate['value']:.2f}", "-"
    return f"{rate['value']:.2f}", f"{rate['low']:.2f} to {rate['high']:.2f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _short(text: str, limit: int = 20) -> str:
    text = "".join(text.split())
    return text if len(text) <= limit else text[:limit] + "…"
