"""books.yaml: who wrote what, where file names and texts do not say it.

# paths are relative to this file; a folder or a zip archive may name the author of all in it
shediao.txt: {title: 射雕英雄传, author: 金庸}
古龙/: {author: 古龙}
shelf.zip/b7.txt: {title: 绝代双骄}
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stylellm.corpus.encoding import decode
from stylellm.errors import DataError

CATALOG_NAMES = ("books.yaml", "books.yml")
_KEYS = ("title", "author")
_MAX_BYTES = 4 << 20
_EXAMPLE = "FILE: {title: 书名, author: 作者} on every line"


@dataclass
class Catalog:
    """What one books.yaml says.

    Attributes:
        name: what to call it in an error.
        folder: what its paths are relative to: a folder, or a zip archive.
        entries: path -> {"title": ..., "author": ...}.
    """

    name: str
    folder: Path
    entries: dict[str, dict[str, str]]
    _used: set[str] = field(default_factory=set)

    def describe(self, path: str) -> tuple[str, str]:
        """(title, author) of a file by its path with "/", "" where nothing is said.

        Raises:
            DataError: a title that stands at a folder.
        """
        parts = _normal(path).split("/")
        title = author = ""
        for depth in range(1, len(parts) + 1):
            key = "/".join(parts[:depth])
            entry = self.entries.get(key)
            if entry is None:
                continue
            self._used.add(key)
            if "title" in entry and depth < len(parts):
                raise DataError(
                    f"{self.name}: {key} holds several files, but is given the title "
                    f"{entry['title']}",
                    "a title for each file, only the author for a folder or archive",
                )
            title, author = entry.get("title", title), entry.get("author", author)
        return title, author

    def check_all_used(self) -> None:
        """Raises DataError for entries that name no book that was found."""
        missing = [key for key in self.entries if key not in self._used]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise DataError(
                f"{self.name} names {', '.join(missing[:3])}{more}, but there is no such book",
                "paths relative to it, spelt as the files are",
            )


def read_catalog(data: bytes, name: str, folder: Path) -> Catalog:
    """Read and check a books.yaml.

    Args:
        data: its bytes, in any Chinese encoding.
        name: what to call it in an error.
        folder: what its paths are relative to.

    Raises:
        DataError: not YAML, or anything in it that is not a title or author of a file; all
            problems in one line.
    """
    if len(data) > _MAX_BYTES:
        raise DataError(f"{name} is larger than {_MAX_BYTES >> 20} MB", _EXAMPLE)
    content = _parse(decode(data, name).text, name) if data.strip() else {}
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise DataError(f"{name} is {_kind(content)}", _EXAMPLE)
    problems: list[str] = []
    entries: dict[str, dict[str, str]] = {}
    for key, value in content.items():
        found = _problem(key, value)
        normal = _normal(key) if isinstance(key, str) else ""
        if not found and normal in entries:
            found = f"{normal} stands there twice"
        if found:
            problems.append(found)
        else:
            entries[normal] = {field: text.strip() for field, text in value.items()}
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise DataError(f"{name}: {'; '.join(problems[:5])}{more}", _EXAMPLE)
    return Catalog(name, folder, entries)


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice instead of keeping the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            keys = Counter(key.value for key, _ in node.value if isinstance(key.value, str))
            twice = next((key for key, times in keys.items() if times > 1), None)
            if twice is not None:
                raise yaml.MarkedYAMLError(problem=f"{twice} stands there twice",
                                           problem_mark=node.start_mark)  # fmt: skip
        return super().construct_mapping(node, deep)


def _parse(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
        raise DataError(f"{name}{line} is not YAML: {problem}", _EXAMPLE) from None
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(f"{name} is not YAML: {reason}", _EXAMPLE) from None


def _problem(key: Any, value: Any) -> str:
    if not isinstance(key, str):
        return f'{key!r} is {_kind(key)}, not a path (write it in "quotes")'
    if not _normal(key) or ".." in _normal(key).split("/") or key.startswith(("/", "\\")):
        return f"{key} leads out of the folder"
    if not isinstance(value, dict):
        return f"{key} is {_kind(value)}, not {{title: ..., author: ...}}"
    for name, text in value.items():
        if name not in _KEYS:
            return f"{key} has {name!r}, which is neither title nor author"
        if not isinstance(text, str) or not text.strip():
            return f'the {name} of {key} is {_kind(text)}, not text (write it in "quotes")'
    return ""


def _normal(path: str) -> str:
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _kind(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list",
             dict: "a mapping", str: "text"}  # fmt: skip
    return kinds.get(type(value), f"a {type(value).__name__}")
