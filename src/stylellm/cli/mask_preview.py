"""``stylellm mask-preview``: what the model will see."""

from __future__ import annotations

import argparse
from typing import Any

from stylellm.cli.options import add_config_arguments, config_of

EXAMPLE = """\
example:
  stylellm mask-preview prepared --num_examples 2
  stylellm mask-preview prepared --set masking.format=in_place --epoch 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("prepared", nargs="?", help="the prepared folder")
    parser.add_argument("--num_examples", type=int, default=2, help="examples of each strategy (2)")
    parser.add_argument("--epoch", type=int, default=0, help="whose masks to show (0)")
    parser.add_argument("--text", help="mask this text instead of prepared windows")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from stylellm.model.load import load_tokenizer

    config = config_of(args, hardware=False)
    tokenizer = load_tokenizer(config.model.model_name_or_path, revision=config.model.revision)
    texts = [args.text] if args.text else _texts(args.prepared or config.data.prepared_dir)
    console = Console()
    shares = {
        "span": config.masking.span_mask_ratio,
        "token": config.masking.token_mask_ratio,
        "none": config.masking.no_mask_ratio,
    }
    for strategy, share in shares.items():
        console.rule(f"[bold]{strategy}[/bold] {share:.0%} of windows", align="left")
        for text in texts[: args.num_examples]:
            _show(console, text, strategy, config, tokenizer, args.epoch)
    return 0


def _texts(prepared: str) -> list[str]:
    from stylellm.corpus.prepare import load_windows

    windows = load_windows(prepared, "train")
    return [windows[i]["text"] for i in range(min(len(windows), 8))]


def _show(console: Any, text: str, strategy: Any, config: Any, tokenizer: Any, epoch: int) -> None:
    from stylellm.cli.build import mask_settings
    from stylellm.masking.collate import encoder
    from stylellm.masking.formats import Sentinels, format_example
    from stylellm.masking.plan import plan_mask, window_rng

    m = config.masking
    rng = window_rng(config.training.seed, epoch, 0)
    plan = plan_mask(text, strategy, rng, mask_settings(m), single_gap=m.format == "infill")
    sentinels = Sentinels.from_tokenizer(tokenizer, format=m.format)
    example = format_example(
        text, plan, encoder(tokenizer), sentinels, format=m.format, order=m.order,
        context_loss_weight=m.context_loss_weight, kl_positions=config.objective.kl_positions,
    )  # fmt: skip
    console.print("[cyan]hidden [/cyan] " + _escape(in_table_form(text, plan)))
    if plan.spans:
        console.print("[cyan]answers[/cyan] " + _escape(" | ".join(plan.hidden(text))))
    console.print("[cyan]model  [/cyan] " + _escape(tokenizer.decode(example.input_ids)))
    scored = sum(label >= 0 for label in example.labels)
    console.print(
        f"[dim]{len(text)} characters, {plan.num_hidden} hidden "
        f"({plan.num_hidden / max(1, len(text)):.0%}); {len(example.input_ids)} tokens, "
        f"{scored} scored, {sum(example.kl_mask)} held to the reference[/dim]\n"
    )


def in_table_form(text: str, plan: Any) -> str:
    """The sketch's picture: one [MASK] for every hidden character."""
    pieces = plan.visible(text)
    marks = ["[MASK]" * len(piece) for piece in plan.hidden(text)]
    return pieces[0] + "".join(m + p for m, p in zip(marks, pieces[1:], strict=True))


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text.replace("\n", "⏎"))
