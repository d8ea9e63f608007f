"""Written samples: the same after an interruption, kept under all that they depend on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stylellm.errors import DataError
from stylellm.evaluation import generated
from stylellm.evaluation.extraction import extraction, shared
from stylellm.evaluation.generated import Plan, own_prompts, shipped_prompts, write_samples
from stylellm.generation.sampler import Sampling


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(own_prompts(["风从", "雪已经下了", "剑"]), 5, 12, 2, 7, Sampling(max_new_tokens=8))


def test_shipped_prompts_are_of_three_kinds_in_turn() -> None:
    prompts = shipped_prompts()
    assert [p.kind for p in prompts[:6]] == ["neutral", "dialogue", "scene"] * 2
    assert len({p.text for p in prompts}) == len(prompts) >= 48
    with pytest.raises(DataError, match=r"evaluation\.prompts"):
        own_prompts([])


def test_an_interrupted_run_goes_on_with_the_same_texts(
    make_policy, tiny_tokenizer, plan, tmp_path, monkeypatch
) -> None:
    policy = make_policy(trained=True)
    whole, name = write_samples(policy, tiny_tokenizer, plan, progress=False)
    assert len(whole) == 5
    assert all(len(row[m]) <= 12 for row in whole for m in ("base", "policy"))
    assert any(row["base"] != row["policy"] for row in whole)
    draw, drawn = generated._draw, []

    def noted(*args):
        drawn.append(args[-1])
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(generated, "_draw", noted)
    with pytest.raises(KeyboardInterrupt):
        write_samples(policy, tiny_tokenizer, plan, cache=tmp_path, progress=False)
    file = tmp_path / f"{name}.jsonl"
    with file.open("a", encoding="utf-8") as stream:
        stream.write('\n{"start": 2, "rows": [{"pro')  # cut off while it was written
    again, _ = write_samples(policy, tiny_tokenizer, plan, cache=tmp_path, progress=False)
    assert again == whole
    assert drawn == [0, 2, 2, 4]  # the first batch was kept
    assert write_samples(policy, tiny_tokenizer, plan, cache=tmp_path, progress=False)[0] == whole
    assert drawn == [0, 2, 2, 4]


def test_the_name_depends_on_weights_prompts_and_settings(
    make_policy, tiny_tokenizer, plan
) -> None:
    policy = make_policy(trained=True)

    def name(of=policy, **changes):
        return generated.cache_name(of, tiny_tokenizer, replace(plan, **changes))

    assert name() == name() == name(num_samples=9)
    others = {
        name(make_policy(trained=True, seed=1)),
        name(seed=8),
        name(batch_size=3),
        name(prompts=own_prompts(["雪"])),
        name(sampling=Sampling(max_new_tokens=8, top_p=0.5)),
    }
    assert len(others | {name()}) == 6


def test_extraction_counts_what_is_continued_verbatim(
    make_policy, tiny_tokenizer, story, monkeypatch
) -> None:
    windows = [{"text": story[a : a + 40], "ends_document": False} for a in (0, 40, 80)]
    goals = [w["text"][20:30] for w in windows]

    def by_heart(policy, tokenizer, prompts, sampling, *, use_adapter, **options):
        assert not sampling.do_sample and prompts == [w["text"][:20] for w in windows]
        return [goals[0] + "别的", goals[1][:4] + "错", ""] if use_adapter else ["", "", ""]

    monkeypatch.setattr("stylellm.evaluation.extraction.generate", by_heart)
    found = extraction(None, None, windows, tokens=9, prefix_chars=20, target_chars=10)
    assert found is not None
    assert found["policy"]["value"] == pytest.approx(1 / 3)
    assert found["base"]["value"] == 0 and found["difference"]["value"] == pytest.approx(1 / 3)
    assert found["matched"]["policy"]["value"] == pytest.approx(14 / 3)
    assert found["policy"]["n"] == 3 and found["policy"]["small"]
    assert extraction(None, None, windows, tokens=9) is None
    monkeypatch.undo()
    real = extraction(
        make_policy(trained=True),
        tiny_tokenizer,
        windows,
        tokens=9,
        prefix_chars=20,
        target_chars=5,
    )
    assert real is not None and 0 <= real["policy"]["value"] <= 1


def test_shared_beginning() -> None:
    assert [shared("甲乙丙", other) for other in ("甲乙丁", "甲乙丙丁", "", "乙")] == [2, 3, 0, 0]
