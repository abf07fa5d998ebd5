"""The progress bar of training: one line an epoch, with loss and objective instead of Lightning's version number."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from twotower.callbacks.base import RunContext


class Progress(RichProgressBar):
    """Shows epoch, speed, training loss and the last evaluated objective.

    Args:
        context: the run it shows.
    """

    def __init__(self, *, context: RunContext) -> None:
        super().__init__(leave=True)
        self._context = context

    def _get_train_description(self, current_epoch: int) -> str:
        """Names the epoch as files and reports do: the first is 1 (Lightning's own bar says 0)."""
        most = self.trainer.max_epochs
        return f"Epoch {current_epoch + 1}" + ("" if most is None else f"/{most}")

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Returns what stands behind the bar."""
        shown: dict[str, int | str | float | dict[str, float]] = {}
        sums, steps = getattr(pl_module, "epoch_sums", {}), getattr(pl_module, "steps_in_epoch", 0)
        if sums and steps:
            shown["loss"] = f"{float(sums['loss']) / steps:.3f}"
        history = self._context.record.data["history"]
        values = {**(history[-1]["metrics"] if history else {}), **self._context.epoch_metrics}
        if self._context.objective in values:
            shown[self._context.objective.partition("/")[2]] = f"{values[self._context.objective]:.3f}"
        return shown
