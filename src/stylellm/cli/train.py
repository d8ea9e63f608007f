"""``stylellm train``: prepared windows in, a style adapter out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stylellm.cli.options import add_config_arguments, config_of, overrides_of

EXAMPLE = """\
example:
  stylellm train --config train_config.yaml
  stylellm train --config train_config.yaml --kl_beta 0.2 --epochs 5 --output_dir output/b02
  stylellm train --resume --output_dir output/b02
  stylellm train --eval_only --output_dir output/b02
  torchrun --nproc_per_node 2 -m stylellm train --config train_config.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true",
                        help="go on from the last complete checkpoint of the output folder")  # fmt: skip
    parser.add_argument("--overwrite_output_dir", action="store_true",
                        help="remove a former run in the output folder and start again")  # fmt: skip
    parser.add_argument("--eval_only", action="store_true",
                        help="evaluate the run in --output_dir with its saved configuration")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.eval_only:
        return _evaluate_only(args)
    config = _config(args)
    folder = Path(config.training.output_dir)
    checkpoint = None
    if args.resume:
        from stylellm.training.run import find_run, last_checkpoint

        folder = find_run(folder)
        check_same_config(config, folder)
        checkpoint = last_checkpoint(folder)
    train(config, folder, checkpoint, overwrite=args.overwrite_output_dir)
    return 0


def _config(args: argparse.Namespace) -> Any:
    """The configuration; a resumed run needs none but its own."""
    if args.resume and not args.config:
        from stylellm.config import load_config
        from stylellm.errors import StyleLLMError
        from stylellm.training.run import CONFIG_FILE, find_run

        if not args.output_dir:
            raise StyleLLMError(
                "--resume was given without --config and without --output_dir",
                "one of them",
                "stylellm train --resume --output_dir output/wuxia_model",
            )
        folder = find_run(Path(args.output_dir))
        args.output_dir = str(folder)
        return load_config(folder / CONFIG_FILE, overrides_of(args), check_hardware=True)
    return config_of(args)


def check_same_config(config: Any, folder: Path) -> None:
    """A resumed run with other settings would not be the run that was interrupted."""
    from stylellm.config import load_config
    from stylellm.errors import ConfigError
    from stylellm.training.run import CONFIG_FILE

    saved = load_config(folder / CONFIG_FILE).model_dump()
    given = config.model_dump()
    free = {"output_dir", "logging_steps", "save_total_limit", "report_to"}
    problems = [
        f"{section}.{key}: {given[section][key]!r} now, {value!r} when the run began"
        for section, values in saved.items()
        for key, value in values.items()
        if given[section].get(key) != value and key not in free
    ]
    if problems:
        raise ConfigError(problems, f"--resume (the saved configuration is {folder / CONFIG_FILE})")


def train(
    config: Any, folder: Path, checkpoint: Path | None = None, *, overwrite: bool = False
) -> Any:
    """The train stage: prepare if needed, build, train, save. Returns the trainer."""
    from stylellm.cli.build import build_policy, ensure_prepared, general_windows, style_dataset
    from stylellm.cli.memory import check_memory, wants_checkpointing, warn_of_slow_bf16
    from stylellm.config import save_config, training_arguments
    from stylellm.corpus.prepare import load_manifest
    from stylellm.model.load import load_tokenizer
    from stylellm.training import run as runs
    from stylellm.training.callbacks import ConsoleCallback

    # First, as they set up the process group.
    arguments = training_arguments(config, checkpointing=wants_checkpointing(config))
    main_process = arguments.process_index == 0
    if main_process:
        check_memory(config)
        warn_of_slow_bf16(config)
    runs.check_apart(Path(config.data.prepared_dir), folder)
    if main_process and checkpoint is None:
        runs.check_output(folder, overwrite=overwrite)
    tokenizer = load_tokenizer(config.model.model_name_or_path, revision=config.model.revision)
    policy = build_policy(config, tokenizer)
    with arguments.main_process_first(local=False, desc="prepare"):
        ensure_prepared(config, tokenizer, progress=main_process)
        general = general_windows(config, policy, tokenizer, arguments)
    dataset = style_dataset(config, tokenizer, general)
    trainer = build_trainer(config, policy, tokenizer, dataset, arguments, folder)
    if main_process:
        if checkpoint is None:
            runs.clear_output(folder)
        save_config(config, folder / runs.CONFIG_FILE)
        runs.write_json(folder / runs.RUN_FILE, run_record(config, policy, load_manifest))
        _announce(config, policy, dataset, trainer, checkpoint)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ConsoleCallback):
                callback.close()
    runs.save_final(trainer, folder)
    if main_process:
        _announce_best(config, trainer)
        print(f"adapter:  {folder}\nnext:     stylellm evaluate {folder}")
    return trainer


