"""A result with every part that the suite can measure, the numbers drawn, not measured: for layout."""

from __future__ import annotations

import random
from typing import Any

from test_report import ROWS, make_result

MARKS = ("，", "。", "！", "？")


def figure(draw: random.Random, centre: float, spread: float, n: int = 60) -> dict[str, Any]:
    value = centre + draw.uniform(-spread, spread)
    return {"value": value, "low": value - spread, "high": value + spread, "n": n, "small": False}


def copied(length: int, start: int = 0) -> dict[str, Any]:
    text = "欲知后事如何，且听下回分解便了且说那人"[:length]
    return {"start": start, "end": start + length, "length": length, "text": text, "work": "霜桥渡",
            "chapter": "第三章 空棺", "offset": 1204, "context": f"……【{text}】……"}  # fmt: skip


def style_of(draw: random.Random, near: float) -> dict[str, Any]:
    """A row; ``near`` is 0 for the author himself and 1 for the farthest."""
    f = lambda centre, spread, n=60: figure(draw, centre, spread, n)  # noqa: E731
    lengths = [max(3, int(draw.gauss(9, 3))) for _ in range(60)]
    shares = [draw.uniform(0.02, 0.3) for _ in range(12)]
    lengths_of = {
        "wasserstein": f(1 + 4 * near, 0.3), "mean": f(14, 1), "quantiles": [4, 8, 14, 22, 33],
        "n": 2890, "histogram": {"edges": list(range(0, 65, 5)), "shares": shares},
    }  # fmt: skip
    real = {"value": 0.05, "low": 0.03, "high": 0.08, "n": 60, "small": False}
    return {
        "characters": 59_000, "texts": 60, "small": False,
        "function_word_jsd": f(0.002 + 0.02 * near, 0.001),
        "function_words": [
            {"word": w, "rate": f(r * (1 + 0.5 * near), 1.5), "difference": f(0, 1), "differs": False}
            for w, r in {"的": 30.25, "了": 18.5, "不": 12.0, "罢了": 0.5}.items()
        ],
        "burrows_delta": {k: f(0.5 + 0.6 * near, 0.05) for k in ("author", "other_author", "general")},
        "cosine_delta": {k: f(0.3 + 0.5 * near, 0.05) for k in ("author", "other_author", "general")},
        "imposters": f(1 - near, 0.05, 100),
        "mauve": f(1 - near, 0.05, 150),
        "rhythm": {
            "sentences": lengths_of, "clauses": lengths_of, "utterances": None,
            "dialogue_share": f(0.3, 0.03), "punctuation_distance": f(0.1 + near, 0.02),
            "punctuation": {mark: f(40, 4) for mark in MARKS},
        },
        "register": {"index": f(0.1 - near, 0.05), "wenyan": f(8, 1), "baihua": f(12, 1)},
        "richness": {"mattr": f(0.7, 0.01), "hdd": None, "yule_k": f(60, 5)},
        "attribution": {k: {"share": f(1 - 0.8 * near, 0.08), "relative": 0.8, "probability": 0.7}
                        for k in ("svm", "bayes")},
        "two_sample": f(0.5 + 0.5 * near, 0.02),
        "degeneration": {k: {"value": 0.04, "n": 60, "small": False, "real": real}
                         for k in ("rep_4", "distinct_2", "self_bleu", "compression_ratio")},
        "memorisation": {
            kind: {"longest": copied(17), "copied": f(0.01, 0.01), "limit": 30, "lengths": lengths,
                   "novelty": {"5": f(0.6, 0.02), "10": f(0.95, 0.01), "20": f(1.0, 0.0)}}
            for kind in ("author", "held_out_author", "other_author")
        },
    }  # fmt: skip


def full_result(seed: int = 1) -> dict[str, Any]:
    """`make_result` with all that the schema of evaluation.json adds."""
    draw, result = random.Random(seed), make_result()
    near = dict(zip(ROWS, (0.9, 0.4, 0.8, 0.0), strict=True))
    begins = list(range(0, 50_000, 2_500))
    result |= {
        "style": {row: style_of(draw, near[row]) for row in ROWS},
        "reference": {"author": {"rhythm": style_of(draw, 0.0)["rhythm"]}},
        "map": {
            "points": [
                {"name": kind, "kind": kind, "x": draw.gauss(x, 1), "y": draw.gauss(y, 1)}
                for kind, (x, y) in {
                    "author": (3, 0), "other_author": (-3, 2), "general": (-3, -4), "base": (-2, -1),
                    "policy": (1, 0), "held_out_author": (3, 0),
                }.items() for _ in range(12)
            ],
            "explained": [0.41, 0.17], "features": 100, "texts": 60,
        },
        "tree": {  # by hand: two pairs that merge at 0.4 and 0.5, all at 0.9
            "leaves": [{"name": k, "kind": k} for k in ("author", "base", "policy", "general")],
            "order": [0, 2, 1, 3], "passage": 5000, "small": False,
            "xs": [[5, 5, 15, 15], [25, 25, 35, 35], [10, 10, 30, 30]],
            "ys": [[0, 0.4, 0.4, 0], [0, 0.5, 0.5, 0], [0.4, 0.9, 0.9, 0.5]],
        },
        "rolling": {"window": 5000, "step": 2500, "unit": "characters", "rows": {
            row: {"begins": begins, **{k: [draw.gauss(0.6 + 0.4 * near[row], 0.04) for _ in begins]
                                       for k in ("author", "other_author", "general")}}
            for row in ROWS}},
        "zeta": {
            "preferred": [{"word": w, "zeta": 1.6, "author": 0.8, "others": 0.2,
                           "rates": {"author": 4.1, "base": 0.5, "policy": 2.2, "held_out_author": 3.9}}
                          for w in ("却", "竟", "便", "乃", "剑", "雪")],
            "avoided": [{"word": w, "zeta": 0.4, "author": 0.1, "others": 0.7,
                         "rates": {"author": 0.4, "base": 2.5, "policy": 1.2, "held_out_author": 0.3}}
                        for w in ("以及", "因此", "进行", "他们")],
            "used": {row: figure(draw, 1 - near[row], 0.05, 40) for row in ROWS},
        },
        "gate": {"passed": False, "limits": [
            {"name": "longest_copy", "label_en": "longest copy", "label_zh": "最长照抄", "value": 60,
             "limit": 50, "better": "below", "passed": False, "detail": "霜桥渡 · 第三章 空棺"},
            {"name": "drift_kl", "label_en": "drift", "label_zh": "漂移", "value": 0.0321,
             "limit": 0.5, "better": "below", "passed": True, "detail": ""},
            {"name": "self_bleu", "label_en": "Self-BLEU", "label_zh": "篇间雷同", "value": None,
             "limit": 0.5, "better": "below", "passed": None, "detail": ""}]},
    }  # fmt: skip
    text = "却说那日天色将晚，欲知后事如何，且听下回分解便了且说那人竟不回头。" * 3
    result["samples"] = [
        {"prompt": "剑光一闪", "kind": "neutral", "seed": k, "base": text[5:], "policy": text,
         "copies": {"base": [], "policy": [copied(17, 9)]}}
        for k in range(6)
    ]  # fmt: skip
    return result
