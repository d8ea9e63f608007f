"""One loaded policy that answers requests one after the other, each with its own author and strength.

The model has one state (adapter, strength), so requests are answered in the order in which they came;
the texts of one request are drawn as one batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stylellm.errors import StyleLLMError
from stylellm.generation.sampler import Sampling, Written, draw
from stylellm.generation.strength import (
    DEFAULT,
    authors,
    check_known,
    check_strength,
    current_strength,
    mix_authors,
    parse_mixture,
    set_strength,
)


class Cancelled(Exception):
    """The client has gone; nobody waits for the text."""


@dataclass(frozen=True)
class Job:
    """What is to be written.

    Attributes:
        prompts: token ids of each prompt.
        count: texts of each prompt.
        seed: the first text's; the following ones use the next seeds.
        changes: fields of `Sampling` that differ from the run's settings.
        strength: 0 to 2.
        author: a loaded author, or a mixture.
    """

    prompts: Sequence[Sequence[int]]
    count: int = 1
    seed: int = 0
    changes: Mapping[str, Any] | None = None
    strength: float = 1.0
    author: str | None = None


class Engine:
    """Writes with a policy; `write` is called by one thread at a time.

    Args:
        policy: a peft model with its authors loaded.
        tokenizer: its tokenizer.
        sampling: how texts are drawn where a request does not say.
        name: what clients call the model.
        chat: messages are put into the tokenizer's chat form.
    """

    def __init__(
        self, policy: Any, tokenizer: Any, sampling: Sampling, *, name: str, chat: bool = False
    ) -> None:
        self.policy, self.tokenizer, self.sampling = policy, tokenizer, sampling
        self.name, self.chat = name, chat
        self.author = ""
        policy.eval()

    def models(self) -> list[str]:
        """The model, and each further author as a model of that name."""
        return [self.name, *(name for name in authors(self.policy) if name != DEFAULT)]

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a text; an empty one starts from the end-of-text token."""
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return ids or [self.tokenizer.eos_token_id]

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages as a prompt.

        A base model knows no turns: the texts are put one below the other, to be continued.
        """
        if self.chat:
            return self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        return "\n".join(message["content"] for message in messages)

    def check(self, job: Job) -> None:
        """Refuses a job before it waits in line.

        Raises:
            StyleLLMError: a prompt too long, a strength outside, an author that is not loaded.
        """
        check_strength(job.strength)
        for name in parse_mixture(job.author) if job.author else ():
            check_known(self.policy, name)
        positions = getattr(self.policy.config, "max_position_embeddings", None)
        new = self._sampling(job).max_new_tokens
        for ids in job.prompts:
            if positions is not None and len(ids) + new > positions:
                raise StyleLLMError(
                    f"this model's maximum context length is {positions} tokens; the prompt has "
                    f"{len(ids)} and max_tokens is {new}",
                    f"at most {positions} together",
                )

    def write(
        self,
        job: Job,
        cancelled: threading.Event,
        on_text: Callable[[int, str], None] | None = None,
    ) -> list[Written]:
        """The texts, prompt by prompt.

        Args:
            job: what to write.
            cancelled: set when nobody waits any more; looked at before every token.
            on_text: called with a text's number and each piece of it as it grows; the texts are then
                drawn one after the other.

        Raises:
            Cancelled: it was set.
            StyleLLMError: what cannot be done.
        """
        if cancelled.is_set():
            raise Cancelled
        self._apply(job)
        rows = [list(ids) for ids in job.prompts for _ in range(job.count)]
        options: dict[str, Any] = {"guards": [_Watch(cancelled)]}
        if on_text is None:
            seeds = [job.seed + i for i in range(len(rows))]
            return draw(
                self.policy, self.tokenizer, rows, self._sampling(job), seeds=seeds, **options
            )
        written = []
        for i, row in enumerate(rows):
            written += draw(
                self.policy, self.tokenizer, [row], self._sampling(job), seeds=[job.seed + i],
                on_text=lambda piece, i=i: on_text(i, piece), **options,  # type: ignore[misc]
            )  # fmt: skip
        return written

    def _sampling(self, job: Job) -> Sampling:
        return replace(self.sampling, **(job.changes or {}))

    def _apply(self, job: Job) -> None:
        author = job.author or DEFAULT
        if author != self.author:
            self.author = ""  # a mixture that fails half-way leaves none
            mix_authors(self.policy, parse_mixture(author))
            self.author = author
        if current_strength(self.policy) != job.strength:
            set_strength(self.policy, job.strength)


class _Watch:
    """Ends a text that nobody waits for (a logits processor that changes nothing)."""

    def __init__(self, cancelled: threading.Event) -> None:
        self.cancelled = cancelled

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self.cancelled.is_set():
            raise Cancelled
        return scores
