"""Base and policy on tasks of lm-evaluation-harness, through its own API: an extra.

A task is a name that the harness knows (``ceval-valid``, ``cmmlu``: their data come from a hub) or a
task file of the user's. Paths of data in a task file are relative to that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from stylellm.errors import DataError, first_line
from stylellm.model.reference import adapter_off


def run_tasks(
    policy: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    batch_size: int = 8,
) -> list[dict[str, Any]]:
    """The figures of base and policy, the same requests for both.

    Args:
        policy: a peft model.
        tokenizer: its tokenizer.
        tasks: names of the harness, or task files (.yaml).
        limit: examples of each task; None takes all.
        batch_size: requests at a time.

    Returns:
        One row a task and metric: ``{task, metric, higher_is_better, n, base, policy, stderr}``, where
        base and policy are values and stderr those of their standard errors (None where unknown).

    Raises:
        DataError: a task that is not known, or whose data cannot be read.
    """
    found = [load_task(task) for task in tasks]
    results = {}
    for which in ("base", "policy"):
        with adapter_off(policy) if which == "base" else nullcontext():
            results[which] = _evaluate(policy, tokenizer, found, limit, batch_size)
    return _rows(results)


def load_task(task: str) -> str | dict[str, Any]:
    """A task file as the harness takes it; a name as it stands.

    Raises:
        DataError: a file that is no task.
    """
    if not task.endswith((".yaml", ".yml")):
        return task
    import yaml

    file = Path(task)
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"the task file {task} cannot be read ({error})", "a YAML file") from error
    if not isinstance(config, dict) or "task" not in config:
        raise DataError(f"the task file {task} names no task", "a key task: NAME")
    data = config.get("dataset_kwargs", {}).get("data_files")
    if data:
        config["dataset_kwargs"]["data_files"] = _beside(file.parent, data)
    return config


def _beside(folder: Path, data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _beside(folder, value) for name, value in data.items()}
    if isinstance(data, list):
        return [_beside(folder, value) for value in data]
    return str(data) if "://" in str(data) else str((folder / data).resolve())


def _evaluate(
    policy: Any, tokenizer: Any, tasks: list[Any], limit: int | None, batch_size: int
) -> dict[str, Any]:
    import logging

    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model = HFLM(
        pretrained=policy.get_base_model(), tokenizer=tokenizer, batch_size=batch_size,
        max_length=getattr(policy.config, "max_position_embeddings", None),
    )  # fmt: skip
    try:
        found = simple_evaluate(
            model,
            tasks=tasks,
            limit=limit,
            log_samples=False,
            bootstrap_iters=1000,
            verbosity="ERROR",
        )
    except (KeyError, ValueError, OSError, ConnectionError) as error:
        raise DataError(
            f"lm-evaluation-harness could not run {', '.join(map(_name, tasks))} ({first_line(error)})",
            "names that it knows, with their data at hand, or task files",
        ) from error
    return found or {}


def _name(task: Any) -> str:
    return task if isinstance(task, str) else str(task["task"])


def _rows(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for task, metrics in results["base"]["results"].items():
        for key, value in metrics.items():
            metric, _, kind = key.partition(",")
            if metric.endswith("_stderr") or not kind or not isinstance(value, int | float):
                continue
            error = f"{metric}_stderr,{kind}"
            both = {w: results[w]["results"][task] for w in ("base", "policy")}
            rows.append({
                "task": task,
                "metric": metric,
                "higher_is_better": _better(results["base"], task, metric),
                "n": results["base"].get("n-samples", {}).get(task, {}).get("effective"),
                **{w: float(found[key]) for w, found in both.items()},
                "stderr": {w: _number(found.get(error)) for w, found in both.items()},
            })  # fmt: skip
    return rows


def _better(result: dict[str, Any], task: str, metric: str) -> bool | None:
    return (result.get("higher_is_better", {}).get(task) or {}).get(metric)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
