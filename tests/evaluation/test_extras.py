"""MAUVE and lm-evaluation-harness: real packages, a tiny model, oracles of our own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_result import full_result

from stylellm.errors import DataError, StyleLLMError
from stylellm.evaluation import harness, mauve_score
from stylellm.evaluation.report import to_html, to_markdown
from stylellm.evaluation.settings import Settings
from stylellm.evaluation.suite import evaluate_policy
from stylellm.evaluation.texts import Texts
from tiny_models import STORY

TASK = Path(__file__).resolve().parents[2] / "configs" / "lm_eval" / "common_zh.yaml"


@pytest.fixture(scope="module")
def policy(make_policy: Any) -> Any:
    return make_policy(trained=True)


def pieces(seed: int, count: int = 60) -> list[str]:
    """Sentences of the story in another order each."""
    lines = STORY.replace("\n", "").split("。")
    draw = random.Random(seed)
    return ["。".join(draw.sample(lines, 3)) + "。" for _ in range(count)]


def test_features_are_the_bases_last_states(policy: Any, tiny_tokenizer: Any) -> None:
    """One by one, through transformers' own outputs with the adapter off; batch and padding do nothing."""
    texts = ["剑光一闪", "他", "雪下了三天，路上没有人。"]
    found = mauve_score.features(policy, tiny_tokenizer, texts, batch_size=2)
    with policy.disable_adapter(), torch.inference_mode():
        for text, row in zip(texts, found, strict=True):
            ids = torch.tensor([tiny_tokenizer(text)["input_ids"]])
            states = policy(input_ids=ids, output_hidden_states=True).hidden_states[-1]
            np.testing.assert_allclose(row, states[0, -1].numpy(), rtol=2e-4, atol=2e-4)


def test_mauve_of_the_author_is_one_and_of_noise_is_less(policy: Any, tiny_tokenizer: Any) -> None:
    pytest.importorskip("mauve", reason='pip install ".[mauve]"')
    noise = ["".join(random.Random(i).choices("的一是不了人我在有他", k=40)) for i in range(60)]
    rows = {"held_out_author": pieces(1), "policy": pieces(2), "base": noise}
    author = "".join(pieces(3, 80))
    found = mauve_score.mauve_of_rows(policy, tiny_tokenizer, rows, author, seed=1)
    assert found["held_out_author"]["value"] == 1.0
    assert found["base"]["value"] < 0.5 < found["policy"]["value"]
    assert found["policy"]["n"] == 60 and found["policy"]["small"]
    again = mauve_score.mauve_of_rows(policy, tiny_tokenizer, rows, author, seed=1)
    assert again == found
    assert mauve_score.mauve_of_rows(policy, tiny_tokenizer, {"policy": noise}, author) == {}


@pytest.mark.slow
def test_tasks_against_our_own_likelihood(policy: Any, tiny_tokenizer: Any) -> None:
    """The harness's accuracy is that of choosing the ending of least NLL, computed one by one."""
    pytest.importorskip("lm_eval", reason='pip install ".[lm-eval]"')
    rows = harness.run_tasks(policy, tiny_tokenizer, [str(TASK)], limit=8, batch_size=4)
    by_metric = {row["metric"]: row for row in rows}
    assert by_metric["acc"]["n"] == 8 and by_metric["acc"]["higher_is_better"]
    lines = (TASK.parent / "common_zh.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    for which in ("base", "policy"):
        right = 0
        for line in map(json.loads, lines):
            scores = [
                _logp(policy, tiny_tokenizer, line["text"], c, which) for c in line["choices"]
            ]
            right += int(np.argmax(scores)) == line["answer"]
        assert by_metric["acc"][which] == pytest.approx(right / 8)


def _logp(policy: Any, tokenizer: Any, text: str, ending: str, which: str) -> float:
    whole, start = tokenizer(text + ending)["input_ids"], len(tokenizer(text)["input_ids"])
    ids = torch.tensor([whole])
    with torch.inference_mode():
        if which == "base":
            with policy.disable_adapter():
                logits = policy(input_ids=ids).logits
        else:
            logits = policy(input_ids=ids).logits
    rows = logits[0].log_softmax(-1)
    return float(sum(rows[i - 1, whole[i]] for i in range(start, len(whole))))


@pytest.mark.slow
def test_both_in_the_evaluation_and_the_report(policy: Any, tiny_tokenizer: Any) -> None:
    pytest.importorskip("mauve")
    pytest.importorskip("lm_eval")
    window = {
        "text": STORY,
        "num_tokens": 200,
        "work": "甲",
        "chapter": "一",
        "ends_document": True,
    }
    parts = [
        {**window, "text": "\n".join(pieces(i, 10))[:230], "chapter": str(i)} for i in range(6)
    ]
    texts = Texts(author_train=parts[:4], author_test=parts[4:], general_test=[], other_test=[],
                  general_train=[])  # fmt: skip
    settings = Settings(
        num_windows=2, num_samples=4, sample_chars=20, num_prefixes=0, mauve=True,
        lm_eval_tasks=[str(TASK)], lm_eval_limit=4,
    )  # fmt: skip
    result = evaluate_policy(policy, tiny_tokenizer, texts, settings, progress=False)
    assert result["style"]["policy"]["mauve"]["n"] <= 4
    assert {row["task"] for row in result["lm_eval"]} == {"common_zh"}
    for page in (to_html(result), to_markdown(result)):
        assert "common\\_zh · acc ↑" in page or "common_zh · acc ↑" in page
        assert "MAUVE" in page
    assert {"mauve", "lm_eval"} <= set(result["timing"])
    assert "harness" not in to_html(full_result())


def test_what_is_missing_is_said_before_the_work(
    policy: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        harness.load_task(str(tmp_path / "none.yaml"))
    (tmp_path / "bad.yaml").write_text("dataset_path: json\n")
    with pytest.raises(DataError, match="names no task"):
        harness.load_task(str(tmp_path / "bad.yaml"))
    assert harness.load_task("cmmlu") == "cmmlu"
    monkeypatch.setattr("stylellm.errors.find_spec", lambda name: None)
    empty = Texts(author_train=STORY, author_test=[{"text": STORY, "ends_document": True}])
    for settings, extra in (
        (Settings(mauve=True), r"\[mauve\]"),
        (Settings(lm_eval_tasks=["cmmlu"]), r"\[lm-eval\]"),
    ):
        with pytest.raises(StyleLLMError, match=f'not installed.*pip install "\\.{extra}"'):
            evaluate_policy(policy, tiny_tokenizer, empty, settings)
