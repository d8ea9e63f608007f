"""Merged models are the adapter: every kind of adapter, every type, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from stylellm.cli.main import main
from stylellm.delivery.merge import RECORD, TOLERANCE, check, compare, merge
from stylellm.errors import ModelError, OutputError, StyleLLMError
from stylellm.generation.strength import set_strength

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rows": {"trained_tokens": [2, 3]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "dora": {"use_dora": True},
}


def saved(make_policy: Any, folder: Path, **options: Any) -> Any:
    policy = make_policy(trained=True, **options)
    for name, weight in policy.named_parameters():
        if "trainable_tokens_delta" in name:
            weight.data += 0.5
    policy.save_pretrained(str(folder))
    return policy


@pytest.mark.parametrize("kind", KINDS)
def test_merged_equals_adapter(make_policy: Any, tmp_path: Path, kind: str) -> None:
    """The saved model, loaded by transformers alone, gives the policy's logits and not the base's."""
    policy = saved(make_policy, tmp_path / "adapter", **KINDS[kind])
    found = merge(tmp_path / "adapter", tmp_path / "merged", dtype="float32")
    plain = AutoModelForCausalLM.from_pretrained(str(tmp_path / "merged"), dtype=torch.float32)
    ids = torch.tensor([[5, 100, 2, 3, 42, 7]])
    with torch.inference_mode():
        wanted, got = policy(input_ids=ids).logits, plain(input_ids=ids).logits
        with policy.disable_adapter():
            base = policy(input_ids=ids).logits
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert (base - wanted).abs().max() > 0.01
    assert json.loads((tmp_path / "merged" / RECORD).read_text())["kl"] == found.kl <= 1e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_agree_within_their_tolerance(
    make_policy: Any, tmp_path: Path, dtype: str
) -> None:
    saved(make_policy, tmp_path / "adapter")
    found = merge(tmp_path / "adapter", tmp_path / "merged", dtype=dtype)
    assert 0 < found.kl <= TOLERANCE[dtype]
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == dtype


def test_a_wrong_merge_is_refused() -> None:
    """KL by hand: p = (1/2, 1/2), q = (3/4, 1/4) gives ln 2 - ln(3)/2."""
    p, q = torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log()
    found = compare([p], [q], "float32")
    assert found.kl == pytest.approx(0.14384103622589042, rel=1e-6)
    with pytest.raises(ModelError, match="differs from the adapter"):
        check(found)
    assert compare([q], [q], "float32").kl == 0
    with pytest.raises(ModelError):
        check(compare([p * float("nan")], [q], "float32"))


def test_what_cannot_be_merged(
    make_policy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(make_policy, tmp_path / "adapter")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(OutputError, match="exists already"):
        merge(tmp_path / "adapter", tmp_path / "full")
    command = ["export", "merge", str(tmp_path / "none"), "--output_dir", str(tmp_path / "out")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "does not exist" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_a_failed_export(
    make_policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(make_policy, tmp_path / "adapter")
    monkeypatch.setitem(TOLERANCE, "bfloat16", 0.0)
    with pytest.raises(ModelError, match="differs"):
        merge(tmp_path / "adapter", tmp_path / "merged", dtype="bfloat16")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter"]


def test_command(make_policy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(make_policy, tmp_path / "adapter")
    command = ["export", "merge", str(tmp_path / "adapter"), "--output_dir"]
    assert main([*command, str(tmp_path / "合并"), "--dtype", "float32"]) == 0
    assert "limit 1e-06" in capsys.readouterr().out
    assert (tmp_path / "合并" / "tokenizer.json").is_file()


@pytest.mark.parametrize("kind", ["plain", "rows"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.5])
def test_strength_is_merged(make_policy: Any, tmp_path: Path, kind: str, value: float) -> None:
    policy = saved(make_policy, tmp_path / "adapter", **KINDS[kind])
    command = ["export", "merge", str(tmp_path / "adapter"), "--output_dir", str(tmp_path / "out")]
    assert main([*command, "--dtype", "float32", "--strength", str(value)]) == 0
    plain = AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"), dtype=torch.float32)
    ids = torch.tensor([[5, 100, 2, 3, 42, 7]])
    set_strength(policy, value)
    with torch.inference_mode():
        torch.testing.assert_close(
            plain(input_ids=ids).logits, policy(input_ids=ids).logits, atol=1e-4, rtol=1e-4
        )
    assert json.loads((tmp_path / "out" / RECORD).read_text())["strength"] == value


def test_a_strength_that_cannot_be(make_policy: Any, tmp_path: Path) -> None:
    saved(make_policy, tmp_path / "adapter", **KINDS["dora"])
    for value in (0.5, 3.0):
        with pytest.raises(StyleLLMError, match=r"DoRA|strength of 3"):
            merge(tmp_path / "adapter", tmp_path / "out", strength=value)
    assert not (tmp_path / "out").exists()


def test_auto_is_the_type_of_the_base_that_is_named(
    make_policy: Any, tiny_model_dir: Path, tmp_path: Path
) -> None:
    saved(make_policy, tmp_path / "adapter")
    half = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    for file in tiny_model_dir.glob("tokenizer*"):
        (tmp_path / "half" / file.name).write_bytes(file.read_bytes())
    found = merge(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "half"))
    assert found.dtype == "bfloat16"


def test_weights_that_exist_only_quantised(
    make_policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What transformers loads of a saved GPTQ, AWQ or 4-bit model says so in its configuration."""
    policy = saved(make_policy, tmp_path / "adapter")
    policy.get_base_model().config.quantization_config = {"quant_method": "gptq", "bits": 4}
    monkeypatch.setattr("stylellm.delivery.merge.load_policy", lambda *a, **k: (policy, None))
    with pytest.raises(ModelError, match="saved quantised"):
        merge(tmp_path / "adapter", tmp_path / "out")
    assert not (tmp_path / "out").exists()
