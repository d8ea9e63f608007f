"""``stylellm evaluate``: what the adapter gained, what it cost, what it copied."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm evaluate output/wuxia_model
  stylellm evaluate output/wuxia_model --data prepared --output_dir report --quick
  stylellm evaluate output/wuxia_model --gate || echo "a limit was exceeded"

--gate returns exit code 3 where a limit (evaluation.gate_...) is exceeded."""
GATE_FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("folder", help="output folder of a training run, or a peft adapter folder")
    parser.add_argument("--data", metavar="DIR", help="prepared folder (default: the run's own)")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="where the report goes (default: FOLDER)"
    )
    parser.add_argument("--quick", action="store_true",
                        help="few windows and samples: a first look, marked as such")  # fmt: skip
    parser.add_argument("--gate", action="store_true",
                        help="exit code 3 where a limit is exceeded, one line each")  # fmt: skip
    parser.add_argument("--model_name", metavar="ID", help="base model, if not the adapter's own")
    parser.add_argument("--set", action="append", default=[], dest="overrides",
                        metavar="SECTION.KEY=VALUE", help="override a key of the saved configuration")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from stylellm.cli.show import print_result

    result, report = evaluate_run(
        Path(args.folder),
        data=args.data,
        output_dir=Path(args.output_dir) if args.output_dir else None,
        quick=args.quick,
        base=args.model_name,
        overrides=args.overrides,
    )
    print_result(result)
    print(f"report: {report}")
    return print_gate(result["gate"]) if args.gate else 0


def print_gate(gate: dict[str, Any]) -> int:
    """One line a failed limit, and the exit code: 3 where one failed."""
    from stylellm.evaluation.gate import failures

    for line in failures(gate):
        print(f"gate failed: {line}")
    if gate["passed"]:
        unknown = [row["label_en"] for row in gate["limits"] if row["passed"] is None]
        print("gate passed" + (f" (not measured: {', '.join(unknown)})" if unknown else ""))
    return 0 if gate["passed"] else GATE_FAILED


def evaluate_run(
    folder: Path,
    *,
    data: str | None = None,
    output_dir: Path | None = None,
    quick: bool = False,
    base: str | None = None,
    overrides: Any = (),
) -> tuple[dict[str, Any], Path]:
    """The evaluate stage: loads a run, measures it, writes the report.

    Returns:
        What ``evaluation.json`` holds, and the path of ``report.html``.
    """
    from stylellm.cli.anchors import cache_folder
    from stylellm.cli.build import load_run
    from stylellm.evaluation.report import write_report
    from stylellm.evaluation.suite import evaluate_policy
    from stylellm.training.callbacks import LOG_FILE

    config = run_config(folder, overrides)
    prepared = data or config.data.prepared_dir
    texts = load_texts(prepared)
    policy, tokenizer = load_run(config, folder, base)
    settings = _settings(config, tokenizer, texts, quick)
    cache = cache_folder(config)
    result = evaluate_policy(
        policy, tokenizer, texts, settings, cache=cache / "evaluation" if cache else None
    )
    result["provenance"] = _provenance(config, folder, prepared, settings, quick)
    result["provenance"]["generation_cache"] = result.pop("generation_cache")
    log = folder / LOG_FILE
    report = write_report(result, output_dir or folder, training_log=log if log.is_file() else None)
    return result, report


def run_config(folder: Path, overrides: Any = ()) -> Any:
    """The configuration saved with a run; the defaults for a bare adapter folder."""
    from stylellm.config import load_config, parse_config
    from stylellm.training.run import CONFIG_FILE

    for place in (folder, folder.parent):  # a checkpoint lies inside its run
        if (place / CONFIG_FILE).is_file():
            return load_config(place / CONFIG_FILE, list(overrides))
    return parse_config({}, overrides=list(overrides), source="the command line")


def load_texts(prepared: str) -> Any:
    """The texts of a prepared folder that evaluation compares."""
    from stylellm.cli.build import windows_of
    from stylellm.evaluation.texts import Texts

    test = windows_of(prepared, "test")
    return Texts(
        author_train=list(windows_of(prepared, "train")),
        author_test=test if len(test) else windows_of(prepared, "validation"),
        general_test=windows_of(prepared, "general_test"),
        other_test=windows_of(prepared, "other_test"),
        general_train=windows_of(prepared, "general_train"),
    )


def _settings(config: Any, tokenizer: Any, texts: Any, quick: bool) -> Any:
    from stylellm.cli.build import sampling
    from stylellm.evaluation.gate import Limits
    from stylellm.evaluation.settings import Settings
    from stylellm.evaluation.texts import join

    e = config.evaluation
    # Enough tokens for sample_chars: a token of this tokenizer holds this many characters of the
    # author; a fifth more, because a model's own text may be spelled in shorter tokens.
    sample = join(texts.author_train[:20])[:5000]
    per_token = len(sample) / max(1, len(tokenizer(sample, add_special_tokens=False)["input_ids"]))
    tokens = int(1.2 * e.sample_chars / per_token) + 1
    return Settings(
        num_windows=min(16, e.num_windows or 16) if quick else e.num_windows,
        num_samples=min(6, e.num_samples) if quick else e.num_samples,
        num_prefixes=min(8, e.num_prefixes) if quick else e.num_prefixes,
        sample_chars=e.sample_chars,
        batch_size=e.batch_size,
        ngram_max=e.ngram_max,
        prompts=e.prompts,
        seed=e.seed,
        sampling=sampling(config, max_new_tokens=tokens),
        order=config.masking.order,
        mask_rate=config.masking.mask_rate,
        max_length=config.data.max_length,
        characters_per_token=per_token,
        mauve=e.mauve,
        lm_eval_tasks=e.lm_eval_tasks,
        lm_eval_limit=e.lm_eval_limit,
        limits=Limits(
            longest_copy=e.gate_longest_copy,
            copied_share=e.gate_copied_share,
            drift_kl=e.gate_drift_kl,
            general_loss=e.gate_general_loss,
            author_gain=e.gate_author_gain,
            repetition=e.gate_repetition,
        ),
    )


def _provenance(
    config: Any, folder: Path, prepared: str, settings: Any, quick: bool
) -> dict[str, Any]:
    from stylellm.corpus.prepare import load_manifest
    from stylellm.training.run import git_commit, versions

    manifest = load_manifest(prepared)
    return {
        "author": manifest["author"],
        "model_name_or_path": config.model.model_name_or_path,
        "adapter": str(folder),
        "prepared": prepared,
        "prepared_fingerprint": manifest["fingerprint"],
        "quick": quick,
        "num_windows": settings.num_windows,
        "num_samples": settings.num_samples,
        "sample_chars": settings.sample_chars,
        "seed": settings.seed,
        "temperature": settings.sampling.temperature,
        "top_p": settings.sampling.top_p,
        "kl_beta": config.objective.kl_beta,
        "kl_direction": config.objective.kl_direction,
        "general_ratio": config.objective.general_ratio,
        "general_beta": config.objective.general_beta,
        "masking_format": config.masking.format,
        "lora_r": config.lora.lora_r,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "git_commit": git_commit(),
        "versions": versions(),
    }
