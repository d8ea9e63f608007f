"""Finding and loading the base: every failure is one clear line."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from stylellm.errors import ModelError
from stylellm.model.load import (
    TINY_NAME,
    check_max_length,
    load_base,
    load_tokenizer,
    model_location,
)


@pytest.fixture
def copy_of_model(tiny_model_dir, tmp_path):
    folder = tmp_path / "模 型"  # Chinese and a space, as on many a user's disk
    shutil.copytree(tiny_model_dir, folder)
    return folder


def failure(function, *args, **options):
    with pytest.raises(ModelError) as raised:
        function(*args, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_local_folder_loads_with_its_tokenizer(copy_of_model, tiny_model_dir):
    model, tokenizer = load_base(str(copy_of_model)), load_tokenizer(str(copy_of_model))
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert tokenizer.pad_token_id is not None
    assert tokenizer.padding_side == "right"
    original = load_base(str(tiny_model_dir)).state_dict()
    assert all(torch.equal(v, original[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtype_is_that_of_the_weights(tiny_model_dir, dtype):
    model = load_base(str(tiny_model_dir), dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is a 16-bit type on a GPU")
def test_dtype_auto_is_float32_on_a_cpu_whatever_the_checkpoint_says(copy_of_model):
    load_base(str(copy_of_model), dtype="bfloat16").save_pretrained(str(copy_of_model))
    assert load_base(str(copy_of_model)).dtype == torch.float32


def test_a_tokenizer_without_padding_token_pads_with_the_end_of_text(copy_of_model):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = copy_of_model / name
        if file.is_file():
            settings = json.loads(file.read_text(encoding="utf-8"))
            settings["pad_token"] = None
            file.write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = load_tokenizer(str(copy_of_model))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_the_embedded_model_lies_inside_the_package():
    assert model_location(TINY_NAME).replace("\\", "/").endswith(f"stylellm/assets/{TINY_NAME}")


def test_a_hub_id_stays_as_it_is():
    assert model_location("nobody/nothing-0b") == "nobody/nothing-0b"


@pytest.mark.parametrize("name", ["./no/such/model", "/no/such/model", "~/no-such-model", "a/b/c"])
@pytest.mark.parametrize("load", [load_base, load_tokenizer])
def test_a_folder_that_does_not_exist(load, name):
    message = failure(load, name)
    assert f"{name} does not exist" in message
    assert "model_name_or_path" in message


@pytest.mark.parametrize("load", [load_base, load_tokenizer])
def test_a_folder_without_config(load, copy_of_model):
    (copy_of_model / "config.json").unlink()
    assert "no config.json" in failure(load, str(copy_of_model))


@pytest.mark.parametrize("load", [load_base, load_tokenizer])
def test_a_file_in_place_of_a_folder(load, copy_of_model):
    assert "is a file" in failure(load, str(copy_of_model / "config.json"))


def test_a_folder_without_tokenizer(copy_of_model):
    for file in copy_of_model.glob("*token*"):
        file.unlink()
    message = failure(load_tokenizer, str(copy_of_model))
    assert "holds no tokenizer" in message
    assert "tokenizer.json" in message


@pytest.mark.parametrize("load", [load_base, load_tokenizer])
def test_a_hub_id_that_cannot_be_reached(load):
    message = failure(load, "nobody/nothing-0b")
    assert "nobody/nothing-0b" in message
    assert "stylellm-tiny" in message


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{ not json"),
        ("config.json", '{"model_type": "no_such_architecture"}'),
        ("model.safetensors", "not a tensor file"),
        ("model.safetensors", None),
    ],
)
def test_a_damaged_model_folder(copy_of_model, file, content):
    if content is None:
        (copy_of_model / file).unlink()
    else:
        (copy_of_model / file).write_text(content, encoding="utf-8")
    message = failure(load_base, str(copy_of_model))
    assert str(copy_of_model) in message
    assert (
        "from the hub" not in message.split(";")[0]
    )  # it was found: not a question of the network


def test_weights_of_another_shape(copy_of_model):
    config = json.loads((copy_of_model / "config.json").read_text(encoding="utf-8"))
    config["intermediate_size"] *= 2
    (copy_of_model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert str(copy_of_model) in failure(load_base, str(copy_of_model))


def test_a_damaged_tokenizer(copy_of_model):
    (copy_of_model / "tokenizer.json").write_text("{ not json", encoding="utf-8")
    assert str(copy_of_model) in failure(load_tokenizer, str(copy_of_model))


def test_a_tokenizer_without_end_of_text_token(copy_of_model, monkeypatch):
    from transformers import AutoTokenizer

    bare = SimpleNamespace(eos_token_id=None)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **options: bare)
    assert "end-of-text" in failure(load_tokenizer, str(copy_of_model))


def test_a_head_with_a_bias_is_refused(tmp_path):
    from transformers import PhiConfig, PhiForCausalLM

    config = PhiConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    PhiForCausalLM(config).save_pretrained(str(tmp_path / "phi"))
    assert "bias" in failure(load_base, str(tmp_path / "phi"))


def test_a_model_that_caps_its_logits_is_refused(tmp_path):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, final_logit_softcapping=30.0,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(str(tmp_path / "gemma"))
    message = failure(load_base, str(tmp_path / "gemma"), attn_implementation="eager")
    assert "final_logit_softcapping=30" in message


def test_a_model_that_scales_its_logits_is_refused(tmp_path):
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, logits_scaling=8.0,
    )  # fmt: skip
    GraniteForCausalLM(config).save_pretrained(str(tmp_path / "granite"))
    assert "logits_scaling=8" in failure(load_base, str(tmp_path / "granite"))


def test_max_length_beyond_the_positions_is_refused(tiny_model_dir):
    model = load_base(str(tiny_model_dir))
    check_max_length(model, 256)
    message = failure(check_max_length, model, 257)
    assert "257" in message
    assert "data.max_length: 256" in message
