"""Controls that must come out right whatever is measured later."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import pytest

from stylellm.corpus.read import decode
from stylellm.evaluation.gate import Limits, failures, judge
from stylellm.evaluation.likelihood import window_likelihood
from stylellm.evaluation.scale import positions
from stylellm.evaluation.settings import Settings
from stylellm.evaluation.texts import ROWS, Texts, comparable
from stylellm.evaluation.written import style_table


def demo_text(root, part: str) -> str:
    folder = root / "data" / "demo" / part
    if part == "general":
        lines = (folder / "general.jsonl").read_text(encoding="utf-8").splitlines()
        return comparable("\n".join(json.loads(line)["text"] for line in lines))
    paths = sorted(folder.glob("*.txt"))
    return comparable("\n".join(decode(path.read_bytes()).text for path in paths))


def windows(text: str, work: str, size: int = 400) -> list[dict]:
    pieces = [text[a : a + size] for a in range(0, len(text), size)]
    return [
        {"text": piece, "work": work, "chapter": f"第{k // 10 + 1}回", "ends_document": False}
        for k, piece in enumerate(pieces)
    ]


@pytest.fixture(scope="module")
def books(repo_root) -> dict[str, str]:
    return {part: demo_text(repo_root, part) for part in ("author", "general", "other_author")}


@pytest.fixture(scope="module")
def texts(books) -> Texts:
    author = books["author"]
    # The held-out rows interleave with the training text, so that all parts tell the same story.
    parts = windows(author, "断雁行")
    return Texts(
        author_train=[w for k, w in enumerate(parts) if k % 4 > 1],
        author_test=[w for k, w in enumerate(parts) if k % 4 == 0],
        general_test=windows(books["general"], "general"),
        other_test=windows(books["other_author"], "other"),
    )


def samples_of(base: str, policy: str, count: int = 16, size: int = 400) -> list[dict]:
    return [
        {"prompt": "夜", "base": base[k * size :][:size], "policy": policy[k * size :][:size]}
        for k in range(count)
    ]


def table(texts: Texts, base: str, policy: str) -> dict:
    samples = samples_of(base, policy)
    found = style_table(samples, texts, Settings(num_prefixes=0))
    return found | {"samples": samples}


@pytest.fixture(scope="module")
def own(texts, books) -> dict:
    """The policy writes the author's own further text; the base writes general text."""
    parts = windows(books["author"], "")
    further = "".join(w["text"] for k, w in enumerate(parts) if k % 4 == 1)
    return table(texts, books["general"], further)


@pytest.mark.slow
def test_the_authors_own_text_scores_near_one(own) -> None:
    found = positions(own)
    for measure in ("function_word_jsd", "ngram_overlap"):
        assert found[measure] is not None
        assert 0.7 < found[measure]["policy"] < 1.3, measure


@pytest.mark.slow
def test_another_author_is_where_his_own_row_is(texts, books, own) -> None:
    found = positions(table(texts, books["general"], books["other_author"]))
    for measure in ("function_word_jsd", "ngram_overlap"):
        assert found[measure] is not None
        gap = found[measure]["policy"] - found[measure]["other_author"]
        assert abs(gap) < 0.2, measure
        assert found[measure]["policy"] < positions(own)[measure]["policy"] - 0.2


