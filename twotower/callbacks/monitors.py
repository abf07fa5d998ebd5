"""Monitored metrics that only a user's own part logs are looked for after the first epoch that is evaluated."""

from __future__ import annotations

import pytorch_lightning as pl

from twotower.callbacks.base import RunCallback
from twotower.core.errors import UserError, nearest


class Monitors(RunCallback):
    """Ends a run whose callbacks wait for a metric that nobody logs; Lightning would wait without a word."""

    def __init__(self) -> None:
        self._looked = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares what callbacks and schedules monitor with what the epoch has logged."""
        if self._looked or not self.context.epoch_metrics:
            return
        self._looked = True
        logged = sorted(trainer.callback_metrics)
        watchers = {type(item).__name__: getattr(item, "monitor", None) for item in trainer.callbacks}  # type: ignore[attr-defined]
        schedules = [("scheduler", item.monitor) for item in trainer.lr_scheduler_configs]
        for watcher, name in [*watchers.items(), *schedules]:
            if name is not None and name not in logged:
                problem = f"{watcher} monitors {name}, which nothing logs; there are: {', '.join(logged)}."
                raise UserError(f"{problem}{nearest(name, logged)}")
