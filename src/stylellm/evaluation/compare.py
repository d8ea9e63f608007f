"""Several runs side by side: what each gained, what it forgot, and which of them nothing beats.

A run is on the front of style and drift (Pareto) if no other run gained at least as much of the author
while drifting no more, with one of the two strictly better. Strings and numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from stylellm.evaluation.scale import bits_change, positions
from stylellm.evaluation.tables import (
    MISSING,
    Cell,
    Label,
    Row,
    Table,
    fixed,
    integer,
    is_number,
    percent,
    pick,
)

SETTINGS = ("kl_beta", "general_beta", "general_ratio", "masking_format", "lora_r")
"""Keys of a provenance that are shown where the runs differ in them."""
SAME_BASE = 1e-6
"""Relative difference of the base's likelihood up to which two runs measured the same thing."""


@dataclass(frozen=True)
class Compared:
    """One run.

    Attributes:
        name: its label.
        settings: its values of the keys in which the runs differ.
        gain: bits per character saved on the author's held-out text, base minus policy.
        drift: KL(policy || base) on general text, nats per token; None where it was not measured.
        general: bits per character lost on general text, policy minus base; None likewise.
        closeness: mean place between base (0) and held-out author (1) of what it writes; None where
            nothing could be placed.
        small: whether the texts behind ``closeness`` are too few.
        longest_copy: characters of the longest run that it copied.
        gate: whether it passed the gate; None where there is none.
        front: whether no other run beats it.
    """

    name: str
    settings: dict[str, Any]
    gain: float
    drift: float | None
    general: float | None
    closeness: float | None
    small: bool
    longest_copy: int | None
    gate: bool | None
    front: bool = False


def compare(results: Mapping[str, Mapping[str, Any]]) -> list[Compared]:
    """The runs in the order given.

    Args:
        results: label -> what ``evaluation.json`` holds.
    """
    keys = _differing(results.values())
    runs = [_compared(name, result, keys) for name, result in results.items()]
    front = pareto_front([(run.gain, run.drift) for run in runs])
    return [replace(run, front=on) for run, on in zip(runs, front, strict=True)]


def pareto_front(points: Sequence[tuple[float, float | None]]) -> list[bool]:
    """Which of (gain, drift) are not beaten: larger gain and smaller drift are better.

    A point without drift is on no front and beats nobody.
    """
    known = [(gain, drift) for gain, drift in points if drift is not None]

    def beaten(gain: float, drift: float) -> bool:
        return any(g >= gain and d <= drift and (g, d) != (gain, drift) for g, d in known)

    return [drift is not None and not beaten(gain, drift) for gain, drift in points]


def not_comparable(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Labels of runs whose base or texts are not those of the first run."""
    names = list(results)
    first = [
        pick(results[names[0]], text, "base", "nll_per_token") for text in ("author", "general")
    ]
    odd = []
    for name in names[1:]:
        for text, value in zip(("author", "general"), first, strict=True):
            other = pick(results[name], text, "base", "nll_per_token")
            if is_number(value) != is_number(other) or (
                is_number(value) and abs(other - value) > SAME_BASE * abs(value)
            ):
                odd.append(name)
                break
    return odd


def table(runs: Sequence[Compared]) -> Table:
    """The runs as rows of formatted cells."""
    keys = list(runs[0].settings)
    rows = []
    for run in runs:
        cells = [Cell(str(run.settings[key])) for key in keys]
        cells += [
            Cell(_signed(-run.gain)),
            Cell(MISSING if run.general is None else _signed(run.general)),
            Cell(fixed(run.drift, 4)),
            Cell(percent(run.closeness, 0), run.small),
            Cell(integer(run.longest_copy)),
            Cell(MISSING if run.gate is None else "✓" if run.gate else "✗"),
            Cell("★" if run.front else ""),
        ]
        rows.append(Row(Label(run.name, run.name), cells))
    columns = [
        *(Label(key, key) for key in keys),
        Label("作者文本", "author, bits/char"),
        Label("普通文本", "general, bits/char"),
        Label("漂移", "drift KL"),
        Label("接近作者", "closeness"),
        Label("最长照抄", "longest copy"),
        Label("关口", "gate"),
        Label("前沿", "front"),
    ]
    return Table(Label("运行", "run"), columns, rows, _notes(runs))


def _compared(name: str, result: Mapping[str, Any], keys: Sequence[str]) -> Compared:
    provenance = result.get("provenance") or {}
    places = [p["policy"] for p in positions(result).values() if p and "policy" in p]
    has_general = bool(result.get("general"))
    return Compared(
        name=name,
        settings={key: provenance.get(key, MISSING) for key in keys},
        gain=-bits_change(result, "author"),
        drift=result.get("drift_kl") if is_number(result.get("drift_kl")) else None,
        general=bits_change(result, "general") if has_general else None,
        closeness=fmean(places) if places else None,
        small=bool(result.get("small_sample")),
        longest_copy=pick(result, "longest_copy", "policy", "length"),
        gate=pick(result, "gate", "passed"),
    )


def _differing(results: Any) -> list[str]:
    found = [result.get("provenance") or {} for result in results]
    return [key for key in SETTINGS if len({str(p.get(key)) for p in found}) > 1]


def _signed(value: float) -> str:
    text = f"{value:+.4f}".replace("-", "−")
    return text if float(text.replace("−", "-")) else "0.0000"


def _notes(runs: Sequence[Compared]) -> list[Label]:
    notes = [
        Label(
            "作者文本、普通文本：训练后减训练前，每字比特，越小越好。漂移：普通文本上相对底座的 KL（每词元"
            "奈特）。接近作者：所写文字的位置，底座为 0%，作者留出文本为 100%。★：没有别的运行既学得不少于它、"
            "又漂得不多于它。",
            "Author, general: bits per character, policy minus base, lower is better. Drift: KL from the "
            "base on general text, nats per token. Closeness: where its writing stands, the base at 0%, "
            "the author's held-out text at 100%. ★: no other run learnt as much and drifted no more.",
        )
    ]
    if any(run.small for run in runs):
        notes.append(
            Label(
                "灰色：所写文字太少，差别可能只是偶然。",
                "Grey: too little text was written; differences may be chance.",
            )
        )
    return notes
