"""The trainer: token-exact normalisation, what is logged, epochs and devices."""

from __future__ import annotations

import pytest
import torch
from training_runs import Epochs, Recorder, adapter, loss_by_hand, sums_by_hand, training_rows
from transformers import TrainerCallback

from stylellm.errors import TrainingError
from stylellm.model import products
from stylellm.model.load import load_base
from stylellm.model.passes import Passes
from stylellm.model.policy import add_lora, load_policy
from stylellm.training.trainer import Objective, StyleTrainer
from tiny_models import save_tiny_model, save_tiny_tokenizer


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2), (2, 4), (3, 3), (1, 8)])
def test_gradients_do_not_depend_on_how_a_step_is_cut(
    make_policy, make_dataset, make_trainer, whole_step, batch, accumulation
):
    trainer = make_trainer(
        make_policy(trained=True, double=True),
        make_dataset(),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
    )
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    [found] = recorder.gradients
    assert found.keys() == whole_step["gradients"].keys()
    for name, gradient in whole_step["gradients"].items():
        assert gradient.abs().max() > 1e-6
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)
    [row] = training_rows(trainer)
    assert row["loss"] == pytest.approx(whole_step["loss"], rel=1e-6)


def test_the_log_holds_the_parts_of_the_loss(
    make_policy, make_dataset, make_trainer, whole_step, objective
):
    trainer = make_trainer(
        make_policy(trained=True, double=True), make_dataset(), gradient_accumulation_steps=2
    )
    trainer.train()
    [row] = training_rows(trainer)
    nll, kl, general_kl = whole_step["parts"]
    assert row["reconstruction"] == pytest.approx(nll, rel=1e-6)
    assert row["kl"] == pytest.approx(kl, rel=1e-6)
    assert row["general_kl"] == pytest.approx(general_kl, rel=1e-6)
    assert [row["num_labels"], row["num_kl"], row["num_general"]] == whole_step["counts"]
    beta, general_beta = objective.kl_beta, objective.general_beta
    assert row["loss"] == pytest.approx(nll + beta * kl + general_beta * general_kl, rel=1e-6)
    assert [row["kl_beta"], row["general_beta"]] == [beta, general_beta]
    assert row["learning_rate"] == pytest.approx(1e-2)
    assert row["tokens_per_second"] > 0


def test_logs_over_several_steps_are_weighted_by_tokens(
    make_policy, make_dataset, make_trainer, objective
):
    policy, dataset = make_policy(trained=True, double=True), make_dataset()
    items = [dataset[i] for i in range(8)]
    trainer = make_trainer(
        policy,
        dataset,
        per_device_train_batch_size=3,
        max_steps=3,
        logging_steps=3,
        learning_rate=0.0,
        train_sampling_strategy="sequential",
    )
    trainer.train()
    [row] = training_rows(trainer)
    with torch.no_grad():
        sums, counts = sums_by_hand(policy, items)
        steps = [loss_by_hand(policy, items[i : i + 3], objective).item() for i in (0, 3, 6)]
    assert row["loss"] == pytest.approx(sum(steps) / 3, rel=1e-6)
    assert row["reconstruction"] == pytest.approx(sums[0].item() / counts[0], rel=1e-6)
    assert row["kl"] == pytest.approx(sums[1].item() / counts[1], rel=1e-6)
    assert row["num_labels"] == pytest.approx(counts[0] / 3)


@pytest.mark.parametrize("direction", ["policy_ref", "ref_policy"])
def test_the_direction_of_the_kl_is_the_one_asked_for(
    make_policy, make_dataset, make_trainer, direction
):
    policy, dataset = make_policy(trained=True, double=True), make_dataset()
    objective = Objective(kl_beta=2.0, general_beta=1.0, kl_direction=direction)
    wanted = loss_by_hand(policy, [dataset[i] for i in range(8)], objective).item()
    trainer = make_trainer(policy, dataset, objective=objective, per_device_train_batch_size=8)
    trainer.train()
    [row] = training_rows(trainer)
    assert row["loss"] == pytest.approx(wanted, rel=1e-6)


def test_without_kl_the_reference_is_not_run(make_policy, make_dataset, make_trainer, monkeypatch):
    def refuse(*args):
        raise AssertionError("the reference was run")

    monkeypatch.setattr(Passes, "_reference", refuse)
    objective = Objective(kl_beta=0.0, general_beta=0.0)
    trainer = make_trainer(make_policy(trained=True), make_dataset(), objective=objective)
    trainer.train()
    [row] = training_rows(trainer)
    assert row["loss"] == pytest.approx(row["reconstruction"], rel=1e-6)
    monkeypatch.undo()
    monkeypatch.setattr(Passes, "_reference", refuse)
    with pytest.raises(AssertionError, match="the reference was run"):
        make_trainer(make_policy(trained=True), make_dataset()).train()


