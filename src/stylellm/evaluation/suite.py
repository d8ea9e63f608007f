"""Measures a trained policy beside its base: likelihood, drift, style, copying.

Four rows are always shown together: the base model, the policy, another author, and held-out text of
the author himself, the ceiling. Styles are compared on texts of equal length, because every one of
these measures depends on how much text it sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylellm.corpus.script import to_simplified
from stylellm.errors import DataError
from stylellm.evaluation.likelihood import Likelihood, suffix_gain, window_likelihood
from stylellm.generation.sampler import Sampling, generate
from stylellm.masking.collate import Window
from stylellm.masking.formats import Order
from stylellm.stylometry import function_words, ngrams
from stylellm.stylometry.copying import CopyIndex
from stylellm.stylometry.normalise import normalise

ROWS = ("base", "policy", "other_author", "held_out_author")
PROMPTS_FILE = Path(__file__).with_name("prompts.txt")
SMALL_SAMPLE = 50_000
"""Characters below which function-word JSD between near texts is mostly noise (docs/evaluation.md)."""


@dataclass(frozen=True)
class Settings:
    """How much is measured (the ``evaluation`` section of the configuration)."""

    num_windows: int = 64
    num_samples: int = 20
    sample_chars: int = 400
    batch_size: int = 8
    ngram_max: int = 6
    prompts: Sequence[str] | None = None
    seed: int = 1234
    sampling: Sampling = field(default_factory=Sampling)
    order: Order = "prefix_first"
    mask_rate: float = 0.15
    max_length: int = 512


@dataclass(frozen=True)
class Texts:
    """What is measured: windows of the held-out splits, and texts of the author to compare with."""

    author_train: str
    author_test: Sequence[Window]
    general_test: Sequence[Window] = ()
    other_test: Sequence[Window] = ()


def default_prompts() -> list[str]:
    """The shipped neutral openings, one a line."""
    lines = PROMPTS_FILE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def join(windows: Sequence[Window]) -> str:
    """The text of windows in order."""
    return "".join(window["text"] for window in windows)


def spread(windows: Sequence[Window], count: int) -> list[Window]:
    """At most ``count`` windows, evenly spaced over all of them (0: all)."""
    total = len(windows)
    if not count or total <= count:
        return [windows[i] for i in range(total)]
    return [windows[i * total // count] for i in range(count)]


def evaluate_policy(
    policy: Any,
    tokenizer: Any,
    texts: Texts,
    settings: Settings,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Everything that goes into evaluation.json (keys as in the design), plus the samples.

    Raises:
        DataError: no held-out text of the author.
    """
    if not len(texts.author_test):
        raise DataError(
            "there is no held-out text of the author",
            "a test (or validation) split",
            "Prepare again with data.test_fraction above 0.",
        )
    result: dict[str, Any] = {}
    result |= _likelihoods(policy, tokenizer, texts, settings, progress)
    samples = sample_texts(policy, tokenizer, settings, progress)
    result |= style_table(samples, texts, settings)
    result["samples"] = samples
    return result


def _likelihoods(
    policy: Any, tokenizer: Any, texts: Texts, settings: Settings, progress: bool
) -> dict[str, Any]:
    def score(windows: Sequence[Window], label: str) -> Likelihood:
        return window_likelihood(
            policy,
            tokenizer,
            spread(windows, settings.num_windows),
            batch_size=settings.batch_size,
            progress=label if progress else None,
        )

    author = score(texts.author_test, "author likelihood")
    result: dict[str, Any] = {"author": _both(author), "general": None, "drift_kl": None}
    result["num_tokens"] = {"author": int(author.tokens.sum())}
    if len(texts.general_test):
        general = score(texts.general_test, "general likelihood")
        result["general"] = _both(general)
        result["drift_kl"] = general.kl_per_token
        result["num_tokens"]["general"] = int(general.tokens.sum())
    if "<|fim_middle|>" in tokenizer.get_vocab():
        result["suffix_gain"] = suffix_gain(
            policy,
            tokenizer,
            spread(texts.author_test, settings.num_windows),
            order=settings.order,
            mask_rate=settings.mask_rate,
            seed=settings.seed,
            max_length=settings.max_length,
            batch_size=settings.batch_size,
            progress="suffix gain" if progress else None,
        )
    return result


