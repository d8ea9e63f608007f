"""Values from the command line: `--set section.key=value` and the flags of the original sketch."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import yaml

from stylellm.config.names import path_suggestion, suggestion
from stylellm.config.section import Problem
from stylellm.config.tree import SECTIONS
from stylellm.config.values import show
from stylellm.config.yaml_io import parse_value

# The sketch's flags: train.py --model_name X --kl_beta 0.1 --epochs 3 --output_dir D ...
SKETCH_FLAGS: dict[str, str] = {
    "model_name": "model.model_name_or_path",
    "max_length": "data.max_length",
    "kl_beta": "objective.kl_beta",
    "lora_r": "lora.lora_r",
    "epochs": "training.num_train_epochs",
    "batch_size": "training.per_device_train_batch_size",
    "learning_rate": "training.learning_rate",
    "output_dir": "training.output_dir",
    "seed": "training.seed",
}

Overrides = dict[tuple[str, str], Any]  # (section, key) -> value


def flag_overrides(flags: Mapping[str, object]) -> list[str]:
    """The sketch's flags as overrides; flags that are None were not given.

    >>> flag_overrides({"kl_beta": "0.2", "epochs": None})
    ['objective.kl_beta=0.2']
    """
    return [f"{SKETCH_FLAGS[name]}={value}" for name, value in flags.items() if value is not None]


def parse_overrides(overrides: Iterable[str]) -> tuple[Overrides, list[Problem]]:
    """Split `section.key=value` strings; the last one of a key counts.

    Values are read as YAML, except that the value of a text key is taken as it stands (a path or a
    name that happens to look like a number needs no quotes).
    """
    found: Overrides = {}
    problems = []
    for override in overrides:
        try:
            section, key, value = _split(override)
        except ValueError as error:
            problems.append(Problem(f"--set {override}", str(error)))
            continue
        found[section, key] = value
    return found, problems


def _split(override: str) -> tuple[str, str, Any]:
    path, equals, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    if not equals or not path.strip():
        raise ValueError("expected section.key=value, for example objective.kl_beta=0.2")
    if not dot or not key:
        hint = suggestion("", section)
        if section in SECTIONS:
            hint = f"name one of its keys: {', '.join(SECTIONS[section].model_fields)}"
        raise ValueError("; ".join(filter(None, ["expected section.key=value", hint])))
    if section not in SECTIONS:
        raise ValueError(f"no section {section}; {path_suggestion(section, key)}")
    if "." in key:
        whole = key.partition(".")[0]
        raise ValueError(f"expected one dot; give {section}.{whole} a mapping: {{name: value}}")
    return section, key, _value(section, key, text)


def _value(section: str, key: str, text: str) -> Any:
    text = text.strip()
    if any("\ud800" <= char <= "\udfff" for char in text):  # bytes that the terminal cannot decode
        raise ValueError("the value is not valid Unicode text")
    takes_text, takes_null = _text_field(section, key)
    if takes_null and text in ("null", "~", ""):
        return None
    if takes_text and not text.startswith(("'", '"')):
        return text
    try:
        return parse_value(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"found {show(text)}; expected a value written as YAML") from error


def _text_field(section: str, key: str) -> tuple[bool, bool]:
    """Whether a key takes text (and no list or choice), and whether it takes null."""
    field = SECTIONS[section].model_fields.get(key)
    if field is None:
        return False, False
    members = [field.annotation]
    if get_origin(field.annotation) in (Union, types.UnionType):
        members = list(get_args(field.annotation))
    plain = {get_args(one)[0] if get_origin(one) is Annotated else one for one in members}
    return plain <= {str, type(None)}, type(None) in plain
