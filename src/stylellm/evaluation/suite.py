"""Measures a trained policy beside its base: likelihood, drift, style, copying.

Four rows are always shown together: the base model, the policy, another author, and held-out text of
the author himself, the ceiling. Styles are compared on texts of equal shape, because every one of
these measures depends on how much text it sees and how it is cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylellm.errors import DataError, check_installed
from stylellm.evaluation import harness, mauve_score, style
from stylellm.evaluation.copies import Shelf
from stylellm.evaluation.extraction import PREFIX, TARGET, extraction
from stylellm.evaluation.gate import Limits, judge
from stylellm.evaluation.generated import Plan, own_prompts, shipped_prompts, write_samples
from stylellm.evaluation.likelihood import Likelihood, suffix_gain, window_likelihood
from stylellm.evaluation.nearness import Attribution, Space, zeta_words
from stylellm.evaluation.style import SMALL_SAMPLE
from stylellm.evaluation.texts import (
    ROWS,
    Texts,
    chapters,
    comparable,
    join,
    rows_of,
    spread,
    works,
)
from stylellm.generation.sampler import Sampling
from stylellm.masking.formats import Order
from stylellm.stylometry import function_words, ngrams
from stylellm.stylometry.text import without_whitespace

__all__ = ["ROWS", "SMALL_SAMPLE", "Settings", "Texts", "comparable", "evaluate_policy", "join",
           "sample_texts", "spread", "style_table"]  # fmt: skip

SMALL_WINDOWS = 10


@dataclass(frozen=True)
class Settings:
    """How much is measured (the ``evaluation`` section of the configuration)."""

    num_windows: int = 64
    num_samples: int = 20
    sample_chars: int = 400
    batch_size: int = 8
    ngram_max: int = 6
    num_prefixes: int = 50
    copy_limit: int = 30
    prompts: Sequence[str] | None = None
    seed: int = 1234
    sampling: Sampling = field(default_factory=Sampling)
    order: Order = "prefix_first"
    mask_rate: float = 0.15
    max_length: int = 512
    characters_per_token: float = 1.0
    limits: Limits = field(default_factory=Limits)
    mauve: bool = False
    lm_eval_tasks: Sequence[str] = ()
    lm_eval_limit: int | None = None


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 2)


def evaluate_policy(
    policy: Any,
    tokenizer: Any,
    texts: Texts,
    settings: Settings,
    *,
    cache: Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Everything that goes into evaluation.json (docs/evaluation.md), plus the samples.

    Args:
        cache: folder in which written texts and the copy index are kept for the next run; None: nowhere.

    Raises:
        DataError: no held-out text of the author.
    """
    if not len(texts.author_test):
        raise DataError(
            "there is no held-out text of the author",
            "a test (or validation) split",
            "Prepare again with data.test_fraction above 0.",
        )
    _check_extras(settings)
    clock = Clock()
    result: dict[str, Any] = {}
    with clock.stage("likelihood"):
        result |= _likelihoods(policy, tokenizer, texts, settings, progress)
    with clock.stage("samples"):
        samples, name = sample_texts(policy, tokenizer, settings, cache=cache, progress=progress)
    with clock.stage("extraction"):
        result["extraction"] = _extraction(policy, tokenizer, texts, settings, progress)
    result |= style_table(samples, texts, settings, clock=clock, cache=cache)
    if settings.mauve:
        with clock.stage("mauve"):
            _add_mauve(result["style"], policy, tokenizer, samples, texts, settings)
    if settings.lm_eval_tasks:
        with clock.stage("lm_eval"):
            result["lm_eval"] = harness.run_tasks(
                policy, tokenizer, settings.lm_eval_tasks,
                limit=settings.lm_eval_limit, batch_size=settings.batch_size,
            )  # fmt: skip
    result["samples"] = samples
    result["generation_cache"] = name
    result["gate"] = judge(result, settings.limits)
    result["timing"] = clock.seconds
    return result


def _check_extras(settings: Settings) -> None:
    """Before an hour's work, not after it."""
    if settings.mauve:
        check_installed("mauve", what="evaluation.mauve", extra="mauve")
    if settings.lm_eval_tasks:
        check_installed("lm_eval", what="evaluation.lm_eval_tasks", extra="lm-eval")
        for task in settings.lm_eval_tasks:
            harness.load_task(task)


