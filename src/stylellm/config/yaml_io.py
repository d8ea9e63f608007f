"""Reading and writing YAML files: any usual encoding in, clear messages, UTF-8 out.

PyYAML follows YAML 1.1, where 2e-4 is text and a key given twice silently wins; both are mended
here. Lines of keys are kept, so that a message can say where to look.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stylellm.config.section import Problem
from stylellm.config.values import SCIENTIFIC, show
from stylellm.errors import ConfigError

KeyPath = tuple[str, ...]  # ("lora",) or ("lora", "lora_r")


class Document(NamedTuple):
    """A YAML mapping, the line of each key (from 1), and the keys that stand twice."""

    values: dict[Any, Any]
    lines: dict[KeyPath, int]
    problems: list[Problem]


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 2e-4 as a number and joins characters escaped in JSON's two halves."""

    def construct_text(self, node: yaml.ScalarNode) -> str:
        text = self.construct_scalar(node)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            problem = "half of a character"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes the text "2e-4", indents lists and never writes anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_text(self, text: str) -> yaml.Node:
        """Quote where PyYAML would write U+0085, a line break, as it stands and lose it."""
        style = '"' if "\x85" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_text)
_Dumper.add_representer(str, _Dumper.represent_text)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(f"(?:{SCIENTIFIC.pattern})$"),
        list("-+.0123456789"),
    )


def read_text(path: Path) -> str:
    """The text of a configuration file in UTF-8, UTF-16 or GB18030 (what Notepad saves).

    Raises:
        ConfigError: the file is missing, a folder, unreadable, or not text.
    """
    if path.is_dir():
        raise ConfigError([f"{path} is a folder; expected a YAML file"], str(path))
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        text = f"no such file; expected a YAML file (the current folder is {Path.cwd()})"
        raise ConfigError([text], str(path)) from error
    except OSError as error:
        raise ConfigError([f"cannot be read: {error.strerror or error}"], str(path)) from error
    text = _decode(data, str(path))
    if not text.strip():
        hint = "the file is empty; start from train_config.yaml or a file in configs/"
        raise ConfigError([hint], str(path))
    return text


def _decode(data: bytes, source: str) -> str:
    encodings = ["utf-8-sig", "gb18030"]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n")
    raise ConfigError(["this is not text; expected YAML saved as UTF-8"], source)


def load_yaml(text: str, source: str) -> Document:
    """Parse a YAML mapping.

    Raises:
        ConfigError: the syntax is wrong, or the text is not a mapping.
    """
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            _expanded_size(root, {})
            values = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([_syntax_problem(error, text)], source) from error
    if values is None:
        raise ConfigError(["nothing but comments; expected sections such as model:"], source)
    if not isinstance(values, dict) or not isinstance(root, yaml.MappingNode):
        hint = colon_hint(values) or "expected sections such as model: with keys below them"
        raise ConfigError([f"found {show(values)}; {hint}"], source)
    lines: dict[KeyPath, int] = {}
    problems = list(_walk(root, (), lines, set()))
    return Document(values, lines, problems)


def parse_value(text: str) -> Any:
    """One value written as YAML; raises yaml.YAMLError or ValueError."""
    return yaml.load(text, Loader=_Loader)


def colon_hint(value: Any) -> str:
    """Why a line may have become text instead of a key: its colon."""
    if not isinstance(value, str):
        return ""
    if "：" in value:
        return "write a plain colon and a space instead of the Chinese colon ："
    if re.search(r"\w:\S", value):
        return "a space must follow the colon"
    return ""


def _walk(
    node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int], seen: set[int]
) -> Iterator[Problem]:
    """Note the line of every key, and report keys that stand twice in one mapping."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    here: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
            continue
        name, line = key_node.value, key_node.start_mark.line + 1
        if name in here:
            text = f"stands twice (lines {here[name]} and {line}); keep one"
            yield Problem(".".join((*path, name)), text)
        here.setdefault(name, line)
        lines[(*path, name)] = line
        if isinstance(value_node, yaml.MappingNode):
            yield from _walk(value_node, (*path, name), lines, seen)


def _expanded_size(node: yaml.Node | None, sizes: dict[int, int | None]) -> int:
    """Nodes of a document with its aliases written out. Raises ValueError beyond 10,000."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise ValueError("an anchor that contains itself")
        return size
    sizes[id(node)] = None
    pairs = isinstance(node, yaml.MappingNode)
    children = [part for pair in node.value for part in pair] if pairs else node.value
    size = 1 + sum(_expanded_size(child, sizes) for child in children)
    if size > 10_000:
        raise ValueError("far too many values for a configuration")
    sizes[id(node)] = size
    return size


def _syntax_problem(error: Exception, text: str) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    message = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if mark is None:
        return f"not valid YAML: {' '.join(str(message).split())}"
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    before = lines[mark.line - 1] if mark.line else ""
    hint = _syntax_hint(str(message), line) or _syntax_hint("", before)
    where = f"line {mark.line + 1}, column {mark.column + 1}: not valid YAML: {message}"
    return f"{where}; {hint}" if hint else where


def _syntax_hint(message: str, line: str) -> str:
    code = line.split(" #")[0]
    if "\t" in code:
        return "indent with spaces, not with tabs"
    if "：" in code:
        return "write a plain colon and a space instead of the Chinese colon ："
    if "escape" in message:
        return "write Windows paths with / or in single quotes"
    if "\u3000" in code:
        return "the line holds a full-width space; use plain spaces"
    if "mapping values" in message:
        return "is the indentation of this line or the one above right?"
    return ""


def dump_yaml(values: dict[str, Any]) -> str:
    """YAML text that `load_yaml` reads back to the same values."""
    return yaml.dump(values, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)
