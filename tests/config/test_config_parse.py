"""Problems of a configuration: each kind, its message, and all of them at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stylellm.config import SECTIONS, MaskingSection, StyleConfig, load_config, parse_config
from stylellm.errors import ConfigError


def problems_of(mapping, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(mapping, **options)
    return caught.value.problems


def refusal(mapping) -> list[str]:
    """The problems, or none; anything but a ConfigError fails the test."""
    try:
        parse_config(mapping)
    except ConfigError as error:
        return error.problems
    return []


def the_problem(mapping) -> str:
    problems = problems_of(mapping)
    assert len(problems) == 1, problems
    return problems[0]


def test_defaults_are_those_of_the_sketch():
    config = parse_config({})
    assert config.model.model_name_or_path == "stylellm-tiny"
    assert config.data.max_length == 512
    ratios = (config.masking.span_mask_ratio, config.masking.token_mask_ratio)
    assert ratios == (0.6, 0.3)
    assert config.masking.no_mask_ratio == 0.1
    assert config.objective.kl_beta == 0.1
    assert config.lora.lora_r == 8
    training = config.training
    assert training.per_device_train_batch_size == training.gradient_accumulation_steps == 4
    assert training.num_train_epochs == 3
    assert training.output_dir == "./output/wuxia_model"
    assert (training.fp16, training.bf16, training.gradient_checkpointing) == (False,) * 3


def test_values_are_taken_and_checked_config_is_frozen():
    config = parse_config({"objective": {"kl_beta": 1}, "data": {"books": ["data/金庸"]}})
    assert config.objective.kl_beta == 1.0
    assert isinstance(config.objective.kl_beta, float)
    assert config.data.books == ["data/金庸"]
    with pytest.raises(ValidationError, match="frozen"):
        config.objective.kl_beta = 2.0


def test_empty_section_means_defaults():
    assert parse_config({"model": None, "lora": {}}) == parse_config({})


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("data", "max_length", "abc", 'found "abc" (text); expected a whole number >= 32'),
        ("data", "max_length", 31, "found 31; expected a whole number >= 32"),
        ("data", "max_length", 512.0, "found 512.0; expected a whole number >= 32"),
        ("data", "max_length", True, "found true; expected a whole number"),
        ("data", "max_length", None, "found null (nothing); expected a whole number"),
        ("objective", "kl_beta", -0.1, "found -0.1; expected a number >= 0"),
        ("objective", "kl_beta", True, "found true; expected a number"),
        ("objective", "kl_beta", "0.1", 'found "0.1" (text); expected a number'),
        ("objective", "kl_beta", float("nan"), "found nan; expected a number"),
        ("objective", "kl_beta", float("inf"), "found inf; expected a number"),
        ("objective", "general_beta", -1, "found -1; expected a number >= 0 and <= 100"),
        ("objective", "general_ratio", 1, "found 1; expected a number >= 0 and < 1"),
        ("model", "load_in_4bit", 1, "found 1; expected true or false"),
        ("model", "load_in_4bit", "true", 'found "true" (text); expected true or false'),
        ("model", "model_name_or_path", 7, "found 7; expected text; put it in quotes"),
        ("model", "model_name_or_path", " ", "it is empty"),
        ("model", "model_name_or_path", "D:\new", "write Windows paths with / or in single quotes"),
        ("data", "script", "Simplified", "did you mean simplified?"),
        ("masking", "format", "in-place", "did you mean in_place?"),
        ("data", "books", 3, "found 3; expected a list of files and folders"),
        ("data", "books", ["a", 3], "expected a list of files and folders; put it in quotes"),
        ("lora", "target_modules", "q_proj,v_proj", "write [q_proj, v_proj]"),
        ("lora", "target_modules", [], "expected all-linear, or a list such as"),
        ("generation", "temperature", 0, "found 0; expected a number > 0"),
        ("generation", "seed", -1, "found -1; expected a whole number >= 0"),
        ("training", "eval_strategy", "never", "expected one of no, steps, epoch"),
        ("training", "logging_steps", 2.5, "counts steps and must be whole"),
        ("training", "logging_steps", 0, "expected a whole number of steps, or a share"),
        ("training", "warmup_steps", -1, "expected a whole number of steps, or a share"),
        ("training", "lr_scheduler_type", "cosin", "no scheduler of transformers has this name"),
    ],
)
def test_wrong_value_says_what_was_found_and_what_is_allowed(section, key, value, expected):
    problem = the_problem({section: {key: value}})
    assert problem.startswith(f"{section}.{key}: ")
    assert expected in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"kl_beta": 0.1}, "use objective.kl_beta"),
        ({"seed": 1}, "use data.seed or training.seed or evaluation.seed or generation.seed"),
        ({"epochs": 3}, "use training.num_train_epochs"),
        (
            {"batch_size": 3},
            "use training.per_device_train_batch_size or evaluation.batch_size",
        ),
        ({"model_name": "x"}, "use model.model_name_or_path"),
        ({"objectve": {"kl_beta": 1}}, "did you mean objective?"),
        ({"train": {"lr": 1}}, "did you mean training?"),
        ({"lora": {"lora_rr": 8}}, "did you mean lora.lora_r?"),
        ({"lora": {"LoRA-R": 8}}, "did you mean lora.lora_r?"),
        ({"lora": {"lora_rank": 8}}, "use lora.lora_r"),
        ({"lora": {"lora_target": "all"}}, "use lora.target_modules"),
        ({"lora": {"learning_rate": 1e-4}}, "use training.learning_rate"),
        ({"lora": {"weight_decy": 0.1}}, "did you mean training.weight_decay?"),
        ({"data": {"cutoff_len": 512}}, "use data.max_length"),
        ({"data": {"kl_beta": 0.1}}, "use objective.kl_beta"),
        ({"training": {"epochs": 3}}, "use training.num_train_epochs"),
        ({"training": {"kl_beta": 3}}, "use objective.kl_beta"),
        ({"training": {"learning_rte": 3}}, "did you mean training.learning_rate?"),
        ({"training": {"dataloder_drop_last": 1}}, "mean training.dataloader_drop_last?"),
        ({"objective": {"pref_beta": 0.1}}, "use objective.kl_beta"),
        ({"model": {"warmup_ratio": 0.1}}, "under training: use warmup_steps"),
        ({"model": {"optim": "sgd"}}, "use training.optim"),
        ({"model": {"template": "qwen"}}, "leave it out"),
    ],
)
def test_unknown_key_names_the_right_one(mapping, expected):
    problem = the_problem(mapping)
    assert "unknown key" in problem
    assert expected in problem


def test_unknown_key_without_a_neighbour_lists_the_keys():
    problem = the_problem({"lora": {"zzzz": 8}})
    assert "did you mean" not in problem
    for key in SECTIONS["lora"].model_fields:
        assert key in problem


def test_every_foreign_name_points_to_an_existing_key():
    from stylellm.config.names import FOREIGN, SECTION_ALIASES
    from stylellm.config.training_fields import HONOURED

    for name, home in FOREIGN.items():
        if " " in home:
            continue
        section, _, key = home.partition(".")
        assert key in SECTIONS[section].model_fields or key in HONOURED, (name, home)
    assert set(SECTION_ALIASES.values()) <= set(SECTIONS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Qwen/Qwen2.5-7B", "expected keys such as model_name_or_path"),
        ("model_name_or_path：x", "Chinese colon"),
        ("model_name_or_path:x", "a space must follow the colon"),
        (["model_name_or_path"], "expected keys such as"),
    ],
)
def test_section_must_hold_keys(value, expected):
    assert expected in the_problem({"model": value})


def test_keys_must_be_names():
    assert "expected the name of a key" in the_problem({"lora": {3: 1}})
    assert "unknown key" in the_problem({3: 1})


def test_all_problems_are_reported_at_once():
    problems = problems_of(
        {
            "kl_beta": 0.1,
            "model": {"load_in_4bit": 1, "dtype": "fp16"},
            "masking": {"span_mask_ratio": 0.7},
            "lora": {"lora_rank": 8, "lora_alpha": "x"},
            "training": {"warmup_ratio": 0.1, "adam_beta1": "x", "fp16": True, "bf16": True},
        }
    )
    starts = {problem.split(":")[0] for problem in problems}
    assert starts == {
        "kl_beta",
        "model.load_in_4bit",
        "model.dtype",
        "masking.span_mask_ratio",
        "lora.lora_rank",
        "lora.lora_alpha",
        "training.warmup_ratio",
        "training.adam_beta1",
        "training.fp16",
    }


def test_a_wrong_value_is_not_blamed_twice():
    problems = problems_of({"masking": {"span_mask_ratio": "x", "token_mask_ratio": 0.4}})
    assert len(problems) == 1  # the sum cannot be judged


def test_message_counts_and_lists():
    with pytest.raises(ConfigError) as caught:
        parse_config({"a": 1, "b": 2}, "my.yaml")
    assert str(caught.value).startswith("2 problems in my.yaml:\n  - a: ")


def test_direct_construction_is_checked_too():
    with pytest.raises(ValidationError, match="must sum to 1"):
        StyleConfig(masking=MaskingSection(span_mask_ratio=0.7))
    with pytest.raises(ValidationError, match="warmup_steps"):
        StyleConfig.model_validate({"training": {"warmup_ratio": 0.1}})


def test_mapping_is_not_changed_by_parsing():
    given = {"training": {"activation_checkpointing": True}, "lora": {"lora_r": 4}}
    parse_config(given, overrides=["lora.lora_r=2"])
    assert given == {"training": {"activation_checkpointing": True}, "lora": {"lora_r": 4}}


def test_not_a_mapping():
    assert "expected a mapping" in problems_of(["model"])[0]


def test_lines_of_the_file_are_named(tmp_path):
    path = tmp_path / "配置 1.yaml"
    path.write_text("lora:\n  lora_r: 0\n\ndata:\n  max_lengh: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    first, second = caught.value.problems
    assert first.startswith("line 2: lora.lora_r: found 0;")
    assert second.startswith("line 5: data.max_lengh: unknown key")


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
KEYS = st.sampled_from(
    [key for name, cls in SECTIONS.items() if name != "training" for key in cls.model_fields]
)


@given(st.dictionaries(st.sampled_from([*SECTIONS]) | st.text(max_size=5), VALUES, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_mapping_is_parsed_or_refused(mapping):
    problems = refusal(mapping)
    assert problems or set(mapping) <= set(SECTIONS)
    assert all("\n" not in problem for problem in problems)


@given(st.sampled_from([*SECTIONS]), KEYS, VALUES)
@settings(max_examples=150, deadline=None)
def test_any_value_is_taken_or_refused_by_its_path(section, key, value):
    problems = refusal({section: {key: value}})
    assert problems or key in SECTIONS[section].model_fields
    assert not problems or any(f"{section}.{key}" in problem for problem in problems)
