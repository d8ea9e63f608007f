"""Measures the exported base and writes its model card: figures, yardstick, seeded samples."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import text as corpus_text
import torch
import torch.nn.functional as F
from ngram import WittenBell
from train import SEQUENCE

from stylellm.corpus.chunk import cut_windows, token_counter
from stylellm.stylometry.ngrams import distinct_n, rep_n

PROMPTS = ("剑光一闪", "次日清晨，", "这一学说认为")
SAMPLES = 10
CHARACTERS = 150
HELD_OUT = ("held_out_classic", "held_out_modern", "held_out_wuxia")
MOST = 200_000
"""Characters of each held-out part that are scored."""


def _take(documents: list[corpus_text.Document], most: int) -> list[str]:
    """Texts spread over the part, ``most`` characters together."""
    step = max(1, sum(len(d.text) for d in documents) // most)
    texts, total = [], 0
    for document in documents[::step]:
        texts.append(document.text[: most - total])
        total += len(texts[-1])
        if total >= most:
            break
    return texts


@torch.inference_mode()
def bits_per_character(model: Any, tokenizer: Any, texts: list[str]) -> float:
    """Total bits of the texts per character, each text read through as one.

    A window of ``SEQUENCE`` tokens moves on by half of itself and scores the tokens that are new in it, so
    that each has at least half a window before it, as the n-gram model, too, reads a text without a
    break. The first token is predicted from the end-of-text token: every character is paid for.
    """
    bits, characters = 0.0, 0
    for text in texts:
        ids = [tokenizer.eos_token_id, *tokenizer(text, verbose=False)["input_ids"]]
        scored = 1
        for start in range(0, len(ids), SEQUENCE // 2):
            window = torch.tensor([ids[start : start + SEQUENCE]])
            new = start + window.shape[1] - scored
            if new <= 0:
                break
            logits = model(input_ids=window).logits[0, -new - 1 : -1].float()
            bits += float(F.cross_entropy(logits, window[0, -new:], reduction="sum")) / math.log(2)
            scored += new
        characters += len(text)
    return bits / characters


@torch.inference_mode()
def bits_of_windows(model: Any, tokenizer: Any, texts: list[str]) -> float:
    """The same of the texts' windows of 500 tokens, each scored from its own start, without what precedes it."""
    count = token_counter(tokenizer)
    bits, characters = 0.0, 0
    for text in texts:
        for window in cut_windows(text, count, 500, ends_document=False):
            ids = [tokenizer.eos_token_id, *tokenizer(window.text)["input_ids"]]
            tensor = torch.tensor([ids])
            loss = model(input_ids=tensor, labels=tensor).loss
            bits += float(loss) * (len(ids) - 1) / math.log(2)
            characters += len(window.text)
    return bits / characters


@torch.inference_mode()
def samples(model: Any, tokenizer: Any, prompt: str) -> list[str]:
    """Ten seeded continuations."""
    torch.manual_seed(1)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]] * SAMPLES)
    output = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=140, do_sample=True,
        temperature=0.9, top_p=0.9, top_k=0, repetition_penalty=1.05,
        suppress_tokens=[i for i in tokenizer.all_special_ids if i != tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)


