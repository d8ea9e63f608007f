"""Plots of what was written: function words, n-grams, map, rolling Delta, rhythm, copies.

Each is drawn only where the result holds its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from stylellm.evaluation.plots import GENERAL, GRID, INK, Key, Plot, canvas, dots
from stylellm.evaluation.tables import (
    AUTHOR_STYLE,
    ROW_STYLES,
    Label,
    RowStyle,
    is_number,
    ngram_orders,
    pick,
)

NUM_WORDS = 20
WRITTEN = ("base", "policy", "held_out_author")
PASSAGE_STYLES = {
    "general": RowStyle(Label("普通文本", "general text"), GENERAL, "✚", "P"),
    "author": RowStyle(AUTHOR_STYLE.label, AUTHOR_STYLE.colour, "✛", "+"),
} | ROW_STYLES
"""Kinds of the map and the tree, where the author's text is passages among others."""


def style_plots(result: Mapping[str, Any]) -> list[Plot]:
    """All plots that the result holds the numbers of."""
    makers: tuple[Callable[[Mapping[str, Any]], Plot | None], ...] = (
        function_word_plot, overlap_plot, map_plot, tree_plot, rolling_plot, rhythm_plot, copies_plot,
    )  # fmt: skip
    return [plot for maker in makers if (plot := maker(result)) is not None]


