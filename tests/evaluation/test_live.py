"""The light evaluation during training, and the exit code of the gate."""

from __future__ import annotations

from stylellm.cli.evaluate import GATE_FAILED, print_gate
from stylellm.evaluation import live
from stylellm.evaluation.gate import Limits, judge
from stylellm.generation.sampler import Sampling
from stylellm.stylometry import function_words


def test_live_figures_are_those_of_the_written_texts(
    make_policy, tiny_tokenizer, story, monkeypatch
) -> None:
    policy = make_policy(trained=True)
    window = {"text": story, "work": "w", "chapter": "", "ends_document": True}
    written: list[list[str]] = []
    generate = live.generate

    def noted(*args, **options):
        written.append(generate(*args, **options))
        return written[-1]

    monkeypatch.setattr(live, "generate", noted)
    measure = live.live_style(
        tiny_tokenizer, [window], Sampling(max_new_tokens=20), num_samples=3, batch_size=2, seed=5
    )
    found = measure(policy)
    assert measure(policy) == found and len(written[0]) == 3
    own = live.comparable(story)
    joined = "".join(map(live.comparable, written[0]))
    assert found["function_word_jsd"] == function_words.jsd(joined, own)
    monkeypatch.setattr(live, "generate", lambda *args, **options: ["云" + story[5:45], "", "云"])
    assert measure(policy)["longest_copy"] == len("".join(story[5:45].split()))


def test_the_gate_has_an_exit_code_of_its_own(capsys) -> None:
    assert GATE_FAILED == 3
    result = {"drift_kl": 0.75}
    assert print_gate(judge(result, Limits())) == 3
    assert capsys.readouterr().out == "gate failed: drift KL: 0.75 > 0.5\n"
    assert print_gate(judge(result, Limits(drift_kl=1))) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("gate passed (not measured: longest copy")