def _both(likelihood: Likelihood) -> dict[str, dict[str, float]]:
    return {which: likelihood.summary(which) for which in ("base", "policy")}


def sample_texts(
    policy: Any, tokenizer: Any, settings: Settings, progress: bool = True
) -> list[dict[str, str]]:
    """Continuations of the same prompts by base and policy: rows of prompt, base, policy."""
    prompts = list(settings.prompts or default_prompts())
    chosen = [prompts[i % len(prompts)] for i in range(settings.num_samples)]
    columns: dict[str, list[str]] = {}
    for name in ("base", "policy"):
        columns[name] = generate(
            policy,
            tokenizer,
            chosen,
            settings.sampling,
            seed=settings.seed,
            use_adapter=name == "policy",
            batch_size=settings.batch_size,
            progress=f"samples ({name})" if progress else None,
        )
    return [
        {"prompt": p, "base": b[: settings.sample_chars], "policy": t[: settings.sample_chars]}
        for p, b, t in zip(chosen, columns["base"], columns["policy"], strict=True)
    ]


def comparable(text: str) -> str:
    """Simplified characters and one form of punctuation: script and edition are no style."""
    return normalise(to_simplified(text))


def style_table(
    samples: Sequence[Mapping[str, str]], texts: Texts, settings: Settings
) -> dict[str, Any]:
    """n-gram overlap, function words, repetition and copying, for the four rows at equal length."""
    rows: dict[str, list[str]] = {
        name: [sample[name] for sample in samples] for name in ("base", "policy")
    }
    size = max(sum(map(len, pieces)) for pieces in rows.values())
    rows["other_author"] = _excerpt(texts.other_test, size)
    rows["held_out_author"] = _excerpt(texts.author_test, size)
    rows = {
        name: [comparable(piece) for piece in pieces]
        for name, pieces in rows.items()
        if "".join(pieces).strip()
    }
    pooled = {name: "".join(pieces) for name, pieces in rows.items()}
    author = comparable(texts.author_train)
    orders = range(1, settings.ngram_max + 1)
    known = ngrams.NgramSet(author, settings.ngram_max)
    copies = CopyIndex({"author": author}, ignore_whitespace=True)
    return {
        "ngram_overlap": {
            name: {str(n): ngrams.overlap(pieces, known, n) for n in orders}
            for name, pieces in rows.items()
        },
        "function_word_jsd": {
            name: function_words.jsd(text, author) for name, text in pooled.items()
        },
        "function_word_rates": {
            name: function_words.rates(text) for name, text in {"author": author, **pooled}.items()
        },
        "rep_4": {name: ngrams.rep_n(pieces, 4) for name, pieces in rows.items()},
        "distinct_2": {name: ngrams.distinct_n(pieces, 2) for name, pieces in rows.items()},
        "longest_copy": {name: _copy(copies, pieces) for name, pieces in rows.items()},
        "num_characters": {name: len("".join(text.split())) for name, text in pooled.items()},
        "small_sample": size < SMALL_SAMPLE,
    }


def _copy(index: CopyIndex, pieces: Sequence[str]) -> dict[str, Any]:
    """The longest run that one of the texts shares with the author's training text."""
    found = max((index.longest_copy(piece) for piece in pieces), key=lambda copy: copy.length)
    return {"length": found.length, "text": found.text}


def _excerpt(windows: Sequence[Window], size: int) -> list[str]:
    """Windows spread over the whole split, ``size`` characters together (or all there are)."""
    if not len(windows):
        return []
    average = max(1, sum(len(w["text"]) for w in windows) // len(windows))
    pieces: list[str] = []
    for window in spread(windows, max(1, -(-size // average))):
        pieces.append(window["text"][: size - sum(map(len, pieces))])
    return pieces
