"""The limits of the gate, what was measured against each, and the sentence for the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylellm.evaluation.tables import MISSING, Cell, Label, Row, Table, fixed, integer, is_number


def gate_rows(result: Mapping[str, Any]) -> Table | None:
    """Limit by limit; None where the result holds no gate."""
    gate = result.get("gate")
    if not gate:
        return None
    rows = [
        Row(
            Label(limit["label_zh"], limit["label_en"]),
            [
                Cell(_number(limit.get("value"))),
                Cell(("≤ " if limit["better"] == "below" else "≥ ") + _number(limit["limit"])),
                Cell({True: "✓", False: "✗", None: "未测 not measured"}[limit.get("passed")]),
                Cell(limit.get("detail") or ""),
            ],
        )
        for limit in gate["limits"]
    ]
    columns = [
        Label("测得", "measured"),
        Label("界限", "limit"),
        Label("通过", "passed"),
        Label("在哪里", "where"),
    ]
    return Table(Label("界限", "limit of the gate"), columns, rows)


def gate_sentence(result: Mapping[str, Any]) -> list[Label]:
    """Whether it passed, and what failed; nothing where there is no gate."""
    gate = result.get("gate")
    if not gate:
        return []
    failed = [limit for limit in gate["limits"] if limit.get("passed") is False]
    if not failed:
        return [Label("各项界限都通过了。", "It passed every limit of the gate.")]
    zh = "、".join(f"{x['label_zh']} {_number(x.get('value'))}" for x in failed)
    en = ", ".join(f"{x['label_en']} {_number(x.get('value'))}" for x in failed)
    return [Label(f"没有过关：{zh}。", f"It failed the gate: {en}.")]


def _number(value: Any) -> str:
    if not is_number(value):
        return MISSING
    return integer(value) if float(value).is_integer() else fixed(value, 4)