def repetition_interval(texts: list[str], measure: Any, n: int) -> tuple[float, float]:
    """5th to 95th percentile of a repetition measure over real passages of the samples' length."""
    passages = [t[i : i + CHARACTERS] for t in texts for i in range(0, len(t) - CHARACTERS, 1000)]
    values = sorted(measure(passage, n) for passage in passages)
    return values[len(values) // 20], values[-1 - len(values) // 20]


def measure(work: Path) -> dict[str, Any]:
    """All figures of the card."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = work / "stylellm-tiny"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    splits = corpus_text.load(work / "text.json")
    yardstick = WittenBell(list({d.text for d in splits["train"]}))
    table = {}
    for name in HELD_OUT:
        texts = _take(splits[name], MOST)
        characters = sum(map(len, texts))
        gram = sum(yardstick.bits(text) for text in texts) / characters
        mine = bits_per_character(model, tokenizer, texts)
        table[name] = (mine, gram, bits_of_windows(model, tokenizer, texts), characters)
    drawn = {prompt: samples(model, tokenizer, prompt) for prompt in PROMPTS}
    real = _take(splits["held_out_classic"], MOST)
    pooled = [text[:CHARACTERS] for texts in drawn.values() for text in texts]
    repetition = {
        name: (sum(measure_(t, n) for t in pooled) / len(pooled), *repetition_interval(real, measure_, n))
        for name, measure_, n in (("rep-4", rep_n, 4), ("distinct-2", distinct_n, 2))
    }  # fmt: skip
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_characters": sum(len(d.text) for d in splits["train"]),
        "bits": table,
        "samples": drawn,
        "repetition": repetition,
        "schedule": json.loads((work / "decay" / "start.json").read_text(encoding="utf-8")),
    }


def write_card(work: Path, start_steps: int = 0) -> None:
    """Writes README.md beside the weights; ``start_steps`` are those of the model that was trained on."""
    found = measure(work)
    first, last = found["schedule"]["from"], found["schedule"]["to"]
    before = (
        f"Trained on from a model of {start_steps:,} steps for" if start_steps else "Trained for"
    )
    lines = [
        "# stylellm-tiny", "",
        f"A small Chinese base model of {found['parameters']:,} parameters "
        "(`Qwen2ForCausalLM`, 6 layers, 256 wide, 512 positions, byte-level BPE of 8,192 entries with",
        "Qwen2.5's control tokens), so that StyleLLM runs and is tested without a download. "
        "Built by `recipes/tiny_base`.", "",
        "**What it is not**: an assistant, a source of facts, or a substitute for Qwen2.5. It writes "
        "grammatical clauses of old-novel Chinese and loses the thread after a sentence or two.", "",
        "## Data", "",
        f"{found['train_characters']:,} characters (repeats counted): 30 Ming and Qing novels and story "
        "collections, 21 collections by 鲁迅 (twice per pass; both public domain), and 2,954 encyclopaedia "
        "paragraphs from CMRC 2018 and DRCD (twice per pass; CC BY-SA 4.0 / 3.0, Wikipedia). Cleaned and "
        "simplified by `stylellm.corpus`. Three in ten sequences in infill form.",
        f"{before} {last:,} steps of 4,096 tokens, the last {last - first:,} with a falling rate; Muon "
        "and AdamW.", "",
        "## Bits per character on text it never saw", "",
        "| text | stylellm-tiny | Witten-Bell 5-gram, same text | difference | in windows | characters |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name.removeprefix('held_out_')} | {mine:.3f} | {gram:.3f} | {mine / gram - 1:+.1%} "
            f"| {windows:.3f} | {n:,} |"
            for name, (mine, gram, windows, n) in found["bits"].items()
        ), "",
        "Both read a text through; the model sees the last 256 to 511 tokens. *In windows*: cut at "
        "sentence ends into windows of 500 tokens,", "each without what precedes it.", "",
        f"## Repetition of the samples below, first {CHARACTERS} characters", "",
        "| | samples | real text, 5% to 95% |", "|---|---|---|",
        *(
            f"| {name} | {value:.3f} | {low:.3f} to {high:.3f} |"
            for name, (value, low, high) in found["repetition"].items()
        ), "",
        "## Samples (seed 1, temperature 0.9, top-p 0.9), not chosen", "",
    ]  # fmt: skip
    for prompt, texts in found["samples"].items():
        lines += [f"### {prompt}", ""]
        lines += [f"{i}. {prompt}{' '.join(text.split())}" for i, text in enumerate(texts, 1)]
        lines.append("")
    path = work / "stylellm-tiny" / "README.md"
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(lines), encoding="utf-8")
    temporary.replace(path)
    print("\n".join(lines[:30]))
