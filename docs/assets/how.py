"""Draws docs/assets/how.svg and how.zh-CN.svg, the READMEs' picture of the whole way.

python docs/assets/how.py
"""

# ruff: noqa: E501
from __future__ import annotations

from html import escape
from pathlib import Path

INK, SOFT, LINE = "#1f2933", "#5b6875", "#c9d1d9"
BLUE, RED, GREEN, SAND = "#2f6f9f", "#b5402d", "#3d7a4a", "#f6f4ee"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif"

WORDS = {
    "how.svg": {
        "books": "books", "books2": ("txt, epub, zip", "GBK, Big5, UTF-8", "ads, broken lines"),
        "prepare": "prepare", "prepare2": ("clean, deduplicate", "hold whole works out", "windows of 512 tokens"),
        "mask": "mask", "mask2": "anew every epoch",
        "shares": ("60% spans", "30% words", "10% nothing"),
        "train": "train a LoRA adapter", "policy": "policy: base + adapter", "reference": "reference: base, frozen",
        "kl": "KL", "loss": "loss = reconstruction + kl_beta × KL(policy ‖ reference)",
        "evaluate": "evaluate", "evaluate2": ("style gained?", "what was forgotten?", "what was copied?"),
        "write": "write", "write2": ("base and policy side by side",),
        "example": "What one masked window looks like: the hidden words move behind their context, so that a causal model sees both sides",
        "before": "before", "after": "after", "answer": "to be written",
    },
    "how.zh-CN.svg": {
        "books": "作者的书", "books2": ("txt、epub、zip", "GBK、Big5、UTF-8", "广告、断行"),
        "prepare": "整理 prepare", "prepare2": ("清洗、去重", "整部作品留作测试", "切成 512 token 的窗口"),
        "mask": "遮盖 mask", "mask2": "每轮重新抽取",
        "shares": ("60% 片段", "30% 字词", "10% 不遮"),
        "train": "训练 LoRA 适配器 train", "policy": "策略：基座＋适配器", "reference": "参照：基座，冻结",
        "kl": "KL", "loss": "损失 = 重建 + kl_beta × KL（策略 ‖ 参照）",
        "evaluate": "评测 evaluate", "evaluate2": ("学到了多少风格？", "忘了什么？", "抄了什么？"),
        "write": "写作 write", "write2": ("基座与策略并排对照",),
        "example": "一个被遮盖的窗口：藏起的字句移到上下文之后，因果模型因此两边都看得见",
        "before": "上文", "after": "下文", "answer": "要写出的字句",
    },
}  # fmt: skip


def text(x: float, y: float, words: str, size: int = 14, **style: str) -> str:
    look = {"fill": INK, "text-anchor": "middle"} | {
        k.replace("_", "-"): v for k, v in style.items()
    }
    attributes = " ".join(f'{key}="{value}"' for key, value in look.items())
    return f'<text x="{x}" y="{y}" font-size="{size}" {attributes}>{escape(words)}</text>'


def box(x: float, y: float, w: float, h: float, fill: str = "white", stroke: str = LINE) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{fill}" stroke="{stroke}"/>'
    )


def arrow(x1: float, x2: float, y: float) -> str:
    return (
        f'<path d="M{x1} {y} H{x2 - 7}" stroke="{SOFT}" stroke-width="2" fill="none"/>'
        f'<path d="M{x2} {y} l-9 -5 v10 z" fill="{SOFT}"/>'
    )


def card(x: float, w: float, title: str, lines: tuple[str, ...] = ()) -> list[str]:
    parts = [box(x, 24, w, 150), text(x + w / 2, 50, title, 15, font_weight="600")]
    return parts + [
        text(x + w / 2, 84 + 24 * i, line, 13, fill=SOFT) for i, line in enumerate(lines)
    ]