@pytest.mark.parametrize("bf16", [False, True])
def test_the_first_step_has_a_kl_of_exactly_zero(make_policy, make_dataset, make_trainer, bf16):
    trainer = make_trainer(make_policy(), make_dataset(), per_device_train_batch_size=8, bf16=bf16)
    trainer.train()
    [row] = training_rows(trainer)
    assert row["kl"] == 0.0
    assert row["general_kl"] == 0.0


def test_bf16_computes_in_bf16(make_policy, make_dataset, make_trainer):
    losses = []
    for bf16 in (False, True):
        trainer = make_trainer(
            make_policy(trained=True), make_dataset(), per_device_train_batch_size=8, bf16=bf16
        )
        trainer.train()
        losses.append(training_rows(trainer)[0]["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_in_bf16_products_go_through_float32_where_that_is_faster(
    make_policy, make_dataset, make_trainer, monkeypatch
):
    rows, calls = [], []
    through = products._wide_product
    monkeypatch.setattr(
        products, "_wide_product", lambda *a, **k: (calls.append(wide), through(*a, **k))[1]
    )
    for wide in (False, True):
        monkeypatch.setattr(products, "wide_is_faster", lambda _, wide=wide: wide)
        policy = make_policy(trained=True)
        trainer = make_trainer(policy, make_dataset(), per_device_train_batch_size=8, bf16=True)
        frozen = sum(type(layer) is products.FrozenLinear for layer in policy.modules())
        trainer.train()
        rows.append(training_rows(trainer)[0])
    assert False not in calls
    assert len(calls) >= 2 * (frozen - 1)  # policy and reference, all but the head
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=2e-3)
    assert rows[0]["grad_norm"] == pytest.approx(rows[1]["grad_norm"], rel=0.05)


def test_activation_checkpointing_gives_the_same_gradients(
    make_policy, make_dataset, make_trainer, whole_step
):
    trainer = make_trainer(
        make_policy(trained=True, double=True),
        make_dataset(),
        per_device_train_batch_size=8,
        gradient_checkpointing=True,
    )
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    for name, gradient in whole_step["gradients"].items():
        torch.testing.assert_close(recorder.gradients[0][name], gradient, rtol=1e-9, atol=1e-12)


def test_only_the_adapter_changes(make_policy, make_dataset, make_trainer):
    policy = make_policy()
    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    make_trainer(policy, make_dataset(), max_steps=2).train()
    changed = {n for n, w in policy.named_parameters() if not torch.equal(w, before[n])}
    assert changed == {n for n in before if "lora_" in n}


# A loss that is not finite.


class Poison(TrainerCallback):
    """Makes one weight NaN before a step, and keeps what the weights were then."""

    def __init__(self, step, policy):
        self.step, self.policy, self.before = step, policy, {}

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            name, weight = next((n, w) for n, w in self.policy.named_parameters() if "lora_B" in n)
            with torch.no_grad():
                weight[0, 0] = float("nan")
            self.poisoned, self.before = name, adapter(self.policy)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    make_policy, make_dataset, make_trainer, accumulation
):
    policy = make_policy(trained=True)
    trainer = make_trainer(
        policy, make_dataset(), max_steps=4, gradient_accumulation_steps=accumulation
    )
    poison = Poison(3, policy)
    trainer.add_callback(poison)
    with pytest.raises(TrainingError) as raised:
        trainer.train()
    assert "nan at step 3" in str(raised.value)
    assert "learning_rate" in str(raised.value)
    assert trainer.state.global_step == 2
    for name, weight in adapter(policy).items():
        assert torch.equal(weight.nan_to_num(7), poison.before[name].nan_to_num(7))


def test_a_loss_that_turns_bad_in_the_second_micro_batch_stops_too(
    make_policy, make_dataset, make_trainer
):
    policy = make_policy(trained=True)
    trainer = make_trainer(policy, make_dataset(), gradient_accumulation_steps=2)

    class AfterFirst(TrainerCallback):
        def on_substep_end(self, args, state, control, **kwargs):
            Poison(1, policy).on_step_begin(args, state, control)

    trainer.add_callback(AfterFirst())
    recorder = Recorder()
    trainer.add_callback(recorder)
    with pytest.raises(TrainingError, match="nan at step 1"):
        trainer.train()
    assert recorder.gradients == []


# Evaluation.


