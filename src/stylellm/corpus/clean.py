"""Clean a book, rule by rule, and account for every character.

Each rule proposes edits (start, end, replacement) on the text that the rule before it left. One
function applies them and counts characters removed, added and changed, so that nothing disappears
unseen: characters in - removed + added = characters out, checked on every call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stylellm.corpus.drops import drop_edits
from stylellm.corpus.modern import MODES, Found, load_words
from stylellm.corpus.pairs import differing
from stylellm.corpus.rules import RULES, Edit
from stylellm.corpus.script import convert
from stylellm.errors import DataError

_EXAMPLES = 5
_CONTEXT = 12


@dataclass(frozen=True)
class Removed:
    """What one rule did.

    Attributes:
        rule: its name, a key of `rules.RULES` (or "script").
        count: how many places it edited.
        examples: (before, after) of the first few, with a little context.
        removed: characters that are gone.
        added: characters that are new (line breaks, mostly).
        changed: characters replaced one for one.
    """

    rule: str
    count: int
    examples: list[tuple[str, str]] = field(default_factory=list)
    removed: int = 0
    added: int = 0
    changed: int = 0


@dataclass(frozen=True)
class Cleaned:
    """A clean text, and what each rule did on the way; `characters_in` is the length before.

    Attributes:
        modern: modern words and in how many places each was found (and, in the modes "sentence"
            and "paragraph", dropped: the rule "modern" of `removed` shows what went).
        modern_examples: for each word a few places, with context.
        modern_protected: places where a listed word stands in an old meaning, not counted.
    """

    text: str
    removed: list[Removed]
    characters_in: int
    modern: Counter[str] = field(default_factory=Counter)
    modern_examples: dict[str, list[str]] = field(default_factory=dict)
    modern_protected: Counter[str] = field(default_factory=Counter)

    def kept(self) -> int:
        """Characters of the source that are still there, as they were or changed one for one."""
        return self.characters_in - sum(rule.removed for rule in self.removed)

    def added(self) -> int:
        """Characters that the rules put in."""
        return sum(rule.added for rule in self.removed)


def rule_names(rules: str | Iterable[str]) -> list[str]:
    """The rules to apply, in their fixed order.

    Raises:
        DataError: a name that is no rule.
    """
    if rules == "all":
        return list(RULES)
    wanted = [rules] if isinstance(rules, str) else list(rules)
    unknown = [name for name in wanted if name not in RULES]
    if unknown:
        raise DataError(
            f"unknown clean rule {', '.join(map(repr, unknown))}",
            f"'all' or some of {', '.join(RULES)}",
            "Change data.clean_rules.",
        )
    return [name for name in RULES if name in wanted]


def clean(
    text: str,
    *,
    rules: str | Iterable[str] = "all",
    script: str = "simplified",
    title: str | None = None,
    modern_words: str = "count",
    modern_word_list: str | Path | None = None,
) -> Cleaned:
    """Clean a text and convert its script.

    The result has a paragraph a line; a chapter heading stands alone between blank lines, and there
    are no other blank lines (with the rule "layout" on).

    Args:
        text: a whole book, or one document.
        rules: "all", or the names of the rules to apply.
        script: "simplified", "traditional" or "keep".
        title: the book's title if known, to recognise where it is repeated.
        modern_words: "count" (leave them in), "sentence" or "paragraph" (drop those that hold one),
            "off".
        modern_word_list: a list to use in place of the shipped one (see `corpus.modern`).

    Raises:
        DataError: an unknown rule, script or mode; a word list that cannot be used.
    """
    original = len(text)
    report = []
    for name in rule_names(rules):
        edits = RULES[name].find(text, title or "")
        if RULES[name].counts:
            report.append(_count(name, text, edits))
            continue
        text, removed = _apply(name, text, edits)
        report.append(removed)
    converted = convert(text, script)
    if script != "keep":
        report.append(_script_change(text, converted))
    text, found, dropped = _modern(converted, modern_words, modern_word_list)
    report += dropped
    cleaned = Cleaned(text, report, original, found.places, found.examples, found.protected)
    if cleaned.kept() + cleaned.added() != len(text):
        raise AssertionError("cleaning lost count of characters")
    return cleaned


def _modern(text: str, mode: str, path: str | Path | None) -> tuple[str, Found, list[Removed]]:
    """Count the modern words and, in the dropping modes, drop what holds them."""
    if mode not in MODES:
        raise DataError(
            f"modern_words is {mode!r}", f"one of {', '.join(MODES)}", "Change data.modern_words."
        )
    if mode == "off":
        return text, Found(), []
    found = load_words(path).find(text)
    if mode == "count":
        return text, found, []
    text, removed = _apply("modern", text, drop_edits(text, found.spans, mode))
    return text, found, [removed]


def _apply(name: str, text: str, edits: Sequence[Edit]) -> tuple[str, Removed]:
    """Apply edits that are in order and do not overlap."""
    pieces: list[str] = []
    examples: list[tuple[str, str]] = []
    position = count = removed = added = changed = 0
    for start, end, new in edits:
        old = text[start:end]
        if start < position or old == new:
            continue
        pieces += [text[position:start], new]
        position = end
        count += 1
        longer = len(old) - len(new)
        removed += longer if longer > 0 else 0
        added -= longer if longer < 0 else 0
        if old and new:
            changed += 1 if len(old) == 1 == len(new) else _changed(old, new)
        if len(examples) < _EXAMPLES:
            examples.append(_example(text, start, end, new))
    pieces.append(text[position:])
    return "".join(pieces), Removed(name, count, examples, removed, added, changed)


def _changed(old: str, new: str) -> int:
    return sum(a != b for a, b in zip(old, new, strict=False))


def _count(name: str, text: str, places: Sequence[Edit]) -> Removed:
    """What a rule that changes nothing has found."""
    examples = [
        (around := text[max(0, start - _CONTEXT) : end + _CONTEXT], around)
        for start, end, _ in places[:_EXAMPLES]
    ]
    return Removed(name, len(places), examples)


def _example(text: str, start: int, end: int, new: str) -> tuple[str, str]:
    before, after = text[max(0, start - _CONTEXT) : start], text[end : end + _CONTEXT]
    return before + _shorten(text[start:end]) + after, before + _shorten(new) + after


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} [...] {text[-limit // 2 :]}"


def _script_change(before: str, after: str) -> Removed:
    places = differing(before, after)
    examples = []
    for index in places[:_EXAMPLES].tolist() if len(before) == len(after) else []:
        span = slice(max(0, index - 6), index + 7)
        examples.append((before[span], after[span]))
    return Removed(
        "script",
        len(places),
        examples,
        removed=max(0, len(before) - len(after)),
        added=max(0, len(after) - len(before)),
        changed=len(places),
    )


def merge_reports(reports: Iterable[Sequence[Removed]]) -> list[Removed]:
    """Add up the reports of several texts, rule by rule."""
    merged: dict[str, Removed] = {}
    for report in reports:
        for one in report:
            total = merged.setdefault(one.rule, Removed(one.rule, 0))
            merged[one.rule] = Removed(
                one.rule,
                total.count + one.count,
                (total.examples + one.examples)[:_EXAMPLES],
                total.removed + one.removed,
                total.added + one.added,
                total.changed + one.changed,
            )
    return list(merged.values())
