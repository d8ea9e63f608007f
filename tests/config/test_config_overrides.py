"""`--set section.key=value` and the sketch's flags."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.config import (
    SECTIONS,
    SKETCH_FLAGS,
    flag_overrides,
    load_config,
    parse_config,
    with_overrides,
)
from stylellm.errors import ConfigError


def parse(*overrides: str):
    return parse_config({}, overrides=overrides)


def refusal(*overrides: str) -> list[str]:
    """The problems, or none; anything but a ConfigError fails the test."""
    try:
        parse(*overrides)
    except ConfigError as error:
        return error.problems
    return []


def problem_of(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(*overrides)
    (problem,) = caught.value.problems
    return problem


def test_values_are_read_as_yaml():
    config = parse(
        "objective.kl_beta=0.2",
        "training.learning_rate=1e-4",
        "training.bf16=true",
        "training.eval_strategy=no",
        "data.books=[data/金庸, 'D:/我的 书']",
        "lora.target_modules=[q_proj]",
        "training.lr_scheduler_kwargs={min_lr: 1e-5}",
        "data.author=null",
        " lora.lora_r = 4 ",
    )
    assert config.objective.kl_beta == 0.2
    assert config.training.learning_rate == 1e-4
    assert config.training.bf16
    assert config.training.eval_strategy == "no"
    assert config.data.books == ["data/金庸", "D:/我的 书"]
    assert config.lora.target_modules == ["q_proj"]
    assert config.training.other_fields() == {"lr_scheduler_kwargs": {"min_lr": 1e-5}}
    assert config.data.author is None
    assert config.lora.lora_r == 4


def test_text_keys_take_text_as_it_stands():
    config = parse(
        r"training.output_dir=C:\runs\new: 1 #2",
        "model.model_name_or_path=7",
        "model.revision=12e4567",
        "data.author=null",
    )
    assert config.training.output_dir == r"C:\runs\new: 1 #2"
    assert config.model.model_name_or_path == "7"
    assert config.model.revision == "12e4567"
    assert config.data.author is None
    assert parse('data.author="金 庸"').data.author == "金 庸"


def test_one_path_stands_for_a_list_of_one():
    assert parse("data.books=data/金庸").data.books == ["data/金庸"]


def test_overrides_win_over_the_file_and_the_last_one_counts(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("lora:\n  lora_r: 2\n  lora_alpha: 3\n", encoding="utf-8")
    config = load_config(path, ["lora.lora_r=4", "lora.lora_r=16"])
    assert (config.lora.lora_r, config.lora.lora_alpha) == (16, 3)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("kl_beta", "expected section.key=value"),
        ("kl_beta=0.1", "use objective.kl_beta"),
        ("=3", "expected section.key=value"),
        ("", "expected section.key=value"),
        ("lora=3", "name one of its keys: lora_r"),
        ("lora.=3", "name one of its keys: lora_r"),
        ("loora.lora_r=3", "did you mean lora.lora_r?"),
        ("train.kl_beta=3", "use objective.kl_beta"),
        ("train.lr=3", "use training.learning_rate"),
        ("loora.zzzz=3", "did you mean lora?"),
        ("zzz.yyy=3", "expected one of model, data"),
        ("lora.lora_rr=3", "did you mean lora.lora_r?"),
        ("training.lr_scheduler_kwargs.min_lr=1", "give training.lr_scheduler_kwargs a mapping"),
        ("data.max_length=[", "expected a value written as YAML"),
        ("data.max_length=", "found null"),
        ("data.author=\udcff", "not valid Unicode text"),
        ("data.max_length=abc", 'found "abc" (text)'),
    ],
)
def test_bad_overrides_are_explained(override, expected):
    problem = problem_of(override)
    assert expected in problem
    assert problem.startswith(("--set ", "command line: "))


def test_problems_of_file_and_command_line_come_together(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("lora:\n  lora_r: 0\n  lora_alpha: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["lora.lora_r=-1", "nope"])
    starts = [problem.split(" found")[0] for problem in caught.value.problems]
    assert starts == [
        "--set nope: expected section.key=value, for example objective.kl_beta=0.2",
        "command line: lora.lora_r:",
        "line 3: lora.lora_alpha:",
    ]


def test_sketch_flags_name_existing_keys():
    for flag, path in SKETCH_FLAGS.items():
        section, _, key = path.partition(".")
        assert key in SECTIONS[section].model_fields, flag
    assert {"model_name", "kl_beta", "epochs", "output_dir"} <= set(SKETCH_FLAGS)


def test_sketch_flags_become_overrides():
    flags = {"model_name": "Qwen/Qwen2.5-7B", "kl_beta": 0.3, "epochs": "2", "seed": None}
    config = parse(*flag_overrides(flags))
    assert config.model.model_name_or_path == "Qwen/Qwen2.5-7B"
    assert config.objective.kl_beta == 0.3
    assert config.training.num_train_epochs == 2
    assert config.training.seed == 42


def test_with_overrides_gives_a_checked_copy():
    config = parse("lora.lora_r=4")
    other = with_overrides(config, ["objective.kl_beta=0.5"])
    assert (other.lora.lora_r, other.objective.kl_beta) == (4, 0.5)
    assert config.objective.kl_beta == 0.1
    with pytest.raises(ConfigError, match="must sum to 1"):
        with_overrides(config, ["masking.no_mask_ratio=0.5"])


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_override_is_taken_or_refused(text):
    assert all("\n" not in problem for problem in refusal(text))


@given(st.sampled_from([*SECTIONS]), st.text(max_size=15), st.text(max_size=15))
@settings(max_examples=100, deadline=None)
def test_any_key_and_value_is_taken_or_refused(section, key, value):
    if section == "training":
        key = "seed"
    problems = refusal(f"{section}.{key}={value}")
    known = key in SECTIONS[section].model_fields
    assert known or problems


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.strip() and text.isprintable()))
@settings(max_examples=100, deadline=None)
def test_any_author_can_be_given_in_quotes(name):
    assert parse(f"data.author={json.dumps(name)}").data.author == name


@given(st.integers(1, 1024), st.floats(0, 100), st.booleans())
@settings(max_examples=50, deadline=None)
def test_numbers_survive_the_command_line(rank, beta, bf16):
    config = parse(f"lora.lora_r={rank}", f"objective.kl_beta={beta!r}", f"training.bf16={bf16}")
    assert (config.lora.lora_r, config.objective.kl_beta) == (rank, beta)
    assert config.training.bf16 is bf16