def build_trainer(
    config: Any, policy: Any, tokenizer: Any, dataset: Any, arguments: Any, folder: Path
) -> Any:
    """The Trainer with our loss and our callbacks in place of the library's printers."""
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    from stylellm.cli.anchors import passes_of
    from stylellm.cli.build import has_split, measure_callable, sample_callable
    from stylellm.errors import ConfigError
    from stylellm.masking.collate import collator
    from stylellm.model.attention import joins_rows
    from stylellm.model.policy import backbone_of
    from stylellm.training.best import BestRule
    from stylellm.training.callbacks import ConsoleCallback, JsonlCallback, SampleCallback
    from stylellm.training.trainer import Objective, StyleTrainer

    o, t = config.objective, config.training
    if t.max_drift_kl is not None and not has_split(config.data.prepared_dir, "general_test"):
        raise ConfigError(
            ["training.max_drift_kl: the drift is measured on general text, and data.general_text "
             "gave none"]
        )  # fmt: skip
    measure = measure_callable(config, tokenizer)
    if measure is None and arguments.eval_strategy != "no":
        print("validation: off, no validation windows were prepared (data.validation_fraction)")
        arguments.eval_strategy = "no"
    callbacks = [JsonlCallback(folder), ConsoleCallback(disable=bool(arguments.disable_tqdm))]
    sample = sample_callable(config, tokenizer)
    if sample is not None:
        callbacks.append(SampleCallback(folder, sample))
    trainer = StyleTrainer(
        model=policy,
        args=arguments,
        train_dataset=dataset,
        eval_dataset=dataset.author if measure else None,
        # Flash attention takes documents one after another, told apart by their positions.
        data_collator=collator(
            tokenizer.pad_token_id,
            padding_free=joins_rows(backbone_of(policy)),
        ),
        processing_class=tokenizer,
        objective=Objective(
            kl_beta=o.kl_beta,
            general_beta=o.general_beta,
            kl_direction=o.kl_direction,
            chunk_size=o.chunk_size,
            target_kl=o.target_kl,
        ),
        measure=measure,
        passes=passes_of(config, policy),
        compile_layers=t.torch_compile,
        best=BestRule(
            metric=arguments.metric_for_best_model or "author_nll",
            greater_is_better=bool(arguments.greater_is_better),
            max_drift_kl=t.max_drift_kl,
            patience=t.early_stopping_patience,
        ),
    )
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def run_record(config: Any, policy: Any, load_manifest: Any) -> dict[str, Any]:
    """What a result must be traced to: versions, commit, data, model."""
    from stylellm.training.run import git_commit, versions

    trainable, total = policy.get_nb_trainable_parameters()
    return {
        "model_name_or_path": config.model.model_name_or_path,
        "prepared_dir": config.data.prepared_dir,
        "prepared_fingerprint": load_manifest(config.data.prepared_dir)["fingerprint"],
        "trainable_parameters": trainable,
        "parameters": total,
        "versions": versions(),
        "git_commit": git_commit(),
    }


def _announce(
    config: Any, policy: Any, dataset: Any, trainer: Any, checkpoint: Path | None
) -> None:
    from stylellm.model.attention import joins_rows
    from stylellm.model.policy import backbone_of

    trainable, total = policy.get_nb_trainable_parameters()
    print(
        f"model:    {config.model.model_name_or_path}, {total:,} parameters, {trainable:,} trained "
        f"(LoRA r={config.lora.lora_r})"
    )
    print(
        f"data:     {len(dataset.author):,} author windows + {dataset.num_general:,} general "
        f"per epoch, {config.masking.format} masking, on {trainer.args.device}"
    )
    if joins_rows(backbone_of(policy)):
        print("rows:     joined without padding (flash attention)")
    if config.training.torch_compile:
        print("layers:   compiled during the first steps, which takes a minute or so")
    if checkpoint:
        print(f"resuming: {checkpoint}")


def _announce_best(config: Any, trainer: Any) -> None:
    """Which checkpoint the adapter is from, where the best one was asked for."""
    t, state = config.training, trainer.state
    if t.early_stopping_patience and state.global_step < state.max_steps:
        print(
            f"stopped:  after step {state.global_step}, {t.early_stopping_patience} evaluations without "
            "a better one"
        )
    if not t.load_best_model_at_end:
        return
    if state.best_model_checkpoint is None:
        print("best:     none, as no evaluation was within training.max_drift_kl; the last is kept")
    else:
        print(
            f"best:     step {state.best_global_step}, {trainer.best.metric} {state.best_metric:.4f}"
        )


def _evaluate_only(args: argparse.Namespace) -> int:
    from stylellm.cli.evaluate import evaluate_run
    from stylellm.cli.show import print_result
    from stylellm.errors import StyleLLMError
    from stylellm.training.run import find_run

    if not args.output_dir:
        raise StyleLLMError(
            "--eval_only was given without --output_dir",
            "the output folder of a run",
            "stylellm train --eval_only --output_dir output/wuxia_model",
        )
    folder = find_run(Path(args.output_dir))
    args.output_dir = None
    result, report = evaluate_run(folder, overrides=overrides_of(args))
    print_result(result)
    print(f"report: {report}")
    return 0
