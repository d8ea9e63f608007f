"""Value types of the configuration: strict, and each able to say what it allows.

What a field allows is described once, from its type and its limits (`allowed`), and that one text
stands both in error messages and in the generated guide, so that the two cannot disagree.
"""

from __future__ import annotations

import re
import reprlib
import types
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Language = Literal["en", "zh"]

# YAML 1.2 reads 2e-4 as a number, PyYAML (YAML 1.1) as text.
SCIENTIFIC = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")
CUSTOM = "stylellm"  # type of our own pydantic errors: their message is shown to the user


@dataclass(frozen=True)
class Allowed:
    """In an `Annotated` type: says what is allowed where the type alone says it badly."""

    en: str
    zh: str


def refuse(message: str) -> PydanticCustomError:
    """An error whose text is shown to the user. Braces are doubled: pydantic formats the text."""
    return PydanticCustomError(CUSTOM, "{message}", {"message": message})


def _scientific(value: Any) -> Any:
    if isinstance(value, str) and SCIENTIFIC.fullmatch(value):
        return float(value)
    return value


def _steps(value: Any) -> Any:
    value = _scientific(value)
    if isinstance(value, float) and value >= 1:
        if not value.is_integer():  # also true of inf and nan
            raise refuse("a value of 1 or more counts steps and must be whole")
        return int(value)
    return value


def _no_control_characters(value: str) -> str:
    if any(ord(char) < 32 for char in value):
        raise refuse(
            "it holds a tab or line break; write Windows paths with / or in single quotes, "
            "because \\n and \\t inside double quotes are control characters"
        )
    if not value.strip():
        raise refuse("it is empty")
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def no_from_false(value: Any) -> Any:
    return "no" if value is False else value  # YAML 1.1 reads a bare `no` as false


def _tracker_list(value: Any) -> Any:
    if value is None or value in ("none", ["none"]):
        return []
    return _as_list(value)


Number = Annotated[float, BeforeValidator(_scientific)]
Share = Annotated[Number, at.Ge(0), at.Le(1)]
Seed = Annotated[int, at.Ge(0), at.Le(2**32 - 1)]
PathText = Annotated[str, AfterValidator(_no_control_characters)]
Paths = Annotated[
    list[PathText],
    BeforeValidator(_as_list),
    Allowed("a list of files and folders", "文件或文件夹的列表"),
]
Texts = Annotated[list[str], BeforeValidator(_as_list)]
Steps = Annotated[
    int | float,
    BeforeValidator(_steps),
    Allowed(
        "a whole number of steps, or a share of the run between 0 and 1",
        "步数（整数），或 0 到 1 之间的比例（占全部步数）",
    ),
]
WhenToRun = Annotated[Literal["no", "steps", "epoch"], BeforeValidator(no_from_false)]
WhenToSave = Annotated[Literal["no", "steps", "epoch", "best"], BeforeValidator(no_from_false)]
Trackers = Annotated[
    list[str],
    BeforeValidator(_tracker_list),
    Allowed(
        "a list such as [tensorboard], or none", "列表，如 [tensorboard]；none 表示不用任何工具"
    ),
]


_REPR = reprlib.Repr()  # bounded, where a nest of YAML aliases would unfold to gigabytes
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxstring = 3, 6, 6, 60


def show(value: Any, limit: int = 60) -> str:
    """A found value for a message: short, and with its kind where that is in doubt."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{_short(value, limit)}" (text)'
    if isinstance(value, (int, float)):
        return _short(repr(value), limit)
    kinds: dict[type, str] = {list: "a list", dict: "a mapping"}
    text = _REPR.repr(value) if type(value) in kinds else str(value)
    return f"{_short(text, limit)} ({kinds.get(type(value), type(value).__name__)})"


def _short(text: str, limit: int) -> str:
    return printable(text if len(text) <= limit else text[:limit] + "…")


def printable(text: str) -> str:
    """The text with control characters and line breaks written as escapes: one line, no noise."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def allowed_of(field: FieldInfo, language: Language = "en") -> str:
    """What a field of the tree allows, in words."""
    return allowed(field.annotation, list(field.metadata), language)


def allowed(annotation: Any, limits: list[Any] | None = None, language: Language = "en") -> str:
    """What a type with limits allows, in words: "a whole number from 1 to 8", "true or false"."""
    limits = limits or []
    zh = language == "zh"
    while get_origin(annotation) is Annotated:
        annotation, *extra = get_args(annotation)
        limits = [*extra, *limits]
    for limit in limits:
        if isinstance(limit, Allowed):
            return limit.zh if zh else limit.en
    if get_origin(annotation) in (Union, types.UnionType):
        return _allowed_union(annotation, limits, language)
    if get_origin(annotation) is Literal:
        return one_of([str(value) for value in get_args(annotation)], language)
    if get_origin(annotation) is list:
        item = (get_args(annotation) or (Any,))[0]
        return _list_of(item, language)
    return _allowed_plain(annotation, limits, language)


def choices_of(annotation: Any) -> list[str]:
    """The texts that a type allows by name, through Annotated and unions."""
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, str)]
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return [choice for part in get_args(annotation) for choice in choices_of(part)]
    return []


def one_of(values: list[str], language: Language = "en") -> str:
    if len(values) == 1:
        return values[0]
    return "、".join(values) + " 之一" if language == "zh" else "one of " + ", ".join(values)


def _allowed_union(annotation: Any, limits: list[Any], language: Language) -> str:
    members = [member for member in get_args(annotation) if member is not type(None)]
    if set(members) == {int, float}:
        members = [float]
    texts = [allowed(member, limits, language) for member in members]
    if len(members) < len(get_args(annotation)) and type(None) in get_args(annotation):
        texts.append("null")
    return ("，或 " if language == "zh" else ", or ").join(texts)


def _list_of(item: Any, language: Language) -> str:
    while get_origin(item) is Annotated:
        item = get_args(item)[0]
    if item is str:
        return "文本的列表" if language == "zh" else "a list of texts"
    return "列表" if language == "zh" else "a list"


def _allowed_plain(annotation: Any, limits: list[Any], language: Language) -> str:
    zh = language == "zh"
    if annotation is bool:
        return "true 或 false" if zh else "true or false"
    if annotation is int:
        return ("整数" if zh else "a whole number") + _range(limits, language)
    if annotation is float:
        return ("数" if zh else "a number") + _range(limits, language)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return one_of([str(member.value) for member in annotation], language)
    if annotation is str:
        return "文本" if zh else "text"
    if annotation is dict or get_origin(annotation) is dict:
        return "映射" if zh else "a mapping"
    return "任意值" if zh else "any value"


def _range(limits: list[Any], language: Language) -> str:
    low = next((limit for limit in limits if isinstance(limit, (at.Ge, at.Gt))), None)
    high = next((limit for limit in limits if isinstance(limit, (at.Le, at.Lt))), None)
    parts = []
    if isinstance(low, at.Ge):
        parts.append(f">= {low.ge}")
    if isinstance(low, at.Gt):
        parts.append(f"> {low.gt}")
    if isinstance(high, at.Le):
        parts.append(f"<= {high.le}")
    if isinstance(high, at.Lt):
        parts.append(f"< {high.lt}")
    if not parts:
        return ""
    return ("，" if language == "zh" else " ") + ("，" if language == "zh" else " and ").join(parts)