@pytest.mark.slow
def test_every_measure_sees_whose_text_it_is(own) -> None:
    rows = own["style"]
    assert set(rows) == set(ROWS)
    for row in rows.values():
        assert {"function_word_jsd", "burrows_delta", "imposters", "rhythm", "attribution",
                "two_sample", "memorisation", "degeneration"} <= set(row)  # fmt: skip
    near = {name: row["burrows_delta"]["author"]["value"] for name, row in rows.items()}
    assert max(near["policy"], near["held_out_author"]) < min(near["base"], near["other_author"])
    wins = {name: row["imposters"]["value"] for name, row in rows.items()}
    assert wins["policy"] > 0.9 and wins["base"] < 0.1 and wins["other_author"] < 0.1
    for kind in ("svm", "bayes"):
        share = {name: row["attribution"][kind]["share"]["value"] for name, row in rows.items()}
        assert share["policy"] > 0.7 > 0.3 > share["base"]
    auc = {name: row["two_sample"]["value"] for name, row in rows.items()}
    assert auc["base"] > 0.9 > auc["policy"]
    assert own["zeta"]["used"]["policy"]["value"] > own["zeta"]["used"]["base"]["value"]
    nearest = own["rolling"]["rows"]["policy"]
    assert all(a < b for a, b in zip(nearest["author"], nearest["general"], strict=True))
    assert own["not_measured"] == {}
    assert rows["policy"]["function_word_jsd"]["small"]


@pytest.mark.slow
def test_the_tree_puts_the_policy_on_the_authors_branch(own) -> None:
    """His passages, held out and "written" by the policy, stand side by side; no other between."""
    tree = own["tree"]
    kinds = [tree["leaves"][i]["kind"] for i in tree["order"]]
    his = [kind in ("author", "policy", "held_out_author") for kind in kinds]
    assert {"general", "base", "other_author", "policy"} <= set(kinds)
    assert sum(a != b for a, b in pairwise(his)) <= 2
    assert len(tree["xs"]) == len(tree["ys"]) == len(kinds) - 1


@pytest.mark.slow
def test_a_spliced_copy_fails_the_gate_and_names_the_book(texts, books) -> None:
    stolen = "".join(comparable(texts.author_train[3]["text"]).split())[40:100]
    written = books["general"][:200] + stolen + books["general"][200:340]
    samples = samples_of(books["general"], books["general"][3000:])
    samples.append({"prompt": "夜", "base": books["general"][:400], "policy": written})
    result = style_table(samples, texts, Settings())
    gate = judge(result, Limits())
    failed = {row["name"]: row for row in gate["limits"] if row["passed"] is False}
    assert not gate["passed"] and "longest_copy" in failed
    assert failed["longest_copy"]["value"] >= 60
    place = texts.author_train[3]
    assert place["work"] in failed["longest_copy"]["detail"]
    assert place["chapter"] in failed["longest_copy"]["detail"]
    assert any(line.startswith("longest copy: ") and "断雁行" in line for line in failures(gate))
    (run,) = [run for run in samples[-1]["copies"]["policy"] if run["length"] >= 60]
    assert "".join(written[run["start"] : run["end"]].split()) in "".join(run["text"].split())
    assert run["start"] <= 200 and run["end"] >= 260
    assert judge(table(texts, books["general"], books["general"][3000:]), Limits())["passed"]


@pytest.mark.slow
def test_shuffled_characters_fail_on_likelihood(books) -> None:
    from stylellm.model.load import load_base, load_tokenizer
    from stylellm.model.policy import add_lora

    tokenizer = load_tokenizer("stylellm-tiny")
    policy = add_lora(load_base("stylellm-tiny"), base_name="stylellm-tiny", r=4).eval()
    real = windows(books["author"][:800], "w")
    mixed = [
        w | {"text": "".join(random.Random(0).sample(w["text"], len(w["text"])))} for w in real
    ]
    found, shuffled = (window_likelihood(policy, tokenizer, one) for one in (real, mixed))
    bits = [one.figures()["policy"]["bits_per_character"] for one in (found, shuffled)]
    assert bits[1]["value"] > 1.2 * bits[0]["value"]


def test_the_base_against_itself_has_no_drift(make_policy, tiny_tokenizer, story) -> None:
    found = window_likelihood(make_policy(), tiny_tokenizer, windows(story, "w", 60)).figures()
    assert found["kl"]["value"] == found["kl"]["high"] == 0.0
    for measure in ("nll_per_token", "bits_per_character"):
        assert found["difference"][measure]["value"] == 0.0
        assert found["difference"][measure]["low"] == found["difference"][measure]["high"] == 0.0
