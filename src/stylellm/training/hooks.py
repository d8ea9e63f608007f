"""What the trainer does at the beginning of an epoch and after each step."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

CONTROLLER = "AdaptiveKLController"
"""Under this name the controller's state lies in trainer_state.json."""


class EpochOfMasks(TrainerCallback):
    """Tells the dataset which epoch begins.

    accelerate's data loader does so for a run on one device from its start, but neither where it
    skips to the middle of an epoch (a resumed run) nor with several processes.
    """

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        train_dataloader.dataset.set_epoch(int(state.epoch or 0))


class EachStep(TrainerCallback):
    """Moves kl_beta after every optimizer step; its state goes through the trainer's own."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved = (state.stateful_callbacks or {}).get(CONTROLLER)
        if saved and self.trainer.controller is not None:
            self.trainer.controller.load_state_dict(saved["attributes"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        controller = self.trainer.controller
        if controller is None:
            return
        kl = self.trainer.kl_of_step()
        if kl is not None:
            controller.update(kl)
        state.stateful_callbacks[CONTROLLER] = {"args": {}, "attributes": controller.state_dict()}