def function_word_plot(result: Mapping[str, Any], count: int = NUM_WORDS) -> Plot | None:
    """The author's most frequent function words per 1,000 characters, with 95% intervals."""
    rates = result.get("function_word_rates")
    if not rates:
        return None
    author = rates["author"]
    words = sorted(author, key=lambda word: -author[word])[:count]
    shown = [(n, ROW_STYLES[n]) for n in WRITTEN if n in rates]
    with canvas("words", 0.55 + 0.3 * len(words), bottom=0.55) as (axes, out):
        heights = range(len(words))
        axes.scatter(
            [author[w] for w in words], heights, marker="|", s=130, lw=2.2,
            color=AUTHOR_STYLE.colour, zorder=2,
        )  # fmt: skip
        for offset, (name, style) in zip((-0.2, 0.0, 0.2), shown, strict=False):
            ys = [y + offset for y in heights]
            for y, (low, high) in zip(ys, _intervals(result, name, words), strict=True):
                axes.plot([low, high], [y, y], color=style.colour, lw=1.3, alpha=0.5, zorder=2)
            axes.scatter([rates[name][w] for w in words], ys, **dots(style), zorder=3)
        for y in heights[::2]:
            axes.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.35, lw=0, zorder=0)
        axes.set_yticks(list(heights), words, fontsize=10.5)
        axes.set_ylim(len(words) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("每千字次数 per 1,000 characters")
        axes.grid(axis="y", visible=False)
    styles = [AUTHOR_STYLE, *(style for _, style in shown)]
    title = Label(
        "作者最常用的虚词：橙点应靠近黑线", "The author's function words: orange should near black"
    )
    return Plot("words", title, out[0], _keys(styles))


def _intervals(
    result: Mapping[str, Any], name: str, words: Sequence[str]
) -> Iterator[tuple[float, float]]:
    """95% intervals of the rates; nothing to see where there are none."""
    found = {
        row["word"]: (pick(row, "rate", "low"), pick(row, "rate", "high"))
        for row in pick(result, "style", name, "function_words") or []
    }
    for word in words:
        low, high = found.get(word, (None, None))
        yield (low, high) if is_number(low) and is_number(high) else (float("nan"), float("nan"))


def overlap_plot(result: Mapping[str, Any]) -> Plot | None:
    """Share of n-grams found in the author's training text, by n."""
    overlap, orders = result.get("ngram_overlap") or {}, ngram_orders(result)
    if not orders:
        return None
    shown = [(n, s) for n, s in ROW_STYLES.items() if n in overlap]
    with canvas("overlap", 3.1, bottom=0.55) as (axes, out):
        for name, style in shown:
            ys = [100 * overlap[name][str(n)] for n in orders]
            axes.plot(
                orders, ys, color=style.colour, marker=style.marker, ms=6, lw=1.6,
                mec="white", mew=0.8,
            )  # fmt: skip
        axes.set_ylim(0, 103)
        axes.set_xticks(list(orders))
        axes.set_yticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
        axes.set_xlabel("字串长度 characters per n-gram")
    title = Label("与作者训练文本重合的字串", "n-grams found in the author's training text")
    return Plot("overlap", title, out[0], _keys(s for _, s in shown))


def map_plot(result: Mapping[str, Any]) -> Plot | None:
    """Passages of real texts and generations in the plane that tells the real ones apart (PCA)."""
    found = result.get("map")
    if not found:
        return None
    styles = PASSAGE_STYLES
    kinds = [kind for kind in styles if any(p["kind"] == kind for p in found["points"])]
    with canvas("map", 3.6, bottom=0.55) as (axes, out):
        for kind in kinds:
            points = [p for p in found["points"] if p["kind"] == kind]
            axes.scatter([p["x"] for p in points], [p["y"] for p in points], **_mark(styles[kind]),
                         alpha=0.75, zorder=3 if kind in WRITTEN else 2)  # fmt: skip
        axes.margins(0.06)
        axes.set_xlabel(f"主成分 1 component 1, {100 * found['explained'][0]:.0f}%")
        axes.set_ylabel(f"主成分 2 component 2, {100 * found['explained'][1]:.0f}%")
        axes.set_xticklabels([])
        axes.set_yticklabels([])
    title = Label("文风地图：训练后的文字应离开底座、落到作者一带",
                  "Map of styles: policy should leave the base for the author")  # fmt: skip
    return Plot("map", title, out[0], _keys(styles[kind] for kind in kinds))


def _mark(style: RowStyle) -> dict[str, Any]:
    """How a passage is scattered; the author's are crosses."""
    if style is not PASSAGE_STYLES["author"]:
        return dots(style)
    return {"marker": style.marker, "s": 34, "color": style.colour, "lw": 1.1}


def tree_plot(result: Mapping[str, Any]) -> Plot | None:
    """Dendrogram of passages by Burrows's Delta: whose texts stand on one branch."""
    found = result.get("tree")
    if not found:
        return None
    leaves = [found["leaves"][i] for i in found["order"]]
    with canvas("tree", 0.7 + 0.17 * len(leaves), bottom=0.5) as (axes, out):
        for places, heights in zip(found["xs"], found["ys"], strict=True):
            axes.plot(heights, places, color="#9ca3af", lw=1.0, zorder=1)
        for number, leaf in enumerate(leaves):
            mark = _mark(PASSAGE_STYLES[leaf["kind"]])
            axes.scatter([0], [10 * number + 5], **mark, zorder=3, clip_on=False)
        axes.set_ylim(0, 10 * len(leaves))
        axes.set_xlim(left=0)
        axes.set_yticks([])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Delta（越靠左合并越相近）merged at Delta, nearer to the left")
    kinds = {leaf["kind"] for leaf in leaves}
    title = Label("谁和谁在一枝上：橙点应与作者同枝",
                  "Tree of passages: orange should be on the author's branch")  # fmt: skip
    return Plot("tree", title, out[0], _keys(s for k, s in PASSAGE_STYLES.items() if k in kinds))


def rolling_plot(result: Mapping[str, Any]) -> Plot | None:
    """Burrows's Delta to the author along the texts of base, policy and held-out author."""
    rolling = result.get("rolling")
    rows = {n: pick(rolling, "rows", n) for n in WRITTEN} if rolling else {}
    rows = {name: row for name, row in rows.items() if row and row.get("author")}
    if not rolling or not rows:
        return None
    with canvas("rolling", 3.0, bottom=0.55) as (axes, out):
        for name, row in rows.items():
            style = ROW_STYLES[name]
            xs = [begin / 1000 for begin in row["begins"]]
            axes.plot(xs, row["author"], color=style.colour, lw=1.5, marker=style.marker, ms=3.5,
                      mec="white", mew=0.5)  # fmt: skip
        axes.margins(x=0.02)
        axes.set_xlabel("文中位置，千字 thousand characters into the text")
    window = rolling["window"]
    title = Label(f"一路写来离作者多远（Delta，每窗 {window:,} 字，越低越像）",
                  f"Delta to the author along the text, windows of {window:,} characters")  # fmt: skip
    return Plot("rolling", title, out[0], _keys(ROW_STYLES[name] for name in rows))


def rhythm_plot(result: Mapping[str, Any]) -> Plot | None:
    """Lengths of sentences: base, policy, held-out author, and the author's training text."""
    sources = [(AUTHOR_STYLE, pick(result, "reference", "author", "rhythm", "sentences"))]
    sources += [(ROW_STYLES[n], pick(result, "style", n, "rhythm", "sentences")) for n in WRITTEN]
    shown = [(s, r["histogram"]) for s, r in sources if r and r.get("histogram")]
    if not any(style is not AUTHOR_STYLE for style, _ in shown):
        return None
    with canvas("rhythm", 3.0, bottom=0.55) as (axes, out):
        for style, histogram in shown:
            edges, shares = histogram["edges"], histogram["shares"]
            xs = [(a + b) / 2 for a, b in pairwise(edges)][: len(shares)]
            axes.plot(xs, [100 * s for s in shares[: len(xs)]], color=style.colour,
                      lw=2.4 if style is AUTHOR_STYLE else 1.5,
                      marker=None if style is AUTHOR_STYLE else style.marker, ms=4,
                      mec="white", mew=0.5)  # fmt: skip
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:.0f}%")
        axes.set_xlabel("句长，字 characters per sentence")
    title = Label("句子的长短：橙线应贴近黑线", "Sentence lengths: orange should near black")
    return Plot("rhythm", title, out[0], _keys(style for style, _ in shown))


