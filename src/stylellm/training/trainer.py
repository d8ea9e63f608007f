"""The one subclass of the Hugging Face Trainer: our loss, normalised by tokens.

Shapes: B sequences, T tokens, N = B * T positions, H hidden size.

The loss of one optimizer step over all its micro-batches and ranks (L scored positions, K the KL
positions of author text, G those of general text):

    sum_L nll / |L|  +  kl_beta * sum_K KL / |K|  +  general_beta * sum_G KL / |G|

|L|, |K| and |G| are counted over the whole step before its first backward, each on its own, so the
gradients do not depend on how the step is cut into micro-batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import Trainer, TrainingArguments

from stylellm.errors import TrainingError
from stylellm.masking.collate import without_items
from stylellm.model.compiled_layers import CompiledLayers
from stylellm.model.lean_lora import use_lean_lora
from stylellm.model.passes import Passes, check_isolation
from stylellm.model.policy import head_terms, output_weight
from stylellm.model.products import use_fast_products
from stylellm.objective.chunked import style_alignment_loss
from stylellm.objective.controller import AdaptiveKLController
from stylellm.training.best import BestRule, EarlyStop
from stylellm.training.hooks import EachStep, EpochOfMasks
from stylellm.training.tally import PARTS, Tally, count_positions

Measure = Callable[[Any], dict[str, float]]


@dataclass(frozen=True)
class Objective:
    """Weights of the loss (the ``objective`` section of the configuration)."""

    kl_beta: float = 0.1
    general_beta: float = 1.0
    kl_direction: Literal["policy_ref", "ref_policy"] = "policy_ref"
    chunk_size: int = 0
    target_kl: float | None = None


def _use_one_device(args: TrainingArguments) -> None:
    """Keeps the Trainer from nn.DataParallel, whose replicas the loss cannot reach into."""
    if args.n_gpu > 1:
        print(
            f"devices:  {args.n_gpu} GPUs found, one is used; "
            f"torchrun --nproc_per_node {args.n_gpu} -m stylellm train ... uses them all"
        )
        args._n_gpu = 1


def _check_format(model: Any, args: TrainingArguments) -> None:
    """Refuses a float16 base without a scaled loss: most of its gradients would be rounded to 0."""
    formats = {weight.dtype for weight in model.parameters() if not weight.requires_grad}
    if torch.float16 in formats and not args.fp16:
        raise TrainingError(
            "the base is in float16, and training.fp16 is false, so that the loss would not be scaled "
            "and its small gradients would be lost",
            "training.fp16: true with float16",
            "Set training.fp16: true (on a GPU), or model.dtype: float32 or bfloat16.",
        )


class StyleTrainer(Trainer):
    """Trainer with reconstruction + beta * KL(policy || reference).

    Args:
        objective: the weights of the loss.
        measure: called with the policy at every evaluation; returns the numbers to log.
        passes: how the hidden states are computed; plainly unless given.
        best: which evaluation is the best one, and when to stop.
        compile_layers: the decoder's layers run compiled in training steps.
        Everything else as for ``transformers.Trainer``; ``model`` must be a peft model.

    Raises:
        TrainingError: a float16 base without ``args.fp16``.
    """

    def __init__(
        self,
        *,
        args: TrainingArguments,
        objective: Objective,
        measure: Measure | None = None,
        passes: Passes | None = None,
        best: BestRule | None = None,
        compile_layers: bool = False,
        **kwargs: Any,
    ) -> None:
        _use_one_device(args)
        _check_format(kwargs["model"], args)
        use_lean_lora(kwargs["model"])
        super().__init__(args=args, **kwargs)
        use_fast_products(kwargs["model"])  # of what has stayed on a CPU
        self.objective: Objective = objective
        self.measure = measure
        self.passes = passes or Passes()
        self.best = best or BestRule(args.metric_for_best_model or "author_nll")
        self.controller: AdaptiveKLController | None = None
        if objective.target_kl is not None:
            self.controller = AdaptiveKLController(objective.kl_beta, objective.target_kl)
        for callback in (EpochOfMasks(), EachStep(self), EarlyStop(self.best)):
            self.add_callback(callback)
        # Our loss is already divided by the counts of the whole step; the Trainer must not divide it
        # by the number of micro-batches once more.
        self.model_accepts_loss_kwargs = True
        self.layers = CompiledLayers(kwargs["model"]) if compile_layers else None
        self._isolated = False
        self._unwrapped: tuple[Any, Any] = None, None
        self._tally = Tally()
        self._step_kl: Any = 0.0
        self._step_counts: Any = None

    @property
    def kl_beta(self) -> float:
        """The weight of the KL in the step at hand."""
        return self.objective.kl_beta if self.controller is None else self.controller.kl_beta

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor]:
        """Takes the micro-batches of one step and counts |L|, |K|, |G| over them and all ranks."""
        batches = self._fetch(epoch_iterator, num_batches)
        if self.args.world_size > 1 and batches:
            batches[-1] = self._without_fillers(batches[-1])
        counts = torch.zeros(PARTS, device=device)
        for batch in batches:
            counts += count_positions(batch).to(device)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        self._tally.add_counts(counts)
        self._tally.kl_beta = self.kl_beta
        self._step_counts, self._step_kl = counts, 0.0
        return batches, counts

    def _without_fillers(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """At the end of an epoch processes are given windows once more, so that all have as many;
        those are not counted. accelerate deals them out rank by rank, the fillers last."""
        state = self.accelerator.gradient_state
        if not state.end_of_dataloader or state.remainder <= 0:
            return batch
        mine = state.remainder - self.args.process_index * self.args.train_batch_size
        return without_items(batch, max(mine, 0))

    def kl_of_step(self) -> float | None:
        """Mean KL per position of author text over the step just made; None where it had none."""
        count = float(self._step_counts[1])
        if not count:
            return None
        total = torch.as_tensor(self._step_kl, device=self.args.device).float().reshape(1)
        if self.args.world_size > 1:
            total = self.accelerator.reduce(total, reduction="sum")
        return float(total) / count

    def _fetch(self, epoch_iterator: Iterator, num_batches: int) -> list:
        """The next micro-batches; what the data loader draws comes from the seed and the epoch.

        So the order of the data is the same in a resumed run whatever the sampler, and the loader
        never moves the random state that dropout draws from.
        """
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        epoch = int(self.state.epoch or 0)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed((seed << 20) + epoch)
            return [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Forward and backward of one micro-batch; checkpointed layers run again in the latter."""
        with self._compiled(True):
            return super().training_step(*args, **kwargs)

    def _compiled(self, on: bool) -> Any:
        return nullcontext() if self.layers is None else self.layers.switched(on=on)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """This micro-batch's share of the step's loss; the shares of a step add up to the loss."""
        if not isinstance(num_items_in_batch, torch.Tensor):
            raise TrainingError("the loss was asked for outside a training step")
        num_labels, num_kl, num_general, _ = num_items_in_batch.clamp(min=1).tolist()
        weight = (
            inputs["kl_mask"] * (self.kl_beta / num_kl)
            + inputs["general_mask"] * (self.objective.general_beta / num_general)
        ).flatten()
        # accelerate casts inside the wrapped forward alone; the reference and the head run outside it.
        with self.accelerator.autocast():
            result = self._style_loss(model, inputs, weight, num_labels)
        self._check_finite(result.loss)
        self._tally.add(result, inputs)
        if self.controller is not None:
            self._step_kl = self._step_kl + (result.kl * inputs["kl_mask"].flatten()).sum()
        # Data-parallel wrappers average gradients over ranks; the counts are already global sums.
        loss = result.loss * self.args.world_size
        return (loss, None) if return_outputs else loss

    def _style_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], weight: torch.Tensor, num_labels: float
    ) -> Any:
        policy = self._policy_in(model)
        if "position_ids" in inputs and not self._isolated:
            with self._compiled(False):
                check_isolation(policy)
            self._isolated = True
        hidden, reference = self.passes(
            model, policy, inputs, with_reference=bool((weight > 0).any())
        )
        hidden = hidden.flatten(0, 1)
        terms: dict[str, Any] = head_terms(policy, hidden)
        return style_alignment_loss(
            hidden,
            None if reference is None else reference.flatten(0, 1),
            output_weight(policy),
            inputs["labels"].flatten(),
            weight,
            1.0,
            kl_direction=self.objective.kl_direction,
            num_labels=num_labels,
            num_kl=1,
            chunk_size=self.objective.chunk_size,
            label_weight=inputs["label_weight"].flatten(),
            **terms,
        )

    def _policy_in(self, model: Any) -> Any:
        """The bare policy; accelerate looks through all modules to find it, so it is asked once."""
        if self._unwrapped[0] is not model:
            self._unwrapped = model, self.accelerator.unwrap_model(model)
        return self._unwrapped[1]

    def _check_finite(self, loss: torch.Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}",
                "a finite number",
                "Lower training.learning_rate, or use bf16 instead of fp16; --resume goes on from "
                "the last checkpoint.",
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the parts of the loss to the Trainer's own training line."""
        if "loss" in logs and self._tally.steps:
            tally, self._tally = self._tally, Tally()
            sums = tally.sums()
            if self.args.world_size > 1:
                on_device = sums.float().to(self.args.device)
                sums = self.accelerator.reduce(on_device, reduction="sum").cpu()
            logs.update(tally.line(sums, self.objective))
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Batches of like length take the lengths that were counted when the windows were prepared,
        instead of formatting every window once to see how long it becomes."""
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        from transformers.trainer_pt_utils import LengthGroupedSampler

        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(size, dataset=dataset, lengths=dataset.lengths())

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Only an evaluation within the bounds of the rule may be the best."""
        if not self.best.allows(metrics):
            return False
        return super()._determine_best_metric(metrics, trial)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the library's, with the weights that are to be used."""
        self._averaged_weights()
        super().save_model(output_dir, _internal_call)

    def _averaged_weights(self) -> None:
        """Schedule-free optimizers train on other weights than those to be used; the next training
        step turns them back (Defazio et al. 2024, arXiv:2405.15682)."""
        to_averages = getattr(self.optimizer, "eval", None)
        if callable(to_averages):
            to_averages()

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Runs ``measure`` on the policy and logs what it returns."""
        if self.measure is None:
            raise TrainingError("no measure was given", "a callable that takes the policy")
        policy = self._policy_in(self.model)
        was_training = policy.training
        policy.eval()
        self._averaged_weights()
        began = time.perf_counter()
        metrics = {f"{metric_key_prefix}_{k}": v for k, v in self.measure(policy).items()}
        policy.train(was_training)
        self._tally.started += time.perf_counter() - began  # not training time
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics
