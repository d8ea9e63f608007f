"""The audit: one page on which a person sees in two minutes what preparing did to the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylellm.corpus.rules import RULES

_TEMPLATE = Path(__file__).with_name("audit.html.j2")
_ROLES = {"author": "作者 author", "general": "通用 general", "other": "另一作者 other"}
_SAMPLES = 4
_BOOKS = 400
_REPEATS = 60
_DAMAGE = 40
_WORDS = 80
_NAMES = {
    "script": ("繁简转换", "script converted"),
    "modern": ("现代词汇", "sentences or paragraphs with modern words"),
}
_BLANKS = ("line_ends", "spaces", "layout", "wrapped", "one_line")
_SURE = ((1.0, "确定 certain", "good"), (0.4, "可靠 sure", "good"), (0.15, "较可靠 likely", ""))


def write_audit(manifest: dict[str, Any], folder: Path) -> None:
    """Write audit.html (self-contained) and audit.md into the folder."""
    (folder / "audit.html").write_text(render_html(manifest), encoding="utf-8")
    (folder / "audit.md").write_text(render_markdown(manifest), encoding="utf-8")


def render_html(manifest: dict[str, Any]) -> str:
    """The audit as one HTML page."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["visible"] = visible
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    sources = manifest["sources"]
    return template.render(
        manifest=manifest,
        tiles=_tiles(manifest),
        books=[_book(source) for source in sources[:_BOOKS]],
        books_left_out=max(0, len(sources) - _BOOKS),
        rules=rule_summary(manifest),
        repeats=[place for source in sources for place in source["duplicates"]["places"]][
            :_REPEATS
        ],
        repeat_examples=[one for s in sources for one in s["duplicates"]["examples"][:1]][:8],
        damage=[(source["name"], one) for source in sources for one in source["damage"]][:_DAMAGE],
        modern=_modern(sources),
    )