def mask_card(x: float, w: float, words: dict) -> list[str]:
    parts = card(x, w, words["mask"])
    parts.append(text(x + w / 2, 70, words["mask2"], 12, fill=SOFT))
    left = x + 14
    for share, color, label in zip(
        (0.6, 0.3, 0.1), (RED, BLUE, LINE), words["shares"], strict=True
    ):
        wide = share * (w - 28)
        parts.append(f'<rect x="{left:.1f}" y="88" width="{wide:.1f}" height="22" fill="{color}"/>')
        left += wide
        row = words["shares"].index(label)
        parts.append(
            f'<rect x="{x + 24}" y="{119 + 17 * row}" width="9" height="9" fill="{color}"/>'
        )
        parts.append(text(x + 40, 128 + 17 * row, label, 12, fill=SOFT, text_anchor="start"))
    return parts


def train_card(x: float, w: float, words: dict) -> list[str]:
    parts = card(x, w, words["train"])
    parts += [box(x + 14, 66, w - 28, 30, "#fbeeea", RED), text(x + w / 2, 86, words["policy"], 13)]
    parts += [
        box(x + 14, 124, w - 28, 30, "#eaf1f7", BLUE),
        text(x + w / 2, 144, words["reference"], 13),
    ]
    mid = x + w / 2
    parts.append(
        f'<path d="M{mid} 97 V123" stroke="{SOFT}" stroke-width="2" stroke-dasharray="3 3"/>'
    )
    parts.append(text(mid + 22, 115, words["kl"], 12, fill=SOFT))
    return parts


def example(words: dict) -> list[str]:
    """The sentence of data/demo in the prefix-first infill format."""
    parts = [box(24, 250, 1052, 118, SAND, "none"), text(550, 276, words["example"], 14, fill=SOFT)]
    pieces = (
        ("桥头守断雁桥守了九年，", INK, words["before"]),
        ("<|fim_suffix|>", SOFT, ""),
        ("盼着没人过桥。", INK, words["after"]),
        ("<|fim_middle|>", SOFT, ""),
        ("头一回", RED, words["answer"]),
    )
    widths = [20 * len(p) if p[0] > "一" else 8.4 * len(p) for p, _, _ in pieces]
    x = 550 - (sum(widths) + 14 * (len(pieces) - 1)) / 2
    for (piece, color, label), wide in zip(pieces, widths, strict=True):
        mono = {"font_family": "ui-monospace, Consolas, monospace"} if color == SOFT else {}
        size = 13 if color == SOFT else 20
        parts.append(text(x + wide / 2, 318, piece, size, fill=color, **mono))
        if label:
            parts.append(f'<path d="M{x} 329 h{wide}" stroke="{color}" stroke-width="2"/>')
            parts.append(text(x + wide / 2, 350, label, 12, fill=color if color == RED else SOFT))
        x += wide + 14
    return parts


def draw(words: dict) -> str:
    parts = ['<rect width="1100" height="392" fill="white"/>']
    parts += card(24, 150, words["books"], words["books2"])
    parts += card(206, 176, words["prepare"], words["prepare2"])
    parts += mask_card(414, 150, words)
    parts += train_card(596, 216, words)
    parts += card(844, 232, "")
    for y, key in ((24, "evaluate"), (119, "write")):
        parts.append(text(960, y + 25, words[key], 15, font_weight="600"))
        rows = enumerate(words[f"{key}2"])
        parts += [text(960, y + 45 + 18 * i, row, 12, fill=SOFT) for i, row in rows]
    parts.append(f'<path d="M856 120 H1064" stroke="{LINE}"/>')
    parts += [arrow(a, b, 99) for a, b in ((176, 204), (384, 412), (566, 594), (814, 842))]
    parts += [text(704, 208, words["loss"], 15, font_weight="600", fill=GREEN)]
    parts += example(words)
    body = "\n".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1100 392" width="1100" height="392" '
        f'font-family="{FONT}">\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    for name, words in WORDS.items():
        Path(__file__).with_name(name).write_text(draw(words), encoding="utf-8")
