"""What the numbers say, in words that a novelist understands. Strings and numbers only.

Nothing is claimed beyond the numbers: a change that rounds to nothing at the precision shown is "no
change", a loss is called a loss, and what was not measured is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stylellm.evaluation.gate_table import gate_sentence
from stylellm.evaluation.scale import (
    SAME_BITS,
    SAME_NATS,
    Direction,
    bits_change,
    direction,
    measures,
    positions,
    sign,
)
from stylellm.evaluation.tables import Label, fixed, integer, is_number, percent, pick
from stylellm.stylometry.memorisation import LIMIT

QUOTE_CHARACTERS = 40

_HEADLINES: dict[Direction, Label] = {
    "closer": Label("训练后更接近作者", "Closer to the author after training"),
    "farther": Label("训练后离作者更远了", "Farther from the author after training"),
    "unchanged": Label("训练前后看不出差别", "No visible change after training"),
    "mixed": Label("各项结果不一致", "The measures disagree"),
}


@dataclass(frozen=True)
class Verdict:
    """The answer in one line, and the sentences of the paragraph below it."""

    direction: Direction
    headline: Label
    sentences: list[Label]


def judge(result: Mapping[str, Any]) -> Verdict:
    """The verdict on a result of `evaluate_policy`."""
    found = direction(result)
    sentences = [*_style(result), _likelihood(result), _general(result), _copying(result)]
    sentences += [*_repeating(result), *gate_sentence(result)]
    return Verdict(found, _HEADLINES[found], sentences)


def _likelihood(result: Mapping[str, Any]) -> Label:
    base, policy = (pick(result, "author", w, "bits_per_character") for w in ("base", "policy"))
    if not (is_number(base) and is_number(policy)):
        return Label("作者留出文本未测。", "Held-out text of the author was not measured.")
    before, after = fixed(base, 3), fixed(policy, 3)
    share = percent(abs(policy - base) / base) if base else percent(0.0)
    moved = sign(policy - base, SAME_BITS)
    if moved == 0:
        return Label(
            f"读作者未参与训练的文字时，模型平均每个字的意外程度没有变化（{before} 比特）。",
            "Reading text by the author that it never saw, the model is as surprised as before "
            f"({before} bits per character).",
        )
    if moved < 0:
        return Label(
            "读作者未参与训练的文字时，模型平均每个字的意外程度"
            f"从 {before} 比特降到 {after} 比特（少了 {share}）：它更会猜作者下一个字写什么。",
            "Reading text by the author that it never saw, the model's surprise fell from "
            f"{before} to {after} bits per character ({share} less): it guesses the author's next "
            "character better.",
        )
    return Label(
        "读作者未参与训练的文字时，模型平均每个字的意外程度反而"
        f"从 {before} 比特升到 {after} 比特（多了 {share}）："
        "它比训练前更不会猜作者下一个字写什么。",
        f"Reading text by the author that it never saw, the model's surprise rose from {before} to "
        f"{after} bits per character ({share} more): it guesses the author's next character worse "
        "than the base.",
    )


def _style(result: Mapping[str, Any]) -> list[Label]:
    names = {
        "function_word_jsd": Label("虚词习惯", "its small words (function words)"),
        "ngram_overlap": Label("用词搭配（字串重合）", "its phrases (n-gram overlap)"),
    }
    found, values = positions(result), measures(result)
    placed, other = [], []
    for measure, name in names.items():
        where = found[measure]
        if where is not None and "policy" in where:
            placed.append(_place(name, where["policy"]))
        elif {"base", "policy", "held_out_author"} <= set(values[measure]):
            other.append(_no_way_to_go(name, values[measure]))
    sentences = []
    if placed:
        sentences.append(
            Label(
                "就训练后的模型自己写的文字看，把训练前记作 0、作者未参与训练的文字记作 1："
                + "，".join(p.zh for p in placed)
                + "。",
                "In what the trained model writes, on a scale where the base model is 0 and the "
                "author's own unseen text is 1, it stands "
                + ", and ".join(p.en for p in placed)
                + ".",
            )
        )
    sentences += other
    if not sentences:
        return [
            Label(
                "它写的文字无从与作者比较（缺少样本或作者留出文本）。",
                "What it writes could not be compared (no samples, or no held-out text).",
            )
        ]
    return sentences + _small(result)


def place(position: float) -> Label:
    """A position in words; far outside the scale only that it is, for there the gap is tiny."""
    position = round(position, 2)
    if position < -1:
        return Label("−1 以下", "below −1")
    if position > 2:
        return Label("2 以上", "above 2")
    return Label(fixed(position, 2), f"at {fixed(position, 2)}")


def _place(name: Label, position: float) -> Label:
    position = round(position, 2)
    shown = place(position)
    zh, en = f"{name.zh}在 {shown.zh}", f"{shown.en} in {name.en}"
    if position == 0:
        return Label(f"{name.zh}在 0（没有变化）", f"at 0 in {name.en} (no change)")
    if position < 0:
        return Label(f"{zh}（比训练前更远）", f"{en} (farther than before training)")
    if position > 1:
        return Label(
            f"{zh}（超过 1：比作者自己的新文字更贴近训练用书）",
            f"{en} (above 1: nearer to the training books than the author's own new text)",
        )
    return Label(zh, en)


def _no_way_to_go(name: Label, values: Mapping[str, float]) -> Label:
    pairs = [fixed(values[row], 4) for row in ("base", "policy", "held_out_author")]
    return Label(
        f"{name.zh}上，训练前的模型已经不比作者未参与训练的文字更远，无法这样计分"
        f"（训练前 {pairs[0]}，训练后 {pairs[1]}，作者 {pairs[2]}）。",
        f"In {name.en} the base was already as close as the author's own unseen text, so no such "
        f"score can be given (base {pairs[0]}, policy {pairs[1]}, author {pairs[2]}).",
    )


def _small(result: Mapping[str, Any]) -> list[Label]:
    if not result.get("small_sample"):
        return []
    size = integer(pick(result, "num_characters", "policy"))
    return [
        Label(
            f"不过它只写了 {size} 字，样本太小，这些关于文字的数只能参考。",
            f"It wrote only {size} characters, too small a sample: read these figures as hints.",
        )
    ]


def _general(result: Mapping[str, Any]) -> Label:
    base, policy = (pick(result, "general", w, "bits_per_character") for w in ("base", "policy"))
    if not (is_number(base) and is_number(policy)):
        return Label(
            "没有提供普通文字，所以不知道它忘了什么。",
            "No general text was given, so what it forgot is not known.",
        )
    before, after = fixed(base, 3), fixed(policy, 3)
    kl, nll = fixed(result.get("drift_kl"), 4), _nll_change(result)
    detail = Label(
        f"漂移 KL 每词元 {kl} 奈特，NLL {nll}", f"drift KL {kl} nats per token, NLL {nll}"
    )
    moved = sign(policy - base, SAME_BITS)
    if moved == 0:
        return Label(
            f"在普通文字上它没有变差（每字 {before} 比特；{detail.zh}）。",
            f"On general text it lost nothing ({before} bits per character; {detail.en}).",
        )
    if moved < 0:
        return Label(
            f"在普通文字上它没有变差，每字还从 {before} 比特降到 {after} 比特（{detail.zh}）。",
            f"On general text it lost nothing: {before} to {after} bits per character "
            f"({detail.en}).",
        )
    worse = Label(
        f"每字从 {before} 比特升到 {after} 比特（{detail.zh}）",
        f"{before} rose to {after} bits per character ({detail.en})",
    )
    gain, loss = -bits_change(result, "author"), policy - base
    if gain < SAME_BITS:
        return Label(f"在普通文字上，{worse.zh}。", f"On general text {worse.en}.")
    share = f"{100 * loss / gain:.0f}%"
    return Label(
        f"代价是在普通文字上，{worse.zh}，相当于在作者文字上所得的 {share}。",
        f"The price: on general text {worse.en}, {share} of what was gained on the author.",
    )


def _nll_change(result: Mapping[str, Any]) -> str:
    base, policy = (pick(result, "general", w, "nll_per_token") for w in ("base", "policy"))
    if not (is_number(base) and is_number(policy)):
        return fixed(None, 4)
    change = policy - base
    return ("+" if change >= SAME_NATS else "") + fixed(change, 4)


def _copying(result: Mapping[str, Any]) -> Label:
    copy = pick(result, "longest_copy", "policy")
    if not copy:
        return Label("是否照抄没有检查。", "Copying was not checked.")
    length, quote = copy["length"], _quote(copy.get("text") or "")
    zh = f"它与训练用书逐字相同的最长一段是 {length} 个字{f'（“{quote}”）' if quote else ''}"
    en = f"Its longest run copied from the training books is {length} characters"
    own = pick(result, "longest_copy", "held_out_author", "length")
    if not is_number(own):
        return Label(f"{zh}。", f"{en}.")
    zh += f"；作者的新文字与训练用书最长相同 {own} 个字"
    en += f"; the author's own new text shares {own}"
    if own < length < LIMIT:
        return Label(
            f"{zh}，短于 {LIMIT} 字的相同多是常用语。",
            f"{en}, and runs below {LIMIT} characters are mostly common phrases.",
        )
    if length > own:
        return Label(
            f"{zh}，它抄得更长，请对照原文查看。",
            f"{en}: it copies longer runs, have a look at them.",
        )
    return Label(f"{zh}。", f"{en}.")


def _repeating(result: Mapping[str, Any]) -> list[Label]:
    """A warning where the policy repeats itself more than both the base and the author."""
    names = ("policy", "base", "held_out_author")
    policy, base, author = (pick(result, "rep_4", name) for name in names)
    if not all(map(is_number, (policy, base, author))) or policy <= max(base, author):
        return []
    shown = [percent(value) for value in (policy, base, author)]
    return [
        Label(
            f"它比训练前和作者都更爱重复（四字串重复 {shown[0]}，"
            f"训练前 {shown[1]}，作者 {shown[2]}）。",
            f"It repeats itself more than the base and the author do (4-grams: {shown[0]}, base "
            f"{shown[1]}, author {shown[2]}).",
        )
    ]


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= QUOTE_CHARACTERS else line[: QUOTE_CHARACTERS - 1] + "…"


def suffix_verdict(result: Mapping[str, Any]) -> Label:
    """Whether the policy uses the text behind a gap."""
    base, policy = (pick(result, "suffix_gain", w, "suffix_gain") for w in ("base", "policy"))
    if not is_number(policy):
        return Label(
            "填空未测（分词器没有填空记号，或没有可用的例子）。",
            "Infilling was not measured (no infill tokens in the tokenizer, or no usable case).",
        )
    gain, before = fixed(policy, 4), fixed(base, 4)
    compare = Label(f"（底座 {before}）", f" (base {before})")
    moved = sign(policy, SAME_NATS)
    if moved > 0:
        return Label(
            f"用上了后文：给出后文，空里的字每词元少 {gain} 奈特{compare.zh}。",
            f"It uses the text behind the gap: seeing it saves {gain} nats per token{compare.en}.",
        )
    if moved == 0:
        return Label(
            f"看不出用了后文：给不给后文都一样{compare.zh}。",
            f"No use of the text behind the gap can be seen: it makes no difference{compare.en}.",
        )
    return Label(
        f"没有用上后文：给出后文反而更差，每词元 {gain} 奈特{compare.zh}。",
        f"It does not use the text behind the gap: seeing it makes things worse, {gain} nats per "
        f"token{compare.en}.",
    )
