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
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from stylellm.errors import TrainingError
from stylellm.masking.formats import IGNORE
from stylellm.model.policy import output_weight, policy_hidden
from stylellm.model.reference import reference_hidden
from stylellm.objective.chunked import style_alignment_loss

Measure = Callable[[Any], dict[str, float]]


@dataclass(frozen=True)
class Objective:
    """Weights of the loss (the ``objective`` section of the configuration)."""

    kl_beta: float = 0.1
    general_beta: float = 1.0
    kl_direction: Literal["policy_ref", "ref_policy"] = "policy_ref"
    chunk_size: int = 0


@dataclass
class _Tally:
    """Sums since the last log line; tensors stay on the device until they are read."""

    nll: Any = 0.0
    kl: Any = 0.0
    general_kl: Any = 0.0
    counts: Any = 0.0
    tokens: Any = 0
    steps: int = 0
    started: float = 0.0


class _EpochOfMasks(TrainerCallback):
    """Tells the dataset which epoch begins.

    accelerate's data loader does so for a run on one device from its start, but neither where it
    skips to the middle of an epoch (a resumed run) nor with several processes.
    """

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        train_dataloader.dataset.set_epoch(int(state.epoch or 0))


def _use_one_device(args: TrainingArguments) -> None:
    """Keeps the Trainer from nn.DataParallel, whose replicas the loss cannot reach into."""
    if args.n_gpu > 1:
        print(
            f"devices:  {args.n_gpu} GPUs found, one is used; "
            f"torchrun --nproc_per_node {args.n_gpu} -m stylellm train ... uses them all"
        )
        args._n_gpu = 1


class StyleTrainer(Trainer):
    """Trainer with reconstruction + beta * KL(policy || reference).

    Args:
        objective: the weights of the loss.
        measure: called with the policy at every evaluation; returns the numbers to log.
        Everything else as for ``transformers.Trainer``; ``model`` must be a peft model.
    """

    def __init__(
        self,
        *,
        args: TrainingArguments,
        objective: Objective,
        measure: Measure | None = None,
        **kwargs: Any,
    ) -> None:
        _use_one_device(args)
        super().__init__(args=args, **kwargs)
        self.add_callback(_EpochOfMasks())
        self.objective: Objective = objective
        self.measure = measure
        # Our loss is already divided by the counts of the whole step; the Trainer must not divide it
        # by the number of micro-batches once more.
        self.model_accepts_loss_kwargs = True
        self._tally = _Tally(started=time.perf_counter())

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor]:
        """Takes the micro-batches of one step and counts |L|, |K|, |G| over them and all ranks."""
        batches = self._fetch(epoch_iterator, num_batches)
        counts = torch.zeros(3, device=device)
        for batch in batches:
            counts += torch.stack(
                [
                    (batch["labels"] != IGNORE).sum(),
                    batch["kl_mask"].sum(),
                    batch["general_mask"].sum(),
                ]
            ).to(device)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        self._tally.counts = self._tally.counts + counts
        self._tally.steps += 1
        return batches, counts

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
        num_labels, num_kl, num_general = num_items_in_batch.clamp(min=1).tolist()
        o = self.objective
        weight = (
            inputs["kl_mask"] * (o.kl_beta / num_kl)
            + inputs["general_mask"] * (o.general_beta / num_general)
        ).flatten()
        # accelerate casts inside the wrapped forward alone; the reference and the head run outside it.
        with self.accelerator.autocast():
            result = self._style_loss(model, inputs, weight, num_labels)
        self._check_finite(result.loss)
        self._add(result, inputs)
        # Data-parallel wrappers average gradients over ranks; the counts are already global sums.
        loss = result.loss * self.args.world_size
        return (loss, None) if return_outputs else loss

    def _style_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], weight: torch.Tensor, num_labels: float
    ) -> Any:
        policy = self.accelerator.unwrap_model(model)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        reference = None
        if bool((weight > 0).any()):  # first, while no activations of the policy are held
            reference = reference_hidden(policy, ids, mask).flatten(0, 1)
        return style_alignment_loss(
            policy_hidden(model, policy, ids, mask).flatten(0, 1),
            reference,
            output_weight(policy),
            inputs["labels"].flatten(),
            weight,
            1.0,
            kl_direction=self.objective.kl_direction,
            num_labels=num_labels,
            num_kl=1,
            chunk_size=self.objective.chunk_size,
            label_weight=inputs["label_weight"].flatten(),
        )

    def _check_finite(self, loss: torch.Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}",
                "a finite number",
                "Lower training.learning_rate, or use bf16 instead of fp16; --resume goes on from "
                "the last checkpoint.",
            )

    def _add(self, result: Any, inputs: dict[str, torch.Tensor]) -> None:
        tally = self._tally
        kl = result.kl
        tally.nll = tally.nll + result.nll_sum.detach()
        tally.kl = tally.kl + (kl * inputs["kl_mask"].flatten()).sum()
        tally.general_kl = tally.general_kl + (kl * inputs["general_mask"].flatten()).sum()
        tally.tokens = tally.tokens + inputs["attention_mask"].sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the parts of the loss to the Trainer's own training line."""
        if "loss" in logs and self._tally.steps:
            logs.update(self._read_tally())
        super().log(logs, start_time)

    def _read_tally(self) -> dict[str, float]:
        tally, self._tally = self._tally, _Tally(started=time.perf_counter())
        sums = torch.stack(
            [torch.as_tensor(x, dtype=torch.float64, device="cpu")
             for x in (tally.nll, tally.kl, tally.general_kl, tally.tokens)]
        )  # fmt: skip
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums.float().to(self.args.device), reduction="sum").cpu()
        nll, kl, general_kl, tokens = sums.tolist()
        labels, kls, generals = tally.counts.tolist()
        seconds = max(time.perf_counter() - tally.started, 1e-9)
        o = self.objective
        parts = {}
        if labels:  # a last step may hold general windows only
            parts["reconstruction"] = nll / labels
        if o.kl_beta > 0 and kls:  # a KL without weight is not computed: no number, rather than 0
            parts["kl"] = kl / kls
        if o.general_beta > 0 and generals:
            parts["general_kl"] = general_kl / generals
        return {
            **parts,
            "kl_beta": o.kl_beta,
            "general_beta": o.general_beta,
            "num_labels": tally.counts[0].item() / tally.steps,
            "num_kl": tally.counts[1].item() / tally.steps,
            "num_general": tally.counts[2].item() / tally.steps,
            "tokens_per_second": tokens / seconds,
        }

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Runs ``measure`` on the policy and logs what it returns."""
        if self.measure is None:
            raise TrainingError("no measure was given", "a callable that takes the policy")
        policy = self.accelerator.unwrap_model(self.model)
        was_training = policy.training
        policy.eval()
        began = time.perf_counter()
        metrics = {f"{metric_key_prefix}_{k}": v for k, v in self.measure(policy).items()}
        policy.train(was_training)
        self._tally.started += time.perf_counter() - began  # not training time
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics
