"""From a file, a mapping and overrides to a checked `StyleConfig`, or all that is wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stylellm.config.checks import cross_field_problems, hardware_problems
from stylellm.config.names import nearest_value, unknown_key, unknown_section
from stylellm.config.overrides import parse_overrides
from stylellm.config.section import Problem
from stylellm.config.training import check_other_fields
from stylellm.config.tree import SECTIONS, StyleConfig
from stylellm.config.values import CUSTOM, allowed_of, choices_of, printable, show
from stylellm.config.yaml_io import (
    Document,
    colon_hint,
    dump_yaml,
    load_yaml,
    read_text,
)
from stylellm.errors import ConfigError
from stylellm.files import write_text


def load_config(
    path: str | Path, overrides: Iterable[str] = (), *, check_hardware: bool = False
) -> StyleConfig:
    """Read a YAML file and the overrides of the command line.

    Args:
        path: the YAML file, in UTF-8, UTF-16 or GB18030.
        overrides: `section.key=value` strings, stronger than the file (`SKETCH_FLAGS` names the
            sketch's short forms).
        check_hardware: also report what this machine cannot do (fp16 without a GPU, ...).

    Raises:
        ConfigError: with every problem of the file, the overrides and the machine.
    """
    source = str(path)
    document = load_yaml(read_text(Path(path)), source)
    return _build(document, overrides, source, check_hardware)


def parse_config(
    mapping: Mapping[str, Any],
    source: str = "configuration",
    overrides: Iterable[str] = (),
    *,
    check_hardware: bool = False,
) -> StyleConfig:
    """Check a mapping of sections; `parse_config({})` gives the defaults.

    Raises:
        ConfigError: with every problem.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError([f"found {show(mapping)}; expected a mapping of sections"], source)
    return _build(Document(dict(mapping), {}, []), overrides, source, check_hardware)


def with_overrides(config: StyleConfig, overrides: Iterable[str]) -> StyleConfig:
    """A checked copy with some keys changed, given as in `["objective.kl_beta=0.5"]`."""
    return parse_config(to_mapping(config), "the changed configuration", overrides)


def to_mapping(config: StyleConfig) -> dict[str, Any]:
    """Plain dictionaries, lists and scalars: what `dump_config` writes."""
    return config.model_dump(mode="python")


def dump_config(config: StyleConfig) -> str:
    """YAML text of every key, defaults included; `load_config` reads it back to the same."""
    return dump_yaml(to_mapping(config))


def save_config(config: StyleConfig, path: str | Path) -> None:
    """Write `dump_config` to a file, whole or not at all. Raises OutputError."""
    header = "# The configuration of this run, with every default filled in.\n"
    write_text(Path(path), header + dump_config(config))


def _build(
    document: Document, overrides: Iterable[str], source: str, check_hardware: bool
) -> StyleConfig:
    changes, problems = parse_overrides(overrides)
    problems = [*document.problems, *problems]
    sections = _sections(document.values, problems)
    for (section, key), value in changes.items():
        sections[section][key] = value
    checked = {
        name: _checked_section(name, cls, sections[name], problems)
        for name, cls in SECTIONS.items()
    }
    partial = StyleConfig.model_construct(**checked)  # type: ignore[arg-type]
    bad = {problem.path for problem in problems}
    combined = cross_field_problems(partial)
    combined += hardware_problems(partial) if check_hardware else []
    problems += [problem for problem in combined if not bad.intersection(problem.involves)]
    if problems:
        places = {f"{section}.{key}" for section, key in changes}
        raise ConfigError(_lines(problems, document.lines, places), source)
    return StyleConfig(**checked)  # type: ignore[arg-type]


def _sections(values: Mapping[Any, Any], problems: list[Problem]) -> dict[str, dict[Any, Any]]:
    """A mapping for every section; what is no section, or is no mapping, becomes a problem."""
    sections: dict[str, dict[Any, Any]] = {name: {} for name in SECTIONS}
    for name, value in values.items():
        if name not in SECTIONS:
            problems.append(Problem(str(name), unknown_section(name, value)))
        elif isinstance(value, Mapping):
            sections[name] = copy.copy(dict(value))
        elif value is not None:  # an empty section is a section of defaults
            problems.append(Problem(name, _no_mapping(name, value)))
    return sections


def _no_mapping(name: str, value: Any) -> str:
    keys = ", ".join(list(SECTIONS[name].model_fields)[:4])
    hint = colon_hint(value) or f"expected keys such as {keys}, indented below it"
    return f"found {show(value)}; {hint}"


def _checked_section(
    name: str, cls: type[BaseModel], values: dict[Any, Any], problems: list[Problem]
) -> BaseModel:
    """The section, with defaults in place of the keys that became problems."""
    values = {key: value for key, value in values.items() if _is_name(name, key, problems)}
    if name == "training":
        values, found = check_other_fields(values)
        problems += found
    while True:
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            for key, text in _field_problems(name, cls, values, error).items():
                problems.append(Problem(f"{name}.{key}", text))
                del values[key]


def _is_name(section: str, key: Any, problems: list[Problem]) -> bool:
    if isinstance(key, str):
        return True
    text = f"found {show(key)} as a key; expected the name of a key"
    problems.append(Problem(f"{section}.{key}", text))
    return False


def _field_problems(
    section: str, cls: type[BaseModel], values: dict[Any, Any], error: ValidationError
) -> dict[str, str]:
    """One text per wrong key, whatever number of errors pydantic has for it."""
    result: dict[str, str] = {}
    for item in error.errors(include_url=False):
        key = str(item["loc"][0])
        field = cls.model_fields.get(key)
        if field is None:
            result[key] = unknown_key(section, key, values[key])
            continue
        if key in result and item["type"] != CUSTOM:  # a union has one error per member
            continue
        value = values[key]
        parts = [f"found {show(value)}", f"expected {allowed_of(field)}"]
        if item["type"] == CUSTOM:
            parts.append(item["msg"])
        elif answer := nearest_value(value, choices_of(field.annotation)) or _quote_hint(
            item, value
        ):
            parts.append(answer)
        result[key] = "; ".join(parts)
    return result


def _quote_hint(item: Any, value: Any) -> str:
    if isinstance(value, str):
        return colon_hint(value)
    scalar = not isinstance(item["input"], (list, dict)) and item["input"] is not None
    return "put it in quotes" if item["type"] == "string_type" and scalar else ""


def _lines(
    problems: list[Problem], lines: Mapping[tuple[str, ...], int], places: set[str]
) -> list[str]:
    """The problems in the order of the file, each with its line where it has one."""

    def line_of(problem: Problem) -> int:
        if problem.path in places:
            return 0
        return lines.get(tuple(problem.path.split(".")), 0)

    result = []
    for problem in sorted(problems, key=line_of):
        where = f"line {line_of(problem)}: " if line_of(problem) else ""
        if problem.path in places:
            where = "command line: "
        result.append(printable(f"{where}{problem.path}: {problem.text}"))
    return result
