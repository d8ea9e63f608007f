"""Pass or fail by stated limits (the `gate_...` keys of the `evaluation` section)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stylellm.evaluation.tables import pick

Better = Literal["below", "above"]


@dataclass(frozen=True)
class Limits:
    """Limits of the gate; None switches one off.

    Attributes:
        longest_copy: characters of the longest run copied from the training text, at most.
        copied_share: share of the texts with a run of 30 characters or more, at most.
        drift_kl: KL(policy || base) on general text, nats per token, at most.
        general_loss: bits per character lost on general text, at most.
        author_gain: bits per character gained on the author's held-out text, at least.
        repetition: rep-4 of the policy above the upper end of real text's own range, at most.
    """

    longest_copy: int | None = 50
    copied_share: float | None = 0.02
    drift_kl: float | None = 0.5
    general_loss: float | None = 0.3
    author_gain: float | None = 0.0
    repetition: float | None = 0.1


def judge(result: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """``{passed, limits: [{name, value, limit, better, passed, detail, ...}]}``.

    What was not measured has `passed` None and does not fail the gate.
    """
    rows = [
        _longest_copy(result, limits.longest_copy),
        _limit(
            "copied_share", "抄录篇目比例", "share of texts with a long copy",
            _value(result, "style", "policy", "memorisation", "author", "copied"),
            limits.copied_share, "below",
        ),
        _limit("drift_kl", "漂移 KL", "drift KL", result.get("drift_kl"), limits.drift_kl, "below"),
        _limit(
            "general_loss", "普通文本损失", "loss on general text",
            _value(result, "likelihood", "general", "difference", "bits_per_character"),
            limits.general_loss, "below",
        ),
        _limit(
            "author_gain", "作者文本收益", "gain on the author's text",
            _negative(_value(result, "likelihood", "author", "difference", "bits_per_character")),
            limits.author_gain, "above",
        ),
        _repetition(result, limits.repetition),
    ]  # fmt: skip
    kept = [row for row in rows if row is not None]
    return {"passed": all(row["passed"] is not False for row in kept), "limits": kept}


def failures(gate: Mapping[str, Any]) -> list[str]:
    """One line a failed limit, for the terminal."""
    lines = []
    for row in gate["limits"]:
        if row["passed"] is False:
            sign = ">" if row["better"] == "below" else "<"
            detail = f" ({row['detail']})" if row["detail"] else ""
            lines.append(f"{row['label_en']}: {row['value']:.6g} {sign} {row['limit']:.6g}{detail}")
    return lines


def _longest_copy(result: Mapping[str, Any], limit: float | None) -> dict[str, Any] | None:
    memory = pick(result, "style", "policy", "memorisation", "author")
    longest = (memory or {}).get("longest")
    value = None if memory is None else longest["length"] if longest else 0
    row = _limit("longest_copy", "最长照抄", "longest copy", value, limit, "below")
    if row is not None and longest:
        place = " ".join(filter(None, (longest["work"], longest["chapter"])))
        row["detail"] = f"{place}: {longest['text'][:40]}" if place else longest["text"][:40]
    return row


def _repetition(result: Mapping[str, Any], limit: float | None) -> dict[str, Any] | None:
    found = pick(result, "style", "policy", "degeneration", "rep_4")
    value = None
    if found is not None and found.get("real"):
        value = found["value"] - found["real"]["high"]
    return _limit(
        "repetition", "重复（超出真实文本）", "repetition above real text", value, limit, "below"
    )


def _limit(
    name: str, zh: str, en: str, value: float | None, limit: float | None, better: Better
) -> dict[str, Any] | None:
    if limit is None:
        return None
    passed = None
    if value is not None:
        passed = bool(value <= limit) if better == "below" else bool(value >= limit)
    return {
        "name": name,
        "label_zh": zh,
        "label_en": en,
        "value": value,
        "limit": limit,
        "better": better,
        "passed": passed,
        "detail": "",
    }


def _value(result: Mapping[str, Any], *keys: str) -> float | None:
    found = pick(result, *keys)
    return None if found is None else float(found["value"])


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
