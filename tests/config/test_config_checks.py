"""Checks between keys, and of the machine."""

from __future__ import annotations

import pytest

from stylellm.config import check_hardware, checks, load_config, parse_config
from stylellm.errors import ConfigError


def problems_of(mapping, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(mapping, **options)
    return caught.value.problems


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"masking": {"span_mask_ratio": 0.7}}, "0.7 + 0.3 + 0.1 = 1.1"),
        ({"masking": {"no_mask_ratio": 0.100003}}, "must sum to 1"),
        ({"masking": {"span_length_mean": 11}}, "masking.span_length_mean (11)"),
        ({"data": {"validation_fraction": 0.9}}, "leaves nothing to train on"),
        ({"data": {"validation_fraction": 0}}, "nothing to evaluate on"),
        ({"training": {"fp16": True, "bf16": True}}, "at most one of the two"),
        (
            {"training": {"load_best_model_at_end": True, "eval_strategy": "no"}},
            "training.eval_strategy is no",
        ),
        (
            {
                "masking": {"order": "native", "no_mask_ratio": 0, "span_mask_ratio": 0.7},
            },
            "kl_beta would weigh nothing",
        ),
    ],
)
def test_keys_that_contradict_each_other(mapping, expected):
    (problem,) = problems_of(mapping)
    assert expected in problem


@pytest.mark.parametrize(
    "mapping",
    [
        {"masking": {"span_mask_ratio": 1 / 3, "token_mask_ratio": 1 / 3, "no_mask_ratio": 1 / 3}},
        {"masking": {"span_mask_ratio": 0.7, "token_mask_ratio": 0.2, "no_mask_ratio": 0.1}},
        {"masking": {"span_length_mean": 10}},
        {"data": {"validation_fraction": 0}, "training": {"eval_strategy": "no"}},
        {
            "masking": {"order": "native", "no_mask_ratio": 0, "span_mask_ratio": 0.7},
            "objective": {"kl_positions": "all"},
        },
        {
            "masking": {"order": "native", "no_mask_ratio": 0, "span_mask_ratio": 0.7},
            "objective": {"kl_beta": 0},
        },
    ],
)
def test_keys_that_agree(mapping):
    config = parse_config(mapping)
    for section, keys in mapping.items():
        assert {key: getattr(getattr(config, section), key) for key in keys} == keys


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine; by default a CPU without extra packages."""

    def pretend(cuda=False, mps=False, bf16=True, packages=()):
        monkeypatch.setattr(checks, "_has_cuda", lambda: cuda)
        monkeypatch.setattr(checks, "_has_mps", lambda: mps)
        monkeypatch.setattr(checks, "_cuda_has_bf16", lambda: bf16)
        monkeypatch.setattr(checks, "_installed", lambda name: name in packages)

    pretend()
    return pretend


def hardware(**sections) -> list[str]:
    return check_hardware(parse_config(sections))


def test_fp16_needs_a_gpu(machine):
    (problem,) = hardware(training={"fp16": True})
    assert problem.startswith("training.fp16: ")
    assert "fp16 needs a GPU" in problem
    assert "use bf16: true, or neither" in problem
    machine(mps=True)
    assert hardware(training={"fp16": True}) == []
    machine(cuda=True)
    assert hardware(training={"fp16": True}) == []
    (problem,) = hardware(training={"fp16": True, "use_cpu": True})
    assert "training.use_cpu is true" in problem


def test_bf16_works_on_a_cpu_but_not_on_every_gpu(machine):
    assert hardware(training={"bf16": True}) == []
    machine(cuda=True, bf16=False)
    assert "no bfloat16" in hardware(training={"bf16": True})[0]
    assert hardware(training={"bf16": True, "use_cpu": True}) == []


def test_four_bits_need_cuda_and_bitsandbytes(machine):
    problems = hardware(model={"load_in_4bit": True})
    assert len(problems) == 2
    assert "CUDA" in problems[0]
    assert "pip install bitsandbytes" in problems[1]
    machine(cuda=True, packages=["bitsandbytes"])
    assert hardware(model={"load_in_4bit": True}) == []


def test_flash_attention_needs_its_package(machine):
    (problem,) = hardware(model={"attn_implementation": "flash_attention_2"})
    assert "use auto or sdpa" in problem
    machine(packages=["flash_attn"])
    assert hardware(model={"attn_implementation": "flash_attention_2"}) == []


def test_hardware_is_reported_with_the_rest_and_only_when_asked(machine, tmp_path):
    mapping = {"training": {"fp16": True}, "lora": {"lora_rr": 1}}
    assert len(problems_of(mapping)) == 1
    assert len(problems_of(mapping, check_hardware=True)) == 2
    path = tmp_path / "a.yaml"
    path.write_text("training:\n  fp16: true\n", encoding="utf-8")
    assert load_config(path).training.fp16
    with pytest.raises(ConfigError, match=r"line 2: training\.fp16"):
        load_config(path, check_hardware=True)


def test_defaults_suit_every_machine(machine):
    assert hardware() == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"objective": {"target_kl": 0.1, "kl_beta": 0.01}}, "objective.kl_beta: found 0.01; with"),
        ({"objective": {"target_kl": 0.1, "kl_beta": 0}}, "objective.kl_beta: found 0; with"),
        (
            {"model": {"attn_implementation": "flash_attention_2", "dtype": "float32"}},
            "model.attn_implementation: found flash_attention_2, which computes in 16 bits",
        ),
        (
            {"model": {"load_in_4bit": True, "load_in_8bit": True}},
            "model.load_in_8bit: found true, and",
        ),
        (
            {"lora": {"train_sentinels": True}, "masking": {"format": "in_place"}},
            "lora.train_sentinels: found true, but no window has sentinels",
        ),
        (
            {
                "lora": {"lora_layers": "top_half"},
                "training": {"gradient_checkpointing_kwargs": {"use_reentrant": True}},
            },
            "lora.lora_layers: found top_half; reentrant",
        ),
        (
            {"training": {"early_stopping_patience": 2, "eval_strategy": "no"}},
            "training.early_stopping_patience: found 2",
        ),
        ({"training": {"max_drift_kl": 0.1}}, "training.max_drift_kl: found 0.1, but no best"),
    ],
)
def test_options_that_would_do_nothing_or_harm_are_refused(values, problem):
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert any(line.startswith(problem) for line in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    "values",
    [
        {"objective": {"target_kl": 0.1, "kl_beta": 0.05}},
        {"training": {"max_drift_kl": 0.1, "load_best_model_at_end": True}},
        {"training": {"max_drift_kl": 0.1, "early_stopping_patience": 3}},
        {"training": {"gradient_checkpointing": "auto"}, "lora": {"lora_layers": "top_quarter"}},
    ],
)
def test_the_same_options_used_rightly_are_accepted(values):
    config = parse_config(values)
    for section, options in values.items():
        for option, value in options.items():
            assert getattr(getattr(config, section), option) == value


def test_gradient_checkpointing_takes_no_other_word():
    with pytest.raises(ConfigError, match="true, false or auto"):
        parse_config({"training": {"gradient_checkpointing": "sometimes"}})
