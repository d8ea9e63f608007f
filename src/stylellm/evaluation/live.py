"""A light look at what the policy writes, during training: function words and copying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stylellm.evaluation.generated import shipped_prompts
from stylellm.evaluation.texts import chapters, comparable, works
from stylellm.generation.sampler import Sampling, generate
from stylellm.stylometry import function_words
from stylellm.stylometry.copying import CopyIndex


def live_style(
    tokenizer: Any,
    author_train: Sequence[Any],
    sampling: Sampling,
    *,
    num_samples: int,
    batch_size: int,
    seed: int,
) -> Callable[[Any], dict[str, float]]:
    """What the trainer calls at every evaluation for figures of a few written texts.

    The same prompts and seed each time, so that the figures of two steps can be compared.

    Args:
        author_train: windows of the training text.
        num_samples: texts, 1 or more.

    Returns:
        policy -> ``function_word_jsd`` (bits; of so few characters, hundreds, it is a trend at best)
        and ``longest_copy`` (characters of the longest run taken from the training text).
    """
    books = works(chapters(author_train))
    author = "\n".join(books.values())
    index = CopyIndex(books, ignore_whitespace=True)
    prompts = [prompt.text for prompt in shipped_prompts()]
    chosen = [prompts[k % len(prompts)] for k in range(num_samples)]

    def measure(policy: Any) -> dict[str, float]:
        texts = generate(policy, tokenizer, chosen, sampling, seed=seed, batch_size=batch_size)
        written = [comparable(text) for text in texts]
        found = {
            "longest_copy": float(max(index.longest_copy(text).length for text in written)),
        }
        if "".join(written).strip():
            found["function_word_jsd"] = function_words.jsd("".join(written), author)
        return found

    return measure
