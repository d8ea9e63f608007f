"""A loaded policy that writes: what one-shot, batch and interactive writing share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass
class Options:
    """What a user can turn between two texts."""

    strength: float = 1.0
    strength_method: str = "adapter"
    author: str | None = None
    seed: int = 42
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of `Sampling` that differ from the run's configuration."""
    copy_watch: int = 0
    forbid_copies: int = 0
    chat: str = "auto"


class Writer:
    """A loaded policy that continues prompts and fills gaps.

    Args:
        folder: output folder of a run, or an adapter folder.
        options: as the texts begin; may be changed between texts.
        base: the base model, if not the adapter's own.
        authors: name -> adapter folder, more authors on the same base.
        books: prepared folder whose books are watched for copies (default: the run's own).
    """

    def __init__(
        self,
        folder: Path,
        options: Options | None = None,
        *,
        base: str | None = None,
        authors: dict[str, Path] | None = None,
        books: str | None = None,
    ) -> None:
        from stylellm.cli.build import load_run, sampling
        from stylellm.cli.evaluate import run_config
        from stylellm.generation.strength import load_authors

        self.config = run_config(folder)
        self.base_sampling = sampling(self.config)
        self.options = options or Options(seed=self.config.generation.seed)
        self.books = books or self.config.data.prepared_dir
        self.policy, self.tokenizer = load_run(self.config, folder, base)
        load_authors(self.policy, authors or {})
        self._watch: Any = None
        self.apply()

    def apply(self) -> None:
        """Brings author and strength of the policy to the options."""
        from stylellm.generation.strength import (
            current_strength,
            mix_authors,
            parse_mixture,
            set_strength,
        )

        if self.options.author:
            mix_authors(self.policy, parse_mixture(self.options.author))
        value = self.options.strength if self.options.strength_method == "adapter" else 1.0
        if current_strength(self.policy) != value:
            set_strength(self.policy, value)

    @property
    def sampling(self) -> Any:
        """How texts are drawn now."""
        changes = dict(self.options.changes)
        temperature = changes.pop("temperature", None)
        if temperature is not None:
            changes |= {"do_sample": temperature > 0, "temperature": temperature or 1.0}
        return replace(self.base_sampling, **changes)

    def continue_texts(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        which: str = "policy",
        progress: str | None = None,
        on_text: Callable[[str], None] | None = None,
        newest: bool = False,
    ) -> list[str]:
        """Continuations of the prompts; ``newest``: of a text that is too long its end is taken."""
        from stylellm.generation.copy_guard import guard_maker
        from stylellm.generation.sampler import generate

        o = self.options
        mixed = o.strength if o.strength_method == "logits" and which == "policy" else None
        guards = None
        if o.forbid_copies and which == "policy":
            guards = guard_maker(self.watch(), o.forbid_copies, self.tokenizer)
        return generate(
            self.policy, self.tokenizer, [self._prompt(p, newest) for p in prompts], self.sampling,
            seed=list(seeds), use_adapter=which == "policy", progress=progress,
            logit_strength=mixed, guards=guards, on_text=on_text,
        )  # fmt: skip

    def fill(self, text: str, alternatives: int, chars: int | None) -> list[Any]:
        """Ways to fill the gaps of a text, the best reading first."""
        from stylellm.generation.infill import fill

        return fill(
            self.policy, self.tokenizer, text, self.sampling, seed=self.options.seed,
            alternatives=alternatives, order=self.config.masking.order, chars=chars,
        )  # fmt: skip

    def copies(self, text: str) -> list[Any]:
        """Runs of a written text that stand in the books; none without --copy_watch."""
        return self.watch().runs(text, self.options.copy_watch) if self.options.copy_watch else []

    def watch(self) -> Any:
        """The books of the run, indexed at first use.

        Raises:
            DataError: the prepared folder is not there.
        """
        if self._watch is None:
            from stylellm.cli.anchors import cache_folder
            from stylellm.cli.build import windows_of
            from stylellm.evaluation.texts import chapters
            from stylellm.generation.copy_guard import CopyWatch

            parts = chapters(windows_of(self.books, "train"))
            named = {" · ".join(filter(None, place)): text for place, text in parts.items()}
            cache = cache_folder(self.config)
            self._watch = CopyWatch(named, cache=cache / "evaluation" if cache else None)
        return self._watch

    def _prompt(self, prompt: str, newest: bool) -> str:
        from stylellm.errors import StyleLLMError

        if self.uses_chat():
            if not self.tokenizer.chat_template:
                raise StyleLLMError(
                    "--chat on, but the tokenizer has no chat template", "an instruct model",
                    "Leave --chat out.",
                )  # fmt: skip
            return self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        return self._newest(prompt) if newest else prompt

    def uses_chat(self) -> bool:
        """Base models continue; instruct models are asked in their own form."""
        if self.options.chat != "auto":
            return self.options.chat == "on"
        name = str(self.config.model.model_name_or_path).lower()
        return bool(self.tokenizer.chat_template) and ("instruct" in name or "chat" in name)

    def _newest(self, text: str) -> str:
        """The end of a text that leaves room for what is to be written."""
        positions = getattr(self.policy.config, "max_position_embeddings", None)
        if positions is None:
            return text
        room = positions - self.sampling.max_new_tokens
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) <= room or room < positions // 4:
            return text
        return self.tokenizer.decode(ids[-(room - 8) :]).lstrip("\ufffd")
