"""Options that several commands share, and the configuration they make together."""

from __future__ import annotations

import argparse
from typing import Any

from stylellm.config import SKETCH_FLAGS, flag_overrides


def add_config_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """--config, --set, and the short flags of the sketch."""
    parser.add_argument(
        "--config", required=required, metavar="FILE", help="YAML file (see docs/config.md)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="override any key, for example --set lora.lora_r=16; may be repeated",
    )
    group = parser.add_argument_group("short flags for common keys")
    for flag, key in SKETCH_FLAGS.items():
        group.add_argument(f"--{flag}", metavar="VALUE", help=f"same as --set {key}=VALUE")


def overrides_of(args: argparse.Namespace) -> list[str]:
    """The overrides in the order in which they win: short flags, then --set."""
    short = flag_overrides({flag: getattr(args, flag, None) for flag in SKETCH_FLAGS})
    return short + list(args.overrides)


def config_of(args: argparse.Namespace, *, hardware: bool = True) -> Any:
    """The validated configuration of a command line."""
    from stylellm.config import load_config, parse_config

    if args.config:
        return load_config(args.config, overrides_of(args), check_hardware=hardware)
    return parse_config({}, overrides=overrides_of(args), source="the command line")
