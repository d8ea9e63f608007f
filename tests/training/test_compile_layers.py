"""training.torch_compile: the decoder's layers run compiled in training steps, and compute the same."""

from __future__ import annotations

import pytest
import torch
from test_resume import assert_resumes, start_run  # noqa: F401
from test_variants import packed, singles, step_by_hand, step_of  # noqa: F401

from stylellm.errors import TrainingError
from stylellm.model.compiled_layers import CompiledLayers
from stylellm.model.passes import Passes
from stylellm.model.policy import backbone_of
from stylellm.training.trainer import Objective


@pytest.fixture(autouse=True)
def fresh_compiler():
    """A test's compiled forms are its own: a process may hold few of one piece of code."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def forms():
    """How many graphs were compiled in this test."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture(scope="module", autouse=True)
def compiler():
    """Skips where there is no compiler."""
    try:
        torch.compile(lambda x: x * 2)(torch.ones(3))
    except Exception as error:
        pytest.skip(f"no working compiler here: {error}")


pytestmark = pytest.mark.slow


def assert_near(found, wanted):
    """The layers' norms are in float32 whatever the weights are, and fused they are rounded elsewhere."""
    assert found[1] == pytest.approx(wanted[1], rel=1e-6)
    assert found[0].keys() == wanted[0].keys()
    for name, gradient in wanted[0].items():
        assert (found[0][name] - gradient).norm() <= 1e-5 * gradient.norm(), name


WAYS = {
    "plain": ({}, {}, 0),
    "DoRA": ({"use_dora": True}, {}, 0),
    "upper layers": ({"layers": [1]}, {}, 1),
    "checkpointed": ({}, {"gradient_checkpointing": True}, 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_the_plain_step(
    make_policy, make_dataset, make_trainer, objective, way
):
    lora, options, shared = WAYS[way]
    policy, dataset = make_policy(trained=True, double=True, **lora), make_dataset()
    wanted = step_by_hand(policy, [dataset[i] for i in range(8)], objective)
    found = step_of(
        make_trainer, policy, dataset, passes=Passes(shared), compile_layers=True, **options
    )
    assert forms() >= 2  # policy and reference
    assert_near(found, wanted)


def test_packed_windows_too(make_policy, make_trainer, packed):  # noqa: F811
    policy = make_policy(trained=True, double=True)
    dataset, _ = packed
    items = singles(dataset)
    counts = [sum(sum(item[key]) for item in items) for key in ("kl_mask", "general_mask")]
    objective = Objective(kl_beta=counts[0] / 128, general_beta=counts[1] / 32)
    wanted = step_by_hand(policy, items, objective)
    found = step_of(make_trainer, policy, dataset, objective=objective, compile_layers=True)
    assert_near(found, wanted)


def test_forms_are_few_and_serve_steps_alone(make_policy, make_dataset, make_trainer):
    policy = make_policy(trained=True)
    trainer = make_trainer(
        policy, make_dataset(num_author=12, num_general=2), max_steps=5,
        per_device_train_batch_size=3, compile_layers=True,
    )  # fmt: skip
    trainer.train()
    count = forms()
    assert 2 <= count <= 4  # policy and reference, and both again for a last batch of one row
    assert all(layer._compiled_call_impl is None for layer in backbone_of(policy).layers)
    with torch.no_grad():
        policy(input_ids=torch.arange(9)[None])
    assert forms() == count


def test_dropout_is_drawn_again_as_it_was_where_layers_run_twice(
    make_policy, make_dataset, make_trainer
):
    def gradients(checkpointing):
        torch.manual_seed(5)
        policy = make_policy(trained=True, double=True, dropout=0.3)
        return step_of(
            make_trainer, policy, make_dataset(), compile_layers=True,
            gradient_checkpointing=checkpointing,
        )  # fmt: skip

    assert_near(gradients(True), gradients(False))


def test_a_run_resumes_to_the_same_weights(start_run, tmp_path):  # noqa: F811
    assert_resumes(start_run, tmp_path, compile_layers=True)


def test_a_compiler_that_fails_is_one_sentence(
    make_policy, make_dataset, make_trainer, monkeypatch
):
    def failing(graph, inputs):
        raise RuntimeError("no C++ compiler found\nlong trace")

    compile = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **options: compile(f, backend=failing, **options)
    )
    policy = make_policy()
    trainer = make_trainer(policy, make_dataset(), compile_layers=True)
    with pytest.raises(TrainingError, match=r"torch_compile failed \(.*no C\+\+ compiler found"):
        trainer.train()
    assert all(layer._compiled_call_impl is None for layer in backbone_of(policy).layers)
    assert isinstance(trainer.layers, CompiledLayers)
