"""The training section: the audit of TrainingArguments, and building them."""

from __future__ import annotations

import dataclasses
import warnings
from importlib.util import find_spec

import pytest
import transformers
from transformers import TrainingArguments

from stylellm.config import TrainingSection, parse_config, training_arguments, with_overrides
from stylellm.config.training import training_argument_names
from stylellm.config.training_fields import (
    AUDITED_VERSION,
    DROPPED,
    FIXED,
    HONOURED,
    REFUSED,
    classify,
)
from stylellm.errors import ConfigError

OURS = {"max_drift_kl", "early_stopping_patience"}  # of the section, not of TrainingArguments
FIELDS = {field.name: field for field in dataclasses.fields(TrainingArguments)}


def problem_of(**training) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config({"training": training})
    (problem,) = caught.value.problems
    return problem


def default_of(name: str) -> object:
    field = FIELDS[name]
    if field.default is dataclasses.MISSING:
        return field.default_factory()
    return field.default


def test_every_field_of_the_audited_version_has_been_looked_at():
    typed = set(TrainingSection.model_fields) - OURS
    tables = [typed, set(HONOURED), set(FIXED), set(REFUSED)]
    if not transformers.__version__.startswith(AUDITED_VERSION):
        pytest.skip(f"audited for transformers {AUDITED_VERSION}, not {transformers.__version__}")
    assert set(FIELDS) - set.union(*tables) == set(), "look at these and add them to a table"
    assert set.union(*tables) - set(FIELDS) == set(), "these are no fields"
    assert sum(map(len, tables)) == len(set.union(*tables)), "a field is in two tables"


def test_every_field_of_the_installed_version_falls_into_a_class():
    classes = {name: classify(name) for name in FIELDS}
    assert set(classes.values()) == {"typed", "honoured", "fixed", "refused"}
    assert classes["learning_rate"] == "typed"
    assert classify("a_field_of_next_year") == "honoured"


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_dropped_names_are_gone_and_answered(name):
    if transformers.__version__.startswith(AUDITED_VERSION):
        assert name not in FIELDS
    problem = problem_of(**{name: 0.5})
    assert problem.startswith(f"training.{name}: found 0.5; transformers 5 has no such field: ")


@pytest.mark.parametrize(
    ("name", "value", "replacement"),
    [
        ("evaluation_strategy", "epoch", "use eval_strategy: epoch"),
        ("warmup_ratio", 0.03, "use warmup_steps: 0.03"),
        ("group_by_length", True, "use train_sampling_strategy: group_by_length"),
        ("no_cuda", True, "use use_cpu: true"),
        ("per_gpu_train_batch_size", 2, "use per_device_train_batch_size: 2"),
        ("split_batches", True, "use accelerator_config: {split_batches: true}"),
        ("logging_dir", "x", "TENSORBOARD_LOGGING_DIR"),
    ],
)
def test_replacements_are_themselves_accepted(name, value, replacement):
    problem = problem_of(**{name: value})
    assert replacement in problem
    key = replacement.removeprefix("use ").partition(":")[0]
    assert key in FIELDS or key.isupper()


def test_the_replacement_of_group_by_length_is_accepted():
    config = parse_config({"training": {"train_sampling_strategy": "group_by_length"}})
    assert training_arguments(config).train_sampling_strategy == "group_by_length"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_first_harmless_value_is_the_default_of_training_arguments(name):
    if name not in FIELDS:
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    assert REFUSED[name].harmless[0] == default_of(name)
    for value in REFUSED[name].harmless:
        config = parse_config({"training": {name: value}})
        assert config == parse_config({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label_smoothing_factor", 0.1),
        ("liger_kernel_config", {"fused_linear_cross_entropy": True}),
        ("neftune_noise_alpha", 5),
        ("label_names", ["x"]),
        ("remove_unused_columns", True),
        ("include_num_input_tokens_seen", "all"),
        ("average_tokens_across_devices", False),
        ("auto_find_batch_size", True),
        ("torch_compile_backend", "inductor"),
        ("torch_compile_mode", "max-autotune"),
        ("deepspeed", "ds.json"),
        ("fsdp", "full_shard"),
        ("fsdp", True),
        ("fsdp_config", {"version": 2}),
        ("hub_token", "secret"),
        ("do_train", True),
        ("resume_from_checkpoint", "x"),
        ("bf16_full_eval", True),
        ("include_for_metrics", ["loss"]),
        ("optim_target_modules", "all-linear"),
        ("prediction_loss_only", False),
        ("logging_nan_inf_filter", True),
        ("length_column_name", "length"),
    ],
)
def test_fields_that_our_loss_or_commands_bypass_are_refused_with_a_reason(name, value):
    problem = problem_of(**{name: value})
    assert problem.startswith(f"training.{name}: found ")
    assert "is possible, because" in problem


