"""Where the policy stands between its base and the author, as numbers.

0 is the base, 1 the author's own held-out text. A change smaller than half a unit of the last
decimal shown in the report counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from stylellm.evaluation.tables import is_number, ngram_orders, pick

Direction = Literal["closer", "farther", "unchanged", "mixed"]
SAME_BITS, SAME_NATS, SAME_JSD, SAME_SHARE = 0.0005, 0.00005, 0.00005, 0.0005


def measures(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Function-word JSD and mean n-gram overlap (over all n), row by row."""
    orders = ngram_orders(result)
    overlaps = {
        name: sum(row[str(n)] for n in orders) / len(orders)
        for name, row in (result.get("ngram_overlap") or {}).items()
        if orders and all(is_number(row.get(str(n))) for n in orders)
    }
    jsd = {k: v for k, v in (result.get("function_word_jsd") or {}).items() if is_number(v)}
    return {"function_word_jsd": jsd, "ngram_overlap": overlaps}


def positions(result: Mapping[str, Any]) -> dict[str, dict[str, float] | None]:
    """Where each row stands between the base (0) and the author's held-out text (1), by measure.

    (value - base) / (held out - base). None where a row is missing, or where the base is already as
    close to the author's books as his own held-out text, so that there is no way to go.
    """
    found: dict[str, dict[str, float] | None] = {}
    for measure, values in measures(result).items():
        base, goal = values.get("base"), values.get("held_out_author")
        lower_is_closer = measure == "function_word_jsd"
        if base is None or goal is None or (base <= goal if lower_is_closer else base >= goal):
            found[measure] = None
        else:
            found[measure] = {name: (v - base) / (goal - base) for name, v in values.items()}
    return found


def direction(result: Mapping[str, Any]) -> Direction:
    """Whether training brought the policy closer to the author.

    Counts likelihood on the author's held-out text and, where the sample is not too small, function
    words and n-gram overlap of what it writes.
    """
    signs = {sign(bits_change(result, "author"), SAME_BITS)}
    if not result.get("small_sample"):
        for measure, values in measures(result).items():
            if "base" in values and "policy" in values:
                change = values["policy"] - values["base"]
                jsd = measure == "function_word_jsd"
                signs.add(sign(change if jsd else -change, SAME_JSD if jsd else SAME_SHARE))
    if signs >= {-1, 1}:
        return "mixed"
    return "closer" if -1 in signs else "farther" if 1 in signs else "unchanged"


def bits_change(result: Mapping[str, Any], text: str) -> float:
    """Bits per character, policy minus base; below 0 is better, 0 where either is missing."""
    base, policy = (pick(result, text, w, "bits_per_character") for w in ("base", "policy"))
    return policy - base if is_number(base) and is_number(policy) else 0.0


def sign(change: float, tolerance: float) -> int:
    """-1, 0 or 1."""
    return 0 if abs(change) < tolerance else 1 if change > 0 else -1
