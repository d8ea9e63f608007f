"""What the READMEs and docs say is there: commands, options, keys, files, links, messages.

Nothing is run here; the commands are parsed as the command line would.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from stylellm.cli.main import COMMANDS, build_parser
from stylellm.cli.options import overrides_of
from stylellm.config import SECTIONS, load_config, parse_config
from stylellm.config.training_fields import DROPPED, HONOURED
from stylellm.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh-CN.md")
DOCS = (
    *READMES,
    "data/README.md",
    "docs/download.md",
    "docs/download.zh-CN.md",
    "docs/ingest.md",
    "docs/ingest.zh-CN.md",
    "docs/install.md",
    "docs/llamafactory.md",
    "docs/llamafactory.zh-CN.md",
    "docs/install.zh-CN.md",
    "docs/evaluation.md",
    "docs/export.md",
    "docs/export.zh-CN.md",
    "docs/serving.md",
    "docs/serving.zh-CN.md",
    "docs/evaluation.zh-CN.md",
    "docs/method.md",
    "docs/method.zh-CN.md",
    "docs/performance.md",
    "docs/performance.zh-CN.md",
    "docs/sketch.md",
    "docs/sketch.zh-CN.md",
    "docs/troubleshooting.md",
    "docs/troubleshooting.zh-CN.md",
    "docs/writing.md",
    "docs/writing.zh-CN.md",
)
BENCHMARKS = ("bench_step", "bench_objective", "memory_fit")  # those that the pages name
NOTICE = "仅供学习研究使用，武侠小说版权归原作者所有"
_BLOCK = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, *languages: str) -> list[str]:
    """The fenced blocks of the given languages."""
    return [body for language, body in _BLOCK.findall(read(name)) if language in languages]


def commands(name: str) -> list[str]:
    """The lines of the blocks that a reader (and a test) can run as they stand."""
    return [line for body in blocks(name, "bash", "sh", "console") for line in body.splitlines()]


def spans(name: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", _BLOCK.sub("", read(name)))


def code(name: str) -> list[str]:
    """Everything in code style: fenced blocks, and spans between backticks."""
    return [body for _, body in _BLOCK.findall(read(name))] + spans(name)


def script(name: str) -> ModuleType:
    """A script of the checkout as a module."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), ROOT / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def argv_of(line: str) -> list[str]:
    """The arguments of the stylellm command that a line runs; [] for setup_data.py."""
    words = shlex.split(line)
    if words[0] == "stylellm":
        return words[1:]
    assert words[0] == "python", line
    if words[1] == "train.py":
        return ["train", *words[2:]]
    if words[1] == "scripts/inference.py":
        return ["write", *script(words[1]).arguments(words[2:])]
    for name, command in (("download_model", "download"), ("check_gpu", "doctor")):
        if words[1] == f"scripts/{name}.py":
            return [command, *words[2:]]
    assert words[1] == "scripts/setup_data.py", f"unknown script: {line}"
    return []


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one subcommand."""
    actions = build_parser(command)._actions
    subparsers = next(a for a in actions if isinstance(a, argparse._SubParsersAction))
    return subparsers.choices[command]


def parsers_of(command: str) -> dict[str, argparse.ArgumentParser]:
    """The parser of a subcommand, and those of its kinds (`export merge`)."""
    found = {"": parser_of(command)}
    for action in found[""]._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def parse(argv: list[str]) -> argparse.Namespace:
    """Parses a command line; option names must be written out in full."""
    args = build_parser(argv[0]).parse_args(argv)
    parsers = parsers_of(argv[0])
    kind = argv[1] if argv[1:] and argv[1] in parsers else ""
    options = parsers[""]._option_string_actions | parsers[kind]._option_string_actions
    for word in argv[1:]:
        assert not word.startswith("--") or word.split("=")[0] in options, word
    return args


def config_of(args: argparse.Namespace) -> Any:
    """The configuration of a parsed command; its overrides are checked on the way."""
    overrides = overrides_of(args) if hasattr(args, "config") else list(args.overrides)
    config = getattr(args, "config", None)
    return load_config(ROOT / config, overrides) if config else parse_config({}, "it", overrides)


ALL_COMMANDS = sorted({(name, line) for name in DOCS for line in commands(name)})


@pytest.mark.parametrize(("name", "line"), ALL_COMMANDS)
def test_command_and_options_exist(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert line and not re.search(r"^[$>#]|\s#|\\$", line), "a command alone on its line"
    argv = argv_of(line)
    if not argv:
        seen: list[Path] = []
        module = script("scripts/setup_data.py")
        monkeypatch.setattr(module, "setup", lambda source, *_, **__: seen.append(source) or 0)
        assert module.main(shlex.split(line)[2:]) == 0 and len(seen) == 1
        return
    args = parse(argv)
    assert args.command in COMMANDS
    if hasattr(args, "overrides"):
        config_of(args)


@pytest.mark.parametrize(("name", "line"), ALL_COMMANDS)
def test_files_of_a_command_are_in_the_clone(name: str, line: str) -> None:
    for word in shlex.split(line):
        if word.startswith(("data/", "configs/", "scripts/", "tests/")) or re.search(
            r"\.(py|ya?ml|txt)$", word
        ):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("name", READMES)
def test_commands_run_in_their_order(name: str) -> None:
    """A folder is made before it is used, and never made twice."""
    runs: set[Path] = set()
    prepared: set[Path] = set()
    for argv in filter(None, map(argv_of, commands(name))):
        args = parse(argv)
        if args.command == "train" and not (args.resume or args.eval_only):
            config = config_of(args)
            folder = Path(config.training.output_dir)
            assert folder not in runs, f"training would refuse {folder}: it exists"
            runs.add(folder)
            prepared.add(Path(config.data.prepared_dir))
        elif args.command == "train":
            assert Path(args.output_dir) in runs
        elif args.command in ("evaluate", "write"):
            assert Path(args.folder) in runs
        elif args.command == "prepare":
            folder = Path(args.output_dir or config_of(args).data.prepared_dir)
            assert folder not in prepared, f"preparing would refuse {folder}: it exists"
            prepared.add(folder)
        elif args.command == "mask-preview":
            assert Path(args.prepared or config_of(args).data.prepared_dir) in prepared
    assert runs and prepared


def test_the_readmes_are_the_same_document_in_two_languages() -> None:
    english, chinese = READMES
    assert commands(english) == commands(chinese) and commands(english)
    assert blocks(english, "yaml") == blocks(chinese, "yaml")
    for pattern in (r"^#+(?= )", r"^```\w*", r"^\|[-:| ]+\|$"):
        found = [re.findall(pattern, read(name), re.MULTILINE) for name in READMES]
        assert found[0] == found[1], pattern
    recipes = [re.findall(r"\(configs/(.*?)\)", read(name)) for name in READMES]
    assert recipes[0] == recipes[1] and len(set(recipes[0])) >= 5


@pytest.mark.parametrize("name", [*READMES, "data/README.md"])
def test_the_notice_stands(name: str) -> None:
    assert NOTICE in read(name)


@pytest.mark.parametrize("name", READMES)
def test_the_place_of_the_results_is_marked(name: str) -> None:
    text = read(name)
    begin, end = "<!-- results:begin -->\n", "<!-- results:end -->\n"
    assert text.count(begin) == text.count(end) == 1
    assert text.index(begin) < text.index(end)


@pytest.mark.parametrize("name", READMES)
def test_the_two_commands_come_first(name: str) -> None:
    _, body = _BLOCK.findall(read(name))[0]
    assert body.splitlines() == ["make demo", "make test"]
    targets = re.findall(r"^(\w[\w-]*):", read("Makefile"), re.MULTILINE)
    assert {"demo", "test", "check"} <= set(targets)


def anchors(path: Path) -> set[str]:
    """The heading anchors of a page, as GitHub forms them."""
    titles = re.findall(r"^#+ (.*)$", _BLOCK.sub("", path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", DOCS)
def test_relative_links_exist(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", read(name)))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


@pytest.mark.parametrize("name", DOCS)
def test_only_commands_that_exist_are_named(name: str) -> None:
    for text in code(name):
        for word in re.findall(r"(?:^|[\s(])stylellm ([a-z][a-z-]*)", text):
            assert word in COMMANDS, text


@pytest.mark.parametrize("name", DOCS)
def test_only_options_that_exist_are_named(name: str) -> None:
    known = "".join(p.format_help() for c in COMMANDS for p in parsers_of(c).values())
    known += read("scripts/setup_data.py") + read("scripts/inference.py")
    known += read("src/stylellm/cli/llamafactory.py")
    known += "".join(read(f"benchmarks/{file}.py") for file in BENCHMARKS)
    for text in code(name):
        if "pip install" in text or text.startswith(("--index-url", "vllm serve")):
            continue
        for option in re.findall(r"(?<!\S)--[a-z_-]+", text):
            assert option in ("--version", "--nproc_per_node") or option in known, text


@pytest.mark.parametrize("name", DOCS)
def test_only_keys_that_exist_are_named(name: str) -> None:
    for text in spans(name):
        for section, key in re.findall(r"(?<![\w./])([a-z]+)\.([a-z_0-9]+)(?![\w./(])", text):
            if section not in SECTIONS or key in ("py", "md", "json"):
                continue
            known = set(SECTIONS[section].model_fields)
            known |= HONOURED if section == "training" else set()
            assert key in known, text


@pytest.mark.parametrize("name", DOCS)
def test_yaml_blocks_are_valid_configurations(name: str) -> None:
    for body in blocks(name, "yaml"):
        given = yaml.safe_load(body)
        assert set(given) <= set(parse_config(given, name).model_dump())


@pytest.mark.parametrize("name", [n for n in DOCS if "troubleshooting" in n])
def test_quoted_messages_are_in_the_code(name: str) -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src" / "stylellm").rglob("*.py")
    )
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message over several lines
    section = re.split(r"^## ", read(name), flags=re.MULTILINE)
    table = next(part for part in section if part.startswith(("Messages", "报错")))
    messages = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert len(messages) > 5
    for message in messages:
        for part in filter(None, (piece.strip() for piece in message.split("..."))):
            assert part in source, message


def test_the_dropped_name_in_the_example_is_still_dropped() -> None:
    """The configuration error that the troubleshooting pages show is what such a file gets."""
    document = {
        "masking": {"span_mask_ratio": 0.7},
        "lora": {"lora_rank": 16},
        "objective": {"kl_beta": -1},
        "training": {"evaluation_strategy": "steps"},
    }
    assert "evaluation_strategy" in DROPPED
    with pytest.raises(ConfigError) as caught:
        parse_config(document, "train_config.yaml")
    problems = [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]
    assert len(problems) == 4
    for name in ("docs/troubleshooting.md", "docs/troubleshooting.zh-CN.md"):
        for problem in problems:
            assert problem in read(name), problem
