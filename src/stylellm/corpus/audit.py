"""The audit: one page on which a person sees in two minutes what preparing did to the books."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylellm.corpus.rules import RULES

_TEMPLATE = Path(__file__).with_name("audit.html.j2")
_ROLES = {"author": "作者 author", "general": "通用 general", "other": "另一作者 other"}
_SAMPLES = 4
_SCRIPT = ("繁简转换", "script converted")


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
    return template.render(manifest=manifest, rules=rule_summary(manifest), roles=_ROLES)


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
    numbers = [
        characters["in"],
        characters["kept"],
        characters["removed"],
        characters["duplicates"],
    ]
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
    """Each rule that did something: totals over all files, (file, before, after) samples."""
    totals: dict[str, dict[str, Any]] = {}
    for source in manifest["sources"]:
        for entry in source["rules"]:
            name = entry["rule"]
            rule = RULES.get(name)
            chinese, english = (rule.chinese, rule.english) if rule else _SCRIPT
            total = totals.setdefault(
                name,
                {"name": name, "chinese": chinese, "english": english, "count": 0, "removed": 0,
                 "added": 0, "changed": 0, "samples": []},
            )  # fmt: skip
            for key in ("count", "removed", "added", "changed"):
                total[key] += entry[key]
            total["samples"] += [
                (source["title"], before, after) for before, after in entry["examples"][:2]
            ]
    for total in totals.values():
        total["samples"] = _spread(total["samples"])
    order = [*RULES, "script"]
    return sorted(totals.values(), key=lambda total: order.index(total["name"]))


def _spread(samples: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """A few samples, from different books where possible."""
    step = max(1, len(samples) // _SAMPLES)
    return samples[::step][:_SAMPLES]


def visible(text: str) -> str:
    """Blanks and line breaks as signs that can be seen."""
    signs = {"\n": "↵", "\r": "␍", "\t": "→", "\u3000": "□", "\xa0": "·"}
    return "".join(
        signs.get(char, char if char.isprintable() else f"‹{ord(char):04X}›") for char in text
    )
