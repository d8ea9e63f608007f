"""Words that the author loves or avoids (Zeta), and how often base and policy use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stylellm.evaluation.measure_table import figure
from stylellm.evaluation.tables import ROW_STYLES, Cell, Label, Row, Table, fixed, percent, pick

NUM_WORDS = 15
SHOWN = ("base", "policy", "held_out_author")


def word_tables(result: Mapping[str, Any]) -> list[Table]:
    """The preferred and the avoided words; none where Zeta was not measured."""
    zeta = result.get("zeta")
    if not zeta:
        return []
    titles = {
        "preferred": Label("作者爱用的词", "words he prefers"),
        "avoided": Label("作者少用的词", "words he avoids"),
    }
    found = [_table(title, zeta.get(key) or []) for key, title in titles.items()]
    return [table for table in found if table.rows]


def words_verdict(result: Mapping[str, Any]) -> Label | None:
    """Whether the policy uses more of the author's own words than the base does."""
    used = {name: pick(result, "zeta", "used", name, "value") for name in SHOWN}
    if used["base"] is None or used["policy"] is None:
        return None
    base, policy = (percent(used[name], 0) for name in ("base", "policy"))
    number = figure(pick(result, "zeta", "used", "policy"), percent).n.removeprefix("n = ")
    return Label(
        f"作者爱用的 {number} 个词里，底座用到 {base}，训练后用到 {policy}。",
        f"Of {number} words that the author prefers the base uses {base}, the policy {policy}.",
    )


def _table(title: Label, words: Sequence[Mapping[str, Any]]) -> Table:
    shown = [name for name in ("author", *SHOWN) if any(name in w.get("rates", {}) for w in words)]
    rows = [
        Row(
            Label(word["word"], word["word"]),
            [Cell(fixed(word["zeta"], 2)), *(_rate(word, name) for name in shown)],
        )
        for word in words[:NUM_WORDS]
    ]
    labels = {"author": Label("作者", "author")} | {n: ROW_STYLES[n].label for n in SHOWN}
    columns = [Label("Zeta", "Zeta"), *(labels[name] for name in shown)]
    return Table(title, columns, rows)


def _rate(word: Mapping[str, Any], name: str) -> Cell:
    """Per 1,000 words."""
    return Cell(fixed(word["rates"].get(name), 2))
