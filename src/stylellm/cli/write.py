"""``stylellm write``: continue texts, fill gaps, one by one, from a file, or in a conversation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm write output/wuxia_model                                (interactive; /help inside)
  stylellm write output/wuxia_model --prompt 剑光一闪 --strength 0.7
  stylellm write output/wuxia_model --prompts scripts/example_prompts.txt --output out.jsonl
  stylellm write output/wuxia_model --fill 剑光一闪，____{12}，灯便灭了。
  stylellm write output/a --authors 乙=output/b --author default=0.7,乙=0.3 --prompt 夜已深，"""

SAMPLING_FLAGS = {
    "max_new_tokens": (int, "N", "length in tokens (200)"),
    "max_chars": (int, "N", "length in characters"),
    "temperature": (float, "T", "0 = always the likeliest token"),
    "top_p": (float, "P", "draw from the likeliest tokens of together this probability"),
    "top_k": (int, "K", "draw from so many likeliest tokens"),
    "min_p": (float, "P", "leave out tokens below this share of the likeliest one's probability"),
    "repetition_penalty": (float, "R", "above 1: what occurred becomes less likely"),
    "no_repeat_ngram_size": (int, "N", "no run of N tokens twice"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("folder", help="output folder of a training run, or a peft adapter folder")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--prompt", action="append", metavar="TEXT", help="may be repeated")
    source.add_argument(
        "--prompts", metavar="FILE", help="a text file, one prompt a line, # comments"
    )
    source.add_argument("--fill", metavar="TEXT|FILE",
                        help="fill the gaps of a text: ____ or [MASK], with a length ____{12}")  # fmt: skip
    parser.add_argument("--output", metavar="FILE", help="write the texts as jsonl as well; an "
                        "interrupted file of prompts goes on where it was")  # fmt: skip
    style = parser.add_argument_group("style")
    style.add_argument("--strength", type=float, default=1.0, metavar="S",
                       help="0 is the base, 1 the trained style, up to 2 (1)")  # fmt: skip
    style.add_argument("--strength_method", choices=("adapter", "logits"), default="adapter",
                       help="scale the weights (adapter), or mix the predictions of base and policy")  # fmt: skip
    style.add_argument("--authors", action="append", default=[], metavar="NAME=DIR",
                       help="another author's adapter on the same base; may be repeated")  # fmt: skip
    style.add_argument("--author", metavar="NAME[=W],..",
                       help="which author, or a mixture; FOLDER's own is called default")  # fmt: skip
    drawing = parser.add_argument_group("drawing")
    for name, (kind, metavar, text) in SAMPLING_FLAGS.items():
        drawing.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)
    drawing.add_argument("--sentence_end", action="store_true",
                         help="end with the last whole sentence")  # fmt: skip
    drawing.add_argument("--stop", action="append", default=[], metavar="TEXT",
                         help="end before this text; may be repeated")  # fmt: skip
    drawing.add_argument("--seed", type=int, metavar="N", help="same seed, same text (42)")
    drawing.add_argument("--chat", choices=("auto", "on", "off"), default="auto",
                         help="ask in the model's chat form (auto: instruct models)")  # fmt: skip
    gaps = parser.add_argument_group("gaps")
    gaps.add_argument("--fill_chars", type=int, metavar="N", help="length of gaps that name none")
    gaps.add_argument("--alternatives", type=int, default=4, metavar="N", help="ways to fill (4)")
    books = parser.add_argument_group("copying")
    books.add_argument("--copy_watch", type=int, default=0, metavar="N",
                       help="name runs of N or more characters that stand in the books")  # fmt: skip
    books.add_argument("--forbid_copies", type=int, default=0, metavar="N",
                       help="never write N characters that stand in the books")  # fmt: skip
    books.add_argument("--books", metavar="DIR", help="prepared folder (default: the run's own)")
    parser.add_argument(
        "--no_base", action="store_true", help="only the policy, not the base beside it"
    )
    parser.add_argument("--model_name", metavar="ID", help="base model, if not the adapter's own")


def run(args: argparse.Namespace) -> int:
    _check(args)
    prompts = args.prompt or (read_prompts(Path(args.prompts)) if args.prompts else None)
    if args.output:
        _check_output(Path(args.output))
    writer = make_writer(args)
    if args.fill:
        return _fill(writer, args)
    if prompts is None:
        from stylellm.cli.repl import converse

        converse(writer)
        return 0
    if args.prompts and args.output:
        from stylellm.cli.batch import write_batch

        count = write_batch(writer, prompts, Path(args.output), beside_base=not args.no_base)
        print(f"written: {args.output} ({count} texts)")
        return 0
    rows = write_all(writer, prompts, beside_base=not args.no_base)
    if args.output:
        _save(rows, Path(args.output))
    return 0


def make_writer(args: argparse.Namespace) -> Any:
    """The writer that a command line asks for."""
    from stylellm.cli.evaluate import run_config
    from stylellm.cli.writer import Options, Writer

    changes = {
        name: getattr(args, name) for name in SAMPLING_FLAGS if getattr(args, name) is not None
    }
    if args.sentence_end:
        changes["sentence_end"] = True
    if args.stop:
        changes["stop"] = tuple(args.stop)
    seed = run_config(Path(args.folder)).generation.seed if args.seed is None else args.seed
    options = Options(
        strength=args.strength,
        strength_method=args.strength_method,
        author=args.author,
        seed=seed,
        changes=changes,
        copy_watch=args.copy_watch,
        forbid_copies=args.forbid_copies,
        chat=args.chat,
    )
    return Writer(
        Path(args.folder), options, base=args.model_name, authors=authors_of(args.authors),
        books=args.books,
    )  # fmt: skip


def write_all(writer: Any, prompts: list[str], *, beside_base: bool = True) -> list[dict[str, Any]]:
    """Continues and prints each prompt, base and policy one below the other."""
    from stylellm.cli.show import print_copies, print_row

    rows = []
    for turn, prompt in enumerate(prompts):
        # With one seed for all, the same draws would give different prompts the same words.
        row: dict[str, Any] = {"prompt": prompt, "seed": writer.options.seed + turn}
        for name in ("base", "policy") if beside_base else ("policy",):
            row[name] = writer.continue_texts([prompt], seeds=[row["seed"]], which=name)[0]
        print_row(row)
        print_copies(writer.copies(row["policy"]))
        rows.append(row)
    return rows


def _fill(writer: Any, args: argparse.Namespace) -> int:
    from stylellm.cli.show import print_fillings

    text = args.fill
    if len(text) < 200 and Path(text).is_file():
        from stylellm.corpus.read import decode

        text = decode(Path(text).read_bytes()).text
    found = writer.fill(text, args.alternatives, args.fill_chars)
    print_fillings(found)
    if args.output:
        rows = [{"text": f.text, "answers": list(f.answers), "nll": f.nll, "suffix_nll": f.suffix_nll}
                for f in found]  # fmt: skip
        _save(rows, Path(args.output))
    return 0


def read_prompts(path: Path) -> list[str]:
    """Prompts of a file in any Chinese encoding: one a line, # starts a comment.

    Raises:
        DataError: no such file, or no prompt in it.
    """
    from stylellm.corpus.read import decode
    from stylellm.errors import DataError

    if not path.is_file():
        raise DataError(f"the prompts file {path} does not exist", "a text file, one prompt a line")
    lines = decode(path.read_bytes()).text.splitlines() if path.stat().st_size else []
    prompts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not prompts:
        raise DataError(f"{path} holds no prompt", "one prompt a line")
    return prompts


def _check(args: argparse.Namespace) -> None:
    """Numbers out of range, said before a model is loaded."""
    from stylellm.errors import StyleLLMError

    bounds = {
        "max_new_tokens": (1, None), "max_chars": (1, None), "temperature": (0, 10),
        "top_p": (1e-6, 1), "top_k": (0, None), "min_p": (0, 1), "repetition_penalty": (0.01, 10),
        "no_repeat_ngram_size": (0, None), "strength": (0, 2), "fill_chars": (1, None),
        "alternatives": (1, 100), "copy_watch": (0, None), "forbid_copies": (0, None),
    }  # fmt: skip
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        if value is not None and not (low <= value and (high is None or value <= high)):
            wanted = f"{low:g} or more" if high is None else f"from {low:g} to {high:g}"
            raise StyleLLMError(f"--{name} {value:g}", wanted)
    if args.forbid_copies == 1:
        raise StyleLLMError("--forbid_copies 1", "2 or more: single characters stand in every book")


def authors_of(given: list[str]) -> dict[str, Path]:
    """What ``--authors NAME=DIR`` names."""
    from stylellm.errors import StyleLLMError

    found: dict[str, Path] = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not name or not folder or name in found:
            raise StyleLLMError(f"--authors {text}", "NAME=DIR, each name once")
        found[name] = Path(folder)
    return found


def _check_output(path: Path) -> None:
    from stylellm.errors import OutputError

    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(
            f"--output {path} cannot be written",
            "a file in a folder that exists",
            "Make the folder first.",
        )


def _save(rows: list[dict[str, Any]], path: Path) -> None:
    from stylellm.files import write_text

    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"written: {path}")
