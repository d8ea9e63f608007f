"""Measures a trained policy beside its base: likelihood, drift, style, copying.

Four rows are always shown together: the base model, the policy, another author, and held-out text of
the author himself, the ceiling. Styles are compared on texts of equal shape, because every one of
these measures depends on how much text it sees and how it is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stylellm.errors import DataError, check_installed
from stylellm.evaluation import harness, mauve_score
from stylellm.evaluation.extraction import PREFIX, TARGET, extraction
from stylellm.evaluation.gate import judge
from stylellm.evaluation.generated import Plan, own_prompts, shipped_prompts, write_samples
from stylellm.evaluation.likelihood import Likelihood, suffix_gain, window_likelihood
from stylellm.evaluation.settings import Clock, Settings
from stylellm.evaluation.texts import Texts, spread
from stylellm.evaluation.written import style_table

SMALL_WINDOWS = 10


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
    mauve = None
    if settings.mauve:
        mauve = partial(
            mauve_score.mauve_of_rows, policy, tokenizer,
            batch_size=settings.batch_size, seed=settings.seed,
        )  # fmt: skip
    result |= style_table(samples, texts, settings, clock=clock, cache=cache, mauve=mauve)
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
