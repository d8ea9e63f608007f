"""Runs side by side: the front against brute force, warnings, and pages that hold the numbers."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_report import HOSTILE, likelihood, make_result

from stylellm.evaluation.compare import compare, not_comparable, pareto_front, table
from stylellm.evaluation.compare_page import write_comparison

POINTS = st.lists(
    st.tuples(st.sampled_from([-0.1, 0.0, 0.2, 0.3]), st.none() | st.sampled_from([0.0, 0.1, 0.5])),
    max_size=7,
)


def make_run(nll: float, drift: float | None, **provenance: Any) -> dict[str, Any]:
    result = copy.deepcopy(make_result())
    result["author"]["policy"] = likelihood(nll)
    result["drift_kl"] = drift
    result["provenance"] |= provenance
    return result


@given(POINTS)
def test_the_front_is_what_brute_force_finds(points: list[tuple[float, float | None]]) -> None:
    found = pareto_front(points)
    for (gain, drift), on in zip(points, found, strict=True):
        better = [
            (g, d)
            for g, d in points
            if d is not None and drift is not None
            and ((g > gain and d <= drift) or (g >= gain and d < drift))
        ]  # fmt: skip
        assert on == (drift is not None and not better)
    if any(drift is not None for _, drift in points):
        assert any(found)


def test_gain_drift_and_the_settings_that_differ() -> None:
    results = {
        "weak": make_run(4.9, 0.01, kl_beta=1.0, lora_r=8),
        "strong": make_run(4.5, 0.05, kl_beta=0.1, lora_r=8),
        "worse": make_run(4.7, 0.06, kl_beta=0.0, lora_r=8),
        "unmeasured": make_run(4.4, None, kl_beta=0.2, lora_r=8),
    }
    runs = compare(results)
    assert [run.front for run in runs] == [True, True, False, False]
    assert [run.settings for run in runs] == [{"kl_beta": b} for b in (1.0, 0.1, 0.0, 0.2)]
    expected = likelihood(5.0)["bits_per_character"] - likelihood(4.5)["bits_per_character"]
    assert abs(runs[1].gain - expected) < 1e-12
    # Function words (0.05 - 0.03) / (0.05 - 0.01) = 0.5; overlap (0.65 - 0.55) / (0.70 - 0.55) = 2/3.
    assert abs((runs[0].closeness or 0) - (0.5 + 2 / 3) / 2) < 1e-12
    shown = table(runs)
    assert shown.columns[0].en == "kl_beta"
    assert [row.cells[-1].text for row in shown.rows] == ["★", "★", "", ""]


def test_runs_on_another_base_are_named() -> None:
    other = make_run(4.5, 0.05)
    other["author"]["base"] = likelihood(5.1)
    assert not_comparable({"a": make_run(4.5, 0.0), "b": other, "c": make_run(4.6, 0.0)}) == ["b"]
    no_general = make_run(4.5, None)
    no_general["general"] = None
    assert not_comparable({"a": make_run(4.5, 0.0), "b": no_general}) == ["b"]


def test_the_three_files_hold_the_numbers_and_nothing_runs(tmp_path: Path) -> None:
    results = {HOSTILE: make_run(4.5, 0.0321), "b": make_run(4.6, 0.0123)}
    page = write_comparison(results, tmp_path)
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "&lt;script" in html
    assert not re.search(r"<(?:img|link|iframe)[^>]*(?:src|href)=\W?http", html)
    text = (tmp_path / "compare.md").read_text(encoding="utf-8")
    for shown in ("0.0321", "0.0123"):
        assert shown in html and shown in text
    rows = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))["runs"]
    assert [row["drift"] for row in rows] == [0.0321, 0.0123]
    assert html.count('id="plot-front"') == 1


def test_no_plot_without_two_drifts(tmp_path: Path) -> None:
    html = write_comparison({"a": make_run(4.5, 0.1), "b": make_run(4.6, None)}, tmp_path)
    assert 'id="plot-front"' not in html.read_text(encoding="utf-8")