def _tiles(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    sources = manifest["sources"]
    total: Counter[str] = Counter()
    for source in sources:
        total.update(source["characters"])
    windows = sum(split["windows"] for split in manifest["splits"].values())
    tokens = sum(split["tokens"] for split in manifest["splits"].values())
    return [
        (f"{len(sources):,}", "书 books"),
        (f"{total['in']:,}", "读入字数 characters read"),
        (f"{total['kept']:,}", "保留 kept"),
        (f"{sum(source['chapters'] for source in sources):,}", "章 chapters"),
        (f"{total['duplicates']:,}", "重复的字 in duplicates"),
        (f"{windows:,}", "窗口 windows"),
        (f"{tokens:,}", "词元 tokens"),
    ]


def _book(source: dict[str, Any]) -> dict[str, Any]:
    """What the row of a book shows."""
    characters, repeats = source["characters"], source["duplicates"]
    removed = sorted(((rule["removed"], rule["rule"]) for rule in source["rules"]), reverse=True)
    sure, sure_class = _sureness(source["encoding_margin"])
    of = sorted(repeats["of"].items(), key=lambda item: -item[1])
    parts = [(repeats["chapters"], "章"), (repeats["paragraphs"], "段")]
    return source | {
        "role": _ROLES[source["role"]],
        "sure": sure,
        "sure_class": sure_class,
        "bar": _bar(source),
        "kept_share": f"{characters['kept'] / max(1, characters['in'] + characters['added']):.1%}",
        "removed": [(rule, count) for count, rule in removed if count][:4],
        "repeats": " ".join(f"{count:,} {what}" for count, what in parts if count),
        "repeats_of": "、".join(name for name, _ in of[:3]),
        "splits": [(name, counts["windows"]) for name, counts in source["splits"].items()],
        "eos": sum(counts["documents"] for counts in source["splits"].values()),
    }


def _sureness(margin: float) -> tuple[str, str]:
    """The words for how clearly an encoding was the best, and their colour."""
    for least, words, colour in _SURE:
        if margin >= least:
            return words if least == 1 else f"{words} {margin:.2f}", colour
    return f"可疑 doubtful {margin:.2f}", "bad"


def _bar(source: dict[str, Any]) -> list[tuple[str, float]]:
    """Where the characters went, in percent of what was read and added."""
    characters = source["characters"]
    blanks = sum(rule["removed"] for rule in source["rules"] if rule["rule"] in _BLANKS)
    parts = {
        "kept": characters["kept"],
        "layout": blanks + characters["line_breaks"],
        "rules": characters["removed"] - blanks,
        "twice": characters["duplicates"],
        "left": characters["balanced"],
        "leak": characters["leaked"],
    }
    total = max(1, sum(parts.values()))
    return [(kind, round(100 * count / total, 2)) for kind, count in parts.items() if count]


def _modern(sources: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Modern words by count, each with an example."""
    counts: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    for source in sources:
        counts.update(source["modern"]["places"])
        for word, places in source["modern"]["examples"].items():
            if places:
                examples.setdefault(word, (places[0], source["title"]))
    return [
        {"word": word, "count": count, "example": examples.get(word, ("", ""))[0],
         "title": examples.get(word, ("", ""))[1]}
        for word, count in counts.most_common(_WORDS)
    ]  # fmt: skip


def render_markdown(manifest: dict[str, Any]) -> str:
    """The audit as Markdown, for a terminal or a diff."""
    author = manifest["author"] or "?"
    lines = [f"# 数据审计 Audit: {author}", ""]
    lines += [f"- ⚠ {warning}" for warning in manifest["warnings"]] + [""]
    lines += _table(
        ["书 book", "用途 role", "编码 encoding", "读入 in", "保留 kept", "删除 removed",
         "重复 duplicates", "章 chapters", "窗 windows"],
        [_book_row(source) for source in manifest["sources"]],
    )  # fmt: skip
    lines += _table(
        ["部分 split", "窗 windows", "词元 tokens", "字 characters", "EOS"],
        [[name, *(f"{counts[key]:,}" for key in ("windows", "tokens", "characters", "documents"))]
         for name, counts in manifest["splits"].items()],
    )  # fmt: skip
    lines += _table(
        ["规则 rule", "", "处 places", "删 removed", "增 added", "改 changed"],
        [[rule["name"], f"{rule['chinese']} {rule['english']}", f"{rule['count']:,}",
          f"{rule['removed']:,}", f"{rule['added']:,}", f"{rule['changed']:,}"]
         for rule in rule_summary(manifest)],
    )  # fmt: skip
    return "\n".join(lines)


def _book_row(source: dict[str, Any]) -> list[str]:
    characters = source["characters"]
    windows = sum(count["windows"] for count in source["splits"].values())
    encoding = source["encoding"]
    if source["replacements"]:
        encoding += f" ({source['replacements']} damaged)"
    numbers = [characters[name] for name in ("in", "kept", "removed", "duplicates")]
    return [
        source["title"],
        source["role"],
        encoding,
        *(f"{number:,}" for number in (*numbers, source["chapters"], windows)),
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return (
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )

    return [line(header), "|" + "---|" * len(header), *map(line, rows), ""]


def rule_summary(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Each rule that did something: totals over all files, samples with the change apart."""
    totals: dict[str, dict[str, Any]] = {}
    for source in manifest["sources"]:
        for entry in source["rules"]:
            name = entry["rule"]
            rule = RULES.get(name)
            chinese, english = (
                (rule.chinese, rule.english) if rule else _NAMES.get(name, ("", name))
            )
            total = totals.setdefault(
                name,
                {"name": name, "chinese": chinese, "english": english, "count": 0, "removed": 0,
                 "added": 0, "changed": 0, "samples": []},
            )  # fmt: skip
            for key in ("count", "removed", "added", "changed"):
                total[key] += entry[key]
            total["samples"] += [
                change(before, after) | {"title": source["title"]}
                for before, after in entry["examples"][:2]
            ]
    for total in totals.values():
        total["samples"] = _spread(total["samples"])
    order = [*RULES, *_NAMES]
    return sorted(
        totals.values(),
        key=lambda total: order.index(total["name"]) if total["name"] in order else len(order),
    )


def change(before: str, after: str) -> dict[str, str]:
    """A sample cut into what is before the change, what went, what came, and what is behind."""
    head = _common_start(before, after)
    old, new = before[len(head) :], after[len(head) :]
    tail = _common_start(old[::-1], new[::-1])[::-1]
    return {
        "head": head,
        "old": old[: len(old) - len(tail)],
        "new": new[: len(new) - len(tail)],
        "tail": tail,
    }


def _common_start(one: str, other: str) -> str:
    pairs = enumerate(zip(one, other, strict=False))
    shorter = one if len(one) < len(other) else other
    return next((one[:i] for i, (a, b) in pairs if a != b), shorter)


def _spread(samples: list[dict[str, str]]) -> list[dict[str, str]]:
    """A few samples, from different books where possible."""
    step = max(1, len(samples) // _SAMPLES)
    return samples[::step][:_SAMPLES]


def visible(text: str) -> str:
    """Blanks and line breaks as signs that can be seen."""
    signs = {"\n": "↵", "\r": "␍", "\t": "→", "\u3000": "□", "\xa0": "·"}
    return "".join(
        signs.get(char, char if char.isprintable() else f"‹{ord(char):04X}›") for char in text
    )
