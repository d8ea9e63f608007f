"""What the tests of the trainer share: recorded gradients, and the loss of a step by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import TrainerCallback

from stylellm.masking.formats import IGNORE
from stylellm.model.reference import adapter_off


class Recorder(TrainerCallback):
    """Keeps the gradients of each optimizer step, as the optimizer gets them."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(gradients_of(model))


class Epochs(TrainerCallback):
    def __init__(self, dataset):
        self.dataset, self.seen = dataset, []

    def on_step_end(self, args, state, control, **kwargs):
        self.seen.append(self.dataset.epoch)


def gradients_of(policy):
    return {n: w.grad.clone() for n, w in policy.named_parameters() if w.requires_grad}


def adapter(policy):
    return {n: w.detach().clone() for n, w in policy.named_parameters() if w.requires_grad}


def training_rows(trainer):
    return [row for row in trainer.state.log_history if "reconstruction" in row]


# The loss of a step, by hand.


def sums_by_hand(policy, items, direction="policy_ref"):
    """Sums and counts over items one by one, without padding: nll, KL and general KL."""
    sums, counts = [0.0, 0.0, 0.0], [0, 0, 0]
    for item in items:
        ids = torch.tensor([item["input_ids"]])
        log_p = policy(input_ids=ids).logits[0].log_softmax(-1)
        with adapter_off(policy), torch.no_grad():
            log_q = policy(input_ids=ids).logits[0].log_softmax(-1)
        labels = torch.tensor(item["labels"])
        nll = F.cross_entropy(log_p, labels, ignore_index=IGNORE, reduction="none")
        pair = (log_q, log_p) if direction == "policy_ref" else (log_p, log_q)
        kl = F.kl_div(*pair, reduction="none", log_target=True).sum(-1)
        parts = [
            (nll * torch.tensor(item["label_weight"]), labels != IGNORE),
            (kl, torch.tensor(item["kl_mask"])),
            (kl, torch.tensor(item["general_mask"])),
        ]
        for i, (values, where) in enumerate(parts):
            sums[i] = sums[i] + values[where].sum()
            counts[i] += int(where.sum())
    return sums, counts


def loss_by_hand(policy, items, objective):
    sums, counts = sums_by_hand(policy, items, objective.kl_direction)
    nll, kl, general = (s / max(n, 1) for s, n in zip(sums, counts, strict=True))
    return nll + objective.kl_beta * kl + objective.general_beta * general
