"""The texts that base and policy write for the evaluation: shipped prompts, seeded, kept on disk.

A batch is kept under a name made of everything its texts depend on (weights, prompts, settings,
versions). A run that was interrupted goes on behind its last whole batch, with the same texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stylellm.errors import DataError, OutputError
from stylellm.generation.sampler import Sampling, generate
from stylellm.model.hidden_cache import fingerprint
from stylellm.progress import track

PROMPTS_FILE = Path(__file__).with_name("prompts.txt")
ENOUGH = 50_000
"""Characters of each model that are aimed at where the settings allow so many."""
MOST_MORE = 2
"""At most so many times the samples asked for, where texts end early."""


@dataclass(frozen=True)
class Prompt:
    """An opening, and its kind: neutral, dialogue or scene; own for one of the user."""

    text: str
    kind: str


@dataclass(frozen=True)
class Plan:
    """What is written.

    Attributes:
        num_samples: texts of each model.
        sample_chars: characters of each at most.
        batch_size: texts drawn together.
        seed: of the first text; each text has its own.
    """

    prompts: Sequence[Prompt]
    num_samples: int
    sample_chars: int
    batch_size: int
    seed: int
    sampling: Sampling

    def batch(self, start: int) -> list[Prompt]:
        """The prompts of the batch that begins with sample number `start`."""
        return [self.prompts[k % len(self.prompts)] for k in range(start, start + self.batch_size)]


def shipped_prompts() -> list[Prompt]:
    """The shipped openings; kinds alternate, so that a few samples hold all of them."""
    by_kind: dict[str, list[Prompt]] = {}
    kind = ""
    for line in PROMPTS_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            kind = line[1:-1]
        elif line and not line.startswith("#"):
            by_kind.setdefault(kind, []).append(Prompt(line, kind))
    return [prompt for row in zip(*by_kind.values(), strict=True) for prompt in row]


def own_prompts(texts: Sequence[str]) -> list[Prompt]:
    """The user's openings.

    Raises:
        DataError: none.
    """
    if not texts:
        raise DataError("evaluation.prompts is empty", "one opening or more, or null")
    return [Prompt(text, "own") for text in texts]


def write_samples(
    policy: Any, tokenizer: Any, plan: Plan, *, cache: Path | None = None, progress: bool = True
) -> tuple[list[dict[str, Any]], str]:
    """Continuations of the same prompts by base and policy.

    Where texts end early, more are written, until both models have written 50,000 characters (or
    all that the settings allow), at most twice as many as asked for.

    Args:
        cache: folder in which finished batches are kept; None: nowhere.

    Returns:
        Rows ``{prompt, kind, seed, base, policy}``, and the name of the cache.

    Raises:
        OutputError: the cache cannot be written.
    """
    name = cache_name(policy, tokenizer, plan)
    file = cache / f"{name}.jsonl" if cache is not None else None
    kept = dict(_read(file))
    rows: list[dict[str, Any]] = []
    wanted = min(ENOUGH, plan.num_samples * plan.sample_chars)
    most = plan.num_samples * (MOST_MORE if wanted == ENOUGH else 1)
    bar = track(range(0, most, plan.batch_size), "samples" if progress else None, "batch")
    for start in bar:
        short = min(sum(len(row[m]) for row in rows) for m in ("base", "policy")) < wanted
        if start >= plan.num_samples and not short:
            break
        if start not in kept:
            kept[start] = _draw(policy, tokenizer, plan, start)
            _keep(file, start, kept[start])
        rows += kept[start]
        if start < plan.num_samples:
            rows = rows[: plan.num_samples]
    return rows, name


def _draw(policy: Any, tokenizer: Any, plan: Plan, start: int) -> list[dict[str, Any]]:
    prompts = plan.batch(start)
    columns = {
        model: generate(
            policy,
            tokenizer,
            [prompt.text for prompt in prompts],
            plan.sampling,
            seed=plan.seed + start,
            use_adapter=model == "policy",
            batch_size=len(prompts),
        )
        for model in ("base", "policy")
    }
    return [
        {"prompt": prompt.text, "kind": prompt.kind, "seed": plan.seed + start + k}
        | {model: texts[k][: plan.sample_chars] for model, texts in columns.items()}
        for k, prompt in enumerate(prompts)
    ]


def cache_name(policy: Any, tokenizer: Any, plan: Plan) -> str:
    """A hash of all that the texts depend on."""
    from peft import get_peft_model_state_dict

    told = asdict(plan)
    del told["num_samples"]  # more samples go on where fewer ended
    digest = hashlib.sha256(fingerprint(policy, told).encode())
    # Not "auto": that looks for the base on the hub, to see whether its vocabulary was changed.
    weights = get_peft_model_state_dict(policy, save_embedding_layers=False)
    for key, weight in sorted(weights.items()):
        digest.update(key.encode())
        digest.update(weight.detach().float().cpu().numpy().tobytes())
    digest.update(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    return digest.hexdigest()[:20]


def _read(file: Path | None) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Whole batches; a line that was cut off when a run was killed is drawn again."""
    if file is None or not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
            yield int(row["start"]), list(row["rows"])
        except (ValueError, KeyError, TypeError):
            continue


def _keep(file: Path | None, start: int, rows: list[dict[str, Any]]) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8", newline="\n") as stream:
            # The line break first: it ends a line that a killed run left open.
            stream.write("\n" + json.dumps({"start": start, "rows": rows}))
    except OSError as error:
        raise OutputError(
            f"the written samples cannot be kept in {file} ({error.strerror})",
            "a writable folder",
            "Set data.cache_dir to one, or to off.",
        ) from error
