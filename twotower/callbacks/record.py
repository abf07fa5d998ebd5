"""Keeps run.json and the loggers in step with training, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from twotower.callbacks.base import RunCallback
from twotower.callbacks.evaluate import Evaluate
from twotower.core.timer import Stopwatch


class Record(RunCallback):
    """Adds one history entry per epoch to the run's record, and the same numbers to every logger."""

    def __init__(self) -> None:
        self._started = self._evaluated = (0.0, 0.0)
        self._loss, self._steps = torch.zeros(()), 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drops epochs a resumed run will train again (here Lightning knows where it goes on)."""
        if trainer.is_global_zero:
            with self.context.record.one_write():
                self.context.record.truncate_history(trainer.current_epoch)
                self.context.record.update(device=str(pl_module.device))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the epoch's clock."""
        self._started = (time.perf_counter(), time.process_time())
        self.context.epoch_metrics = {}
        self._loss, self._steps = torch.zeros(()), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up the loss of a module that does not do so itself."""
        if not hasattr(pl_module, "epoch_means"):
            loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
            self._loss, self._steps = self._loss.to(loss.device) + loss.detach(), self._steps + 1

    def _means(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        own: Any = getattr(pl_module, "epoch_means", None)
        if own is not None:
            return dict(own())
        rate = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else 0.0
        return {"train_loss": float(self._loss) / max(self._steps, 1), "learning_rate": float(rate)}

    def _evaluate(self, trainer: pl.Trainer) -> Evaluate | None:
        return next((item for item in trainer.callbacks if isinstance(item, Evaluate)), None)  # type: ignore[attr-defined]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the epoch down."""
        means = self._means(trainer, pl_module)
        pl_module.log_dict({**means, "epoch": float(trainer.current_epoch + 1)}, rank_zero_only=True)
        if trainer.is_global_zero:
            evaluate = self._evaluate(trainer)
            watch = evaluate.watch_in_epochs if evaluate else Stopwatch()
            seconds = time.perf_counter() - self._started[0] - (watch.seconds - self._evaluated[0])
            cpu_seconds = time.process_time() - self._started[1] - (watch.cpu_seconds - self._evaluated[1])
            self._evaluated = (watch.seconds, watch.cpu_seconds)
            self.context.record.add_epoch(
                {
                    "epoch": trainer.current_epoch + 1,
                    **means,
                    "seconds": round(seconds, 3),
                    "cpu_seconds": round(cpu_seconds, 3),
                    "metrics": dict(self.context.epoch_metrics),
                }
            )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes down how the run ended: best epoch, metrics, verdict, timings."""
        evaluation = self.context.evaluation
        if not trainer.is_global_zero or evaluation is None:
            return
        record = self.context.record
        evaluate = self._evaluate(trainer)
        protocol, _, metric = self.context.objective.partition("/")
        numbers = evaluation.to_dict()
        figure = numbers[protocol]["metrics"][metric]
        with record.one_write():
            record.update(
                best_epoch=self.context.best_epoch,
                objective={"name": self.context.objective, **{key: figure[key] for key in ("value", "low", "high")}},
                evaluation=numbers,
                verdict=numbers[protocol]["verdict"]["line"],
                health=list(self.context.unhealthy),
                timings=self._timings(trainer, evaluate),
            )
            record.add_artefact("per_query.parquet", "per_query")

    def _timings(self, trainer: pl.Trainer, evaluate: Evaluate | None) -> dict[str, float | None]:
        """Returns where the time went: training steps, evaluation, and writing Lightning's checkpoints."""
        history = self.context.record.data["history"]
        evaluation = evaluate.watch if evaluate else Stopwatch()
        saving: Stopwatch = getattr(trainer.checkpoint_callback, "watch", Stopwatch())
        speed = evaluate.documents_per_second if evaluate else None
        seconds = {
            "fit_seconds": sum(item["seconds"] for item in history),
            "fit_cpu_seconds": sum(item.get("cpu_seconds") or 0.0 for item in history),
            "evaluate_seconds": evaluation.seconds,
            "evaluate_cpu_seconds": evaluation.cpu_seconds,
            "checkpoint_seconds": saving.seconds,
            "checkpoint_cpu_seconds": saving.cpu_seconds,
        }
        rounded: dict[str, float | None] = {name: round(value, 3) for name, value in seconds.items()}
        return {**rounded, "encode_documents_per_second": None if speed is None else round(speed, 1)}