def copies_plot(result: Mapping[str, Any]) -> Plot | None:
    """Share of texts whose longest run from the author's books is at least so long."""
    rows = {name: pick(result, "style", name, "memorisation", "author") for name in ROW_STYLES}
    rows = {name: row for name, row in rows.items() if row and row.get("lengths")}
    if not rows:
        return None
    limit = next(iter(rows.values())).get("limit")
    longest = max(max(row["lengths"]) for row in rows.values())
    with canvas("copies", 3.0, bottom=0.55) as (axes, out):
        for name, row in rows.items():
            lengths, total = row["lengths"], len(row["lengths"])
            xs = range(1, longest + 2)
            ys = [100 * sum(length >= x for length in lengths) / total for x in xs]
            axes.step(xs, ys, where="post", color=ROW_STYLES[name].colour, lw=1.6)
        if is_number(limit):
            axes.axvline(limit, color=INK, lw=1, ls=":")
        axes.set_xlim(1, max(longest + 1, (limit or 0) + 2))
        axes.set_ylim(0, 103)
        axes.yaxis.set_major_formatter("{x:.0f}%")
        axes.set_xlabel("与作者书逐字相同的长度，字 characters copied in a row")
    title = Label(f"多少篇抄了这么长（虚线：{limit} 字起算照抄）",
                  f"Texts that copy so long a run (dotted: {limit}, counted as copying)")  # fmt: skip
    return Plot("copies", title, out[0], [
        Key(ROW_STYLES[name].label, ROW_STYLES[name].colour, "━") for name in rows])  # fmt: skip


def _keys(styles: Any) -> list[Key]:
    return [Key(style.label, style.colour, style.glyph) for style in styles]
