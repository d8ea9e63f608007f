"""Does the model say its training text by heart? Prefixes of it, continued greedily.

A prefix counts as extracted when the model continues it verbatim for `target_chars` characters
(Carlini et al. 2021, 2023). The base's own figure is taken off: famous books are in every base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stylellm.evaluation.figures import ratio
from stylellm.generation.sampler import Sampling, generate
from stylellm.masking.collate import Window

PREFIX, TARGET = 100, 30
FEWEST = 20


def extraction(
    policy: Any,
    tokenizer: Any,
    windows: Sequence[Window],
    *,
    tokens: int,
    prefix_chars: int = PREFIX,
    target_chars: int = TARGET,
    batch_size: int = 8,
    progress: str | None = None,
) -> dict[str, Any] | None:
    """Share of training prefixes continued verbatim, for base and policy, and the difference.

    Args:
        windows: of the training text; from each the first `prefix_chars` characters are given.
        tokens: new tokens that surely hold `target_chars` characters.

    Returns:
        ``{base, policy, difference, matched: {base, policy}, prefix_chars, target_chars}``; figures
        rest on prefixes. None where no window is long enough.
    """
    texts = [w["text"] for w in windows if len(w["text"]) >= prefix_chars + target_chars]
    if not texts:
        return None
    greedy = replace(Sampling(), do_sample=False, max_new_tokens=tokens, repetition_penalty=1.0)
    matched = {}
    for model in ("base", "policy"):
        written = generate(
            policy,
            tokenizer,
            [text[:prefix_chars] for text in texts],
            greedy,
            seed=0,
            use_adapter=model == "policy",
            batch_size=batch_size,
            progress=f"{progress} ({model})" if progress else None,
        )
        goals = [text[prefix_chars : prefix_chars + target_chars] for text in texts]
        matched[model] = np.array([shared(*pair) for pair in zip(written, goals, strict=True)])
    hit = {model: (row >= target_chars).astype(float) for model, row in matched.items()}
    one = np.ones(len(texts))
    return {
        **{model: ratio(row, one, fewest=FEWEST) for model, row in hit.items()},
        "difference": ratio(hit["policy"] - hit["base"], one, fewest=FEWEST),
        "matched": {model: ratio(row, one, fewest=FEWEST) for model, row in matched.items()},
        "prefix_chars": prefix_chars,
        "target_chars": target_chars,
    }


def shared(text: str, other: str) -> int:
    """Length of the common beginning."""
    for k, (a, b) in enumerate(zip(text, other, strict=False)):
        if a != b:
            return k
    return min(len(text), len(other))
