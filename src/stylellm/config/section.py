"""What every section is made of: its base class, and one way to write a key."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Problem(NamedTuple):
    """One thing wrong in a configuration.

    `path` is the key, as in `objective.kl_beta`; `involves` are further keys it depends on.
    """

    path: str
    text: str
    involves: tuple[str, ...] = ()


class Section(BaseModel):
    """Base of the sections: strict types, no unknown keys, no changes after checking."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def key(default: Any, en: str, zh: str, **limits: Any) -> Any:
    """A field with its default, its meaning in both languages, and its limits (ge, gt, le, lt)."""
    return Field(default=default, description=en, json_schema_extra={"zh": zh}, **limits)


def yaml_value(value: Any) -> str:
    """A value as one would write it in YAML, on one line."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(yaml_value(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
