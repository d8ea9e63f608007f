"""Shapes against transformers' own models, counted on the meta device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylellm.doctor.memory import adapter_parameters
from stylellm.doctor.setup import Setup, with_targets
from stylellm.doctor.shapes import QWEN25, Shape, known_shape, shape_from_config, shape_of
from stylellm.errors import ModelError

# As their model cards and safetensors indexes state them.
PUBLISHED = {
    "0.5B": 494_032_768,
    "1.5B": 1_543_714_304,
    "3B": 3_085_938_688,
    "7B": 7_615_616_512,
    "14B": 14_770_033_664,
    "32B": 32_763_876_352,
    "72B": 72_706_203_648,
}


def config_of(shape: Shape, layers: int) -> dict:
    return {
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
        "num_hidden_layers": layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
    }  # fmt: skip


@pytest.mark.parametrize("size", QWEN25)
def test_parameters_are_those_of_the_published_models(size: str) -> None:
    assert QWEN25[size].parameters == PUBLISHED[size]


@pytest.mark.parametrize("size", ["0.5B", "7B"])
def test_parameters_of_transformers_own_model(size: str) -> None:
    """Two layers are enough: the rest is proportional."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = QWEN25[size]
    with torch.device("meta"):
        model = Qwen2ForCausalLM(Qwen2Config(**config_of(shape, 2)))
    two = shape_from_config({**config_of(shape, 2), "model_type": "qwen2"})
    assert model.num_parameters() == two.parameters
    from stylellm.model.policy import add_lora

    policy = add_lora(model, base_name="x", r=16)
    trained = policy.get_nb_trainable_parameters()[0]
    assert trained == adapter_parameters(two, Setup(lora_r=16))


def test_adapter_on_some_layers() -> None:
    shape, some = QWEN25["0.5B"], ("q_proj", "v_proj")
    expected = 24 * 8 * ((896 + 896) + (896 + 128))
    assert adapter_parameters(shape, with_targets(Setup(lora_r=8), some)) == expected


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen2.5-7B", "7B"),
        ("Qwen/Qwen2.5-7B-Instruct", "7B"),
        ("qwen/qwen2.5-coder-1.5b", "1.5B"),
        ("models/Qwen2.5-Math-72B/", "72B"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", None),
        ("Qwen/Qwen2.5-9B", None),
        ("stylellm-tiny", None),
    ],
)
def test_known_names(name: str, size: str | None) -> None:
    assert known_shape(name) == (QWEN25[size] if size else None)


def test_shape_of_a_folder(tiny_model_dir: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = shape_of("it", tiny_model_dir)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny_model_dir))
    assert shape.parameters == model.num_parameters()


def test_a_llama_has_no_bias_and_may_untie(tmp_path: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(hidden_size=64, intermediate_size=160, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, vocab_size=300)  # fmt: skip
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert shape_of("it", tmp_path).parameters == model.num_parameters()


def test_unknown_and_broken(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not known here.*stylellm download"):
        shape_of("somebody/else", None)
    file = tmp_path / "config.json"
    for text in ("{", "[]", "{}", json.dumps({"model_type": "mixtral"}),
                 json.dumps({"model_type": "qwen2", "hidden_size": 8})):  # fmt: skip
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ModelError):
            shape_of("it", tmp_path)