def test_evaluation_measures_the_policy_in_eval_mode(make_policy, make_dataset, make_trainer):
    policy = make_policy()
    modes = []

    def measure(given):
        modes.append(given.training)
        assert given is policy
        return {"loss": 1.5, "author_nll": 1.5}

    trainer = make_trainer(
        policy, make_dataset(), measure=measure, max_steps=2, eval_strategy="steps", eval_steps=1
    )
    trainer.train()
    assert modes == [False, False]
    rows = [row for row in trainer.state.log_history if "eval_author_nll" in row]
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["eval_loss"] == 1.5
    assert policy.training


def test_evaluation_without_measure_is_an_error(make_policy, make_dataset, make_trainer):
    with pytest.raises(TrainingError, match="measure"):
        make_trainer(make_policy(), make_dataset()).evaluate()


def test_the_loss_outside_a_step_is_an_error(make_policy, make_dataset, make_trainer):
    trainer = make_trainer(make_policy(), make_dataset())
    with pytest.raises(TrainingError, match="outside a training step"):
        trainer.compute_loss(trainer.model, {})


class Averaging(torch.optim.SGD):
    """As a schedule-free optimizer: what is trained is 1 above what is to be used."""

    above = False

    def _move(self, above):
        if above != self.above:
            with torch.no_grad():
                for weight in self.param_groups[0]["params"]:
                    weight += 1.0 if above else -1.0
        self.above = above

    def train(self):
        self._move(True)

    def eval(self):
        self._move(False)


def test_schedule_free_optimizers_are_measured_and_saved_with_their_averaged_weights(
    make_policy, make_dataset, make_trainer, tmp_path
):
    policy, sums = make_policy(), []
    before = sum(w.double().sum() for w in adapter(policy).values()).item()

    def measure(given):
        sums.append(sum(w.double().sum() for w in adapter(given).values()).item())
        return {"loss": 1.0}

    trainer = make_trainer(policy, make_dataset(), measure=measure, max_steps=2, learning_rate=0.0,
                           eval_strategy="steps", eval_steps=1)  # fmt: skip
    weights = [w for w in policy.parameters() if w.requires_grad]
    trainer.optimizer = Averaging(weights, lr=0.0)
    trainer.train()
    assert sums == pytest.approx([before, before], abs=1e-3)
    trainer.optimizer.train()
    trainer.save_model(str(tmp_path))
    saved, _ = load_policy(tmp_path, trainable=True)
    assert sum(w.double().sum() for w in adapter(saved).values()).item() == pytest.approx(
        before, abs=1e-3
    )


# Epochs, devices.


def test_every_epoch_draws_its_own_masks(make_policy, make_dataset, make_trainer):
    dataset = make_dataset()
    trainer = make_trainer(make_policy(), dataset, max_steps=-1, num_train_epochs=3)
    epochs = Epochs(dataset)
    trainer.add_callback(epochs)
    trainer.train()
    assert epochs.seen == [0, 0, 1, 1, 2, 2]


def test_several_gpus_without_torchrun_use_one(
    make_policy, make_dataset, make_trainer, objective, capsys
):
    """The Trainer would wrap the model in DataParallel, whose replicas the loss cannot use."""
    trainer = make_trainer(make_policy(), make_dataset(), per_device_train_batch_size=8)
    trainer.args._n_gpu = 2
    seen_two = StyleTrainer(
        model=make_policy(),
        args=trainer.args,
        train_dataset=trainer.train_dataset,
        data_collator=trainer.data_collator,
        objective=objective,
    )
    assert seen_two.args.n_gpu == 1
    assert seen_two.args.train_batch_size == 8
    assert "torchrun --nproc_per_node 2" in capsys.readouterr().out
    seen_two.train()
    assert training_rows(seen_two)


def test_dropout_of_the_base_is_off(tmp_path, make_dataset, make_trainer):
    """It would differ between the two passes, and the KL would measure the noise."""
    folder = tmp_path / "with-dropout"
    save_tiny_tokenizer(folder)
    save_tiny_model(folder, attention_dropout=0.3)
    base = load_base(str(folder))
    assert base.model.layers[0].self_attn.attention_dropout == 0.3
    base.model.extra = torch.nn.Dropout(0.2)
    policy = add_lora(base, base_name="x", r=4, dropout=0.1)
    assert base.model.extra.p == 0.0
    trainer = make_trainer(policy, make_dataset(), per_device_train_batch_size=8)
    trainer.train()
    [row] = training_rows(trainer)
    assert row["kl"] == 0.0
    assert {m.p for n, m in policy.named_modules() if "lora_dropout.default" in n} == {0.1}
