"""The best checkpoint: the stated rule, and runs that keep it and stop by it."""

from __future__ import annotations

import pytest
import torch
from training_runs import adapter
from transformers import TrainerCallback

from stylellm.training.best import BestRule
from stylellm.training.run import last_checkpoint

NLL = [5.0, 4.0, 3.0, 2.0, 2.5, 2.6]
DRIFT = [0.1, 0.2, 0.4, 0.9, 0.3, 0.2]


def evaluations(count=6):
    rows = zip(NLL, DRIFT, strict=True)
    return [{"eval_loss": n, "eval_drift_kl": d} for n, d in rows][:count]


@pytest.mark.parametrize(
    ("bound", "best"), [(None, 3), (1.0, 3), (0.5, 4), (0.25, 5), (0.15, 0), (0.05, None)]
)
def test_the_best_is_the_likeliest_within_bounds(bound, best):
    assert BestRule("loss", max_drift_kl=bound).best(evaluations()) == best


def test_without_a_measured_drift_no_evaluation_is_within_bounds():
    rows = [{"eval_loss": 1.0}, {"eval_loss": float("nan")}]
    assert BestRule("loss", max_drift_kl=1.0).best(rows) is None
    assert BestRule("eval_loss").best(rows) == 0


def test_patience_counts_evaluations_after_the_best():
    rule = BestRule("loss", patience=2)
    assert [rule.exhausted(evaluations(n)) for n in range(1, 7)] == [False] * 5 + [True]
    bounded = BestRule("loss", max_drift_kl=0.25, patience=2)
    assert [bounded.exhausted(evaluations(n)) for n in range(1, 5)] == [False] * 3 + [True]
    assert not BestRule("loss").exhausted(evaluations())


class Weights(TrainerCallback):
    """What the adapter was after each step."""

    def __init__(self):
        self.after = {}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.after[state.global_step] = adapter(model)


@pytest.fixture
def start(make_policy, make_dataset, make_trainer):
    def start(folder, **options):
        rows = list(zip(NLL, DRIFT, strict=True))

        def measure(policy):
            nll, drift = rows[trainer.state.global_step - 1]
            return {"loss": nll, "author_nll": nll, "drift_kl": drift}

        rule = BestRule("loss", max_drift_kl=options.pop("bound", None),
                        patience=options.pop("patience", None))  # fmt: skip
        trainer = make_trainer(
            make_policy(), make_dataset(), measure=measure, best=rule, folder=folder,
            **{"max_steps": 6, "per_device_train_batch_size": 2, "eval_strategy": "steps",
               "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1,
               "load_best_model_at_end": True, **options},
        )  # fmt: skip
        weights = Weights()
        trainer.add_callback(weights)
        return trainer, weights

    return start


def assert_ends_with(trainer, weights, step):
    assert trainer.state.best_global_step == step
    for name, weight in adapter(trainer.model).items():
        assert torch.equal(weight, weights.after[step][name])
        assert step == 6 or not torch.equal(weight, weights.after[6][name])


@pytest.mark.parametrize(("bound", "step"), [(None, 4), (0.25, 6), (0.15, 1)])
def test_a_run_ends_with_its_best_checkpoint(start, tmp_path, bound, step):
    trainer, weights = start(tmp_path / "run", bound=bound)
    trainer.train()
    assert trainer.state.global_step == 6
    assert_ends_with(trainer, weights, step)


def test_without_any_within_bounds_the_last_is_kept(start, tmp_path):
    trainer, weights = start(tmp_path / "run", bound=0.01)
    trainer.train()
    assert trainer.state.best_model_checkpoint is None
    for name, weight in adapter(trainer.model).items():
        assert torch.equal(weight, weights.after[6][name])


def test_a_run_stops_when_patience_is_over_and_a_resumed_one_too(start, tmp_path):
    trainer, weights = start(tmp_path / "whole", bound=0.25, patience=2)
    trainer.train()
    assert trainer.state.global_step == 4
    assert trainer.state.best_global_step == 2
    for name, weight in adapter(trainer.model).items():
        assert torch.equal(weight, weights.after[2][name])

    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise KeyboardInterrupt

    cut, _ = start(tmp_path / "cut", bound=0.25, patience=2)
    cut.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    resumed, _ = start(tmp_path / "cut", bound=0.25, patience=2)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path / "cut")))
    assert resumed.state.global_step == 4
    for name, weight in adapter(resumed.model).items():
        assert torch.equal(weight, weights.after[2][name])
