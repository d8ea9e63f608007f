"""How much is measured, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from stylellm.evaluation.gate import Limits
from stylellm.generation.sampler import Sampling
from stylellm.masking.formats import Order


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