def _add_mauve(
    table: dict[str, dict[str, Any]],
    policy: Any,
    tokenizer: Any,
    samples: Sequence[dict[str, Any]],
    texts: Texts,
    settings: Settings,
) -> None:
    rows = rows_of([s["base"] for s in samples], [s["policy"] for s in samples], texts)
    author = "\n".join(works(chapters(texts.author_train)).values())
    found = mauve_score.mauve_of_rows(
        policy, tokenizer, rows, author, batch_size=settings.batch_size, seed=settings.seed
    )
    for name, figure in found.items():
        table[name]["mauve"] = figure


def _likelihoods(
    policy: Any, tokenizer: Any, texts: Texts, settings: Settings, progress: bool
) -> dict[str, Any]:
    def score(windows: Sequence[Any], label: str) -> Likelihood:
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
    result["likelihood"] = {"author": author.figures(fewest=SMALL_WINDOWS), "general": None}
    if len(texts.general_test):
        general = score(texts.general_test, "general likelihood")
        result["general"] = _both(general)
        result["drift_kl"] = general.kl_per_token
        result["num_tokens"]["general"] = int(general.tokens.sum())
        result["likelihood"]["general"] = general.figures(fewest=SMALL_WINDOWS)
    if "<|fim_middle|>" in tokenizer.get_vocab():
        gain = suffix_gain(
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
        result["suffix"] = gain.pop("figures", None)
        result["suffix_gain"] = gain
    return result


def _both(likelihood: Likelihood) -> dict[str, dict[str, float]]:
    return {which: likelihood.summary(which) for which in ("base", "policy")}


def _extraction(
    policy: Any, tokenizer: Any, texts: Texts, settings: Settings, progress: bool
) -> dict[str, Any] | None:
    if isinstance(texts.author_train, str) or not settings.num_prefixes:
        return None
    long = [w for w in texts.author_train if len(w["text"]) >= PREFIX + TARGET]
    return extraction(
        policy,
        tokenizer,
        spread(long, settings.num_prefixes),
        tokens=int(2 * TARGET / settings.characters_per_token) + 1,
        batch_size=settings.batch_size,
        progress="extraction" if progress else None,
    )


def sample_texts(
    policy: Any,
    tokenizer: Any,
    settings: Settings,
    *,
    cache: Path | None = None,
    progress: bool = True,
) -> tuple[list[dict[str, Any]], str]:
    """Continuations of the same prompts by base and policy, and the name of their cache."""
    prompts = shipped_prompts() if settings.prompts is None else own_prompts(settings.prompts)
    plan = Plan(
        prompts=prompts,
        num_samples=settings.num_samples,
        sample_chars=settings.sample_chars,
        batch_size=settings.batch_size,
        seed=settings.seed,
        sampling=settings.sampling,
    )
    return write_samples(policy, tokenizer, plan, cache=cache, progress=progress)


def style_table(
    samples: Sequence[dict[str, Any]],
    texts: Texts,
    settings: Settings,
    *,
    clock: Clock | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Every measure of what was written, for the four rows at equal length.

    Each sample gets its copied runs (`copies`). The copy index is kept in `cache`.
    """
    clock = clock or Clock()
    rows = rows_of([s["base"] for s in samples], [s["policy"] for s in samples], texts)
    parts = chapters(texts.author_train)
    with clock.stage("style"):
        author = style.Author("\n".join(works(parts).values()), settings.ngram_max)
        table = _described(rows, author, settings.seed)
    found = _plain(rows, author)
    found["author_words"] = style.word_table(author.text, settings.seed)
    found["reference"] = {"author": _reference(author, rows, settings.seed)}
    with clock.stage("copies"):
        shelf = Shelf(parts, cache=cache)
        _memorisation(table, rows, shelf, texts, settings.copy_limit)
        for sample in samples:
            sample["copies"] = {m: shelf.runs(sample[m]) for m in ("base", "policy")}
    for name, row in table.items():
        longest = row["memorisation"]["author"]["longest"]
        found["longest_copy"][name] = longest or {"length": 0, "text": ""}
    with clock.stage("nearness"):
        found |= _nearness(table, rows, texts, parts, settings)
    found["style"] = table
    return found


def _described(
    rows: Mapping[str, Sequence[str]], author: style.Author, seed: int
) -> dict[str, dict[str, Any]]:
    shortest = min(len(without_whitespace("".join(pieces))) for pieces in rows.values())
    return {
        name: style.describe(pieces, author, length=shortest, seed=seed)
        for name, pieces in rows.items()
    }


def _plain(rows: Mapping[str, Sequence[str]], author: style.Author) -> dict[str, Any]:
    """The design's own keys: plain numbers by row."""
    pooled = {name: "".join(pieces) for name, pieces in rows.items()}
    orders = range(1, author.ngram_max + 1)
    sizes = {name: len(without_whitespace(text)) for name, text in pooled.items()}
    return {
        "ngram_overlap": {
            name: {str(n): ngrams.overlap(pieces, author.grams, n) for n in orders}
            for name, pieces in rows.items()
        },
        "function_word_jsd": {n: function_words.jsd(t, author.text) for n, t in pooled.items()},
        "function_word_rates": {
            name: function_words.rates(text)
            for name, text in {"author": author.text, **pooled}.items()
        },
        "rep_4": {name: ngrams.rep_n(pieces, 4) for name, pieces in rows.items()},
        "distinct_2": {name: ngrams.distinct_n(pieces, 2) for name, pieces in rows.items()},
        "longest_copy": {},
        "num_characters": sizes,
        "small_sample": max(sizes.get(name, 0) for name in ("base", "policy")) < SMALL_SAMPLE,
    }


def _reference(
    author: style.Author, rows: Mapping[str, Sequence[str]], seed: int
) -> dict[str, Any]:
    """The author's training text by itself, in the shape of a row."""
    shortest = min(len(without_whitespace("".join(pieces))) for pieces in rows.values())
    return {
        "characters": len(without_whitespace(author.text)),
        "rhythm": style.rhythm_of(author.text[:200_000], author.text, seed),
        "register": style.register_of(author.text[:200_000], seed),
        "richness": style.richness_of(author.text, shortest, seed),
    }


def _memorisation(
    table: dict[str, dict[str, Any]],
    rows: Mapping[str, Sequence[str]],
    shelf: Shelf,
    texts: Texts,
    limit: int,
) -> None:
    """Every row against the training text, the held-out text and the other author's books."""
    shelves: dict[str, Callable[[], Shelf]] = {"author": lambda: shelf}
    for name, windows in (
        ("held_out_author", texts.author_test),
        ("other_author", texts.other_test),
    ):
        parts = chapters(windows) if len(windows) else {}
        if any(map(str.strip, parts.values())):
            shelves[name] = lambda parts=parts: Shelf(parts)  # type: ignore[misc]
    for row in table.values():
        row["memorisation"] = {}
    for name, build in shelves.items():
        books = build()
        for kind, pieces in rows.items():
            if kind != name:
                table[kind]["memorisation"][name] = books.memorised(pieces, limit)


def _nearness(
    table: dict[str, dict[str, Any]],
    rows: Mapping[str, Sequence[str]],
    texts: Texts,
    parts: Any,
    settings: Settings,
) -> dict[str, Any]:
    """Delta, imposters, map, rolling Delta, attribution, two-sample test and Zeta.

    What the texts do not allow is None, with the reason in `not_measured`.
    """
    pooled = {name: "\n".join(pieces) for name, pieces in rows.items()}
    sources = {"author": works(parts)}
    for name, windows in (
        ("other_author", texts.other_test),
        ("general", [*texts.general_train, *texts.general_test]),
    ):
        if len(windows) and join(windows).strip():
            sources[name] = works(chapters(windows))
    found: dict[str, Any] = {
        "not_measured": {}, "map": None, "tree": None, "rolling": None, "attribution": None, "zeta": None,
    }  # fmt: skip
    try:
        space = Space(sources)
        for name, text in pooled.items():
            table[name]["burrows_delta"] = space.distances(text, "burrows", settings.seed)
            table[name]["cosine_delta"] = space.distances(text, "cosine", settings.seed)
            table[name]["imposters"] = space.imposters(text, settings.seed)
        found |= {"map": space.map(pooled), "tree": space.tree(pooled)}
        found["rolling"] = space.rolling(pooled)
    except DataError as error:
        found["not_measured"]["delta"] = str(error)
    try:
        judge_of = Attribution(sources, min(map(len, map(without_whitespace, pooled.values()))))
        found["attribution"] = judge_of.summary(len(sources["author"]))
        for name, text in pooled.items():
            table[name]["attribution"] = judge_of.row(text)
            table[name]["two_sample"] = judge_of.two_sample(text, settings.seed)
    except DataError as error:
        found["not_measured"]["attribution"] = str(error)
    found["zeta"] = zeta_words(sources, pooled)
    if found["zeta"] is None:
        found["not_measured"]["zeta"] = "too little text of the author or of others"
    return found