@pytest.mark.parametrize("name", ["galore_adamw", "apollo_adamw", "lomo", "adalomo"])
def test_optimizers_of_full_weights_are_refused(name):
    assert "trains full weights" in problem_of(optim=name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("adam_beta1", "x", "expected a number >= 0 and < 1"),
        ("adam_beta1", 1.0, "expected a number >= 0 and < 1"),
        ("data_seed", 1.5, "expected a whole number"),
        ("dataloader_drop_last", 1, "expected true or false"),
        ("optim", "adam", "expected one of adamw_torch, "),
        ("log_level", "loud", "expected one of "),
        ("train_sampling_strategy", "sorted", "expected one of random, sequential"),
        ("logging_strategy", "sometimes", "expected one of no, steps, epoch"),
        ("run_name", 3, "expected text, or null"),
        ("tf32", "yes", "expected true or false, or null"),
        ("lr_scheduler_kwargs", 3, "expected a mapping, or text, or null"),
        ("disable_tqdm", "x", "expected true or false, or null"),
    ],
)
def test_untyped_fields_are_checked_by_their_annotation(name, value, expected):
    problem = problem_of(**{name: value})
    assert problem.startswith(f"training.{name}: found ")
    assert expected in problem


def test_untyped_fields_are_handed_on():
    config = parse_config(
        {
            "training": {
                "adam_beta2": 0.95,
                "adam_epsilon": "1e-7",
                "logging_strategy": False,
                "disable_tqdm": True,
                "data_seed": 7,
                "run_name": "试验 1",
            }
        }
    )
    arguments = training_arguments(config)
    assert arguments.adam_beta2 == 0.95
    assert arguments.adam_epsilon == 1e-7
    assert arguments.logging_strategy.value == "no"
    assert arguments.disable_tqdm
    assert arguments.data_seed == 7
    assert arguments.run_name == "试验 1"


def test_typed_fields_reach_training_arguments_unchanged():
    changed = {
        "num_train_epochs": 1.5,
        "max_steps": 7,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 3,
        "gradient_accumulation_steps": 5,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 4,
        "weight_decay": 0.1,
        "max_grad_norm": 0.5,
        "logging_steps": 6,
        "eval_strategy": "epoch",
        "eval_steps": 8,
        "save_strategy": "epoch",
        "save_steps": 9,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "use_cpu": True,
        "dataloader_num_workers": 1,
        "report_to": [],
        "seed": 11,
        "output_dir": "./输出 1",
    }
    arguments = training_arguments(parse_config({"training": changed}))
    for name, value in changed.items():
        got = getattr(arguments, name)
        assert getattr(got, "value", got) == value, name


def test_every_typed_field_is_a_field_of_training_arguments():
    assert set(TrainingSection.model_fields) - OURS <= set(training_argument_names())


def test_building_is_silent_and_sets_what_is_ours():
    config = parse_config({"training": {"bf16": True, "gradient_checkpointing": True}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments = training_arguments(config, label_names=["labels"])
    assert arguments.bf16
    assert arguments.gradient_checkpointing
    assert arguments.label_names == ["labels"]
    for name, rule in FIXED.items():
        assert getattr(arguments, name) == rule.harmless[0]


def test_activation_checkpointing_is_the_same_as_gradient_checkpointing():
    kwargs = {"use_reentrant": False}
    new = parse_config(
        {"training": {"activation_checkpointing": True, "activation_checkpointing_kwargs": kwargs}}
    )
    old = parse_config(
        {"training": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": kwargs}}
    )
    assert new == old
    assert new.training.gradient_checkpointing
    assert training_arguments(new).gradient_checkpointing_kwargs == kwargs
    problem = problem_of(activation_checkpointing=True, gradient_checkpointing=False)
    assert "keep one" in problem


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lr_scheduler_type=cosine_with_min_lr", "min_lr"),
        ("lr_scheduler_kwargs={no_such: 1}", "no_such"),
        ("report_to=wanb", "did you mean wandb?"),
        ("report_to=no_tracker", "expected some of"),
        ("dataloader_prefetch_factor=2", "dataloader_num_workers"),
        ("accelerator_config={no_such: 1}", "no_such"),
        ("accelerator_config=missing.json", "missing.json"),
    ],
)
def test_what_transformers_refuses_becomes_a_config_error(override, expected):
    config = with_overrides(parse_config({}), [f"training.{override}"])
    with pytest.raises(ConfigError) as caught:
        training_arguments(config)
    (problem,) = caught.value.problems
    assert problem.startswith("training")
    assert expected in problem
    assert "\n" not in problem


def test_a_missing_optimizer_package_is_found_before_training():
    if find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    config = with_overrides(parse_config({}), ["training.optim=paged_adamw_8bit"])
    with pytest.raises(ConfigError, match="bitsandbytes"):
        training_arguments(config)


@pytest.mark.parametrize("auto", [True, False])
def test_automatic_checkpointing_is_what_the_caller_found(auto):
    config = parse_config({"training": {"gradient_checkpointing": "auto"}})
    arguments = training_arguments(config, checkpointing=auto)
    assert arguments.gradient_checkpointing is auto


def test_the_better_evaluation_is_the_smaller_one():
    config = parse_config(
        {"training": {"metric_for_best_model": "author_nll", "load_best_model_at_end": True}}
    )
    assert training_arguments(config).greater_is_better is False


def test_liger_takes_the_backbone_only_and_says_what_it_needs(monkeypatch):
    import torch

    config = parse_config({"training": {"use_liger_kernel": True}})
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="need a GPU"):
            training_arguments(config)
    monkeypatch.setattr("stylellm.config.arguments._liger_problems", lambda config: [])
    kernels = training_arguments(config).liger_kernel_config
    assert kernels["rms_norm"] and not kernels["fused_linear_cross_entropy"]
    assert not kernels["cross_entropy"]
