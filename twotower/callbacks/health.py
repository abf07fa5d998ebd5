"""Notices a run that learns nothing: loss stuck at its collapsed value, not finite, or all documents alike."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from twotower.callbacks.base import RunCallback
from twotower.callbacks.evaluate import Evaluate
from twotower.core.validators import check_count, check_flag, check_number

logger = logging.getLogger(__name__)


class Health(RunCallback):
    """Says at once when a run has collapsed; its record is then marked `collapsed`.

    Args:
        stop: end training as soon as a fault is found.
        patience_steps: steps the loss may sit at its collapsed value (ln of the candidates, or the margin).
        tolerance: relative distance from that value which still counts as sitting on it.
        max_cosine: mean cosine between random documents above which all documents are called alike.
        min_distinct_top1: the least share of queries whose first document is distinct.
    """

    def __init__(
        self,
        *,
        stop: bool = False,
        patience_steps: int = 50,
        tolerance: float = 0.01,
        max_cosine: float = 0.98,
        min_distinct_top1: float = 0.02,
    ) -> None:
        self.stop = check_flag("callbacks.health.stop", stop)
        check_count("callbacks.health.patience_steps", patience_steps)
        check_number("callbacks.health.tolerance", tolerance, at_least=0)
        check_number("callbacks.health.max_cosine", max_cosine, above=0, at_most=1)
        check_number("callbacks.health.min_distinct_top1", min_distinct_top1, at_least=0, at_most=1)
        self.patience_steps = patience_steps
        self.tolerance = tolerance
        self.max_cosine = max_cosine
        self.min_distinct_top1 = min_distinct_top1
        self._stuck_steps = torch.zeros(())
        self._said: set[str] = set()

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        """Stops a step whose loss is not a number before it reaches the weights."""
        last_loss = getattr(pl_module, "last_loss", None)
        if last_loss is not None and not bool(torch.isfinite(last_loss)):
            message = f"the loss became {float(last_loss)} at step {trainer.global_step}"
            self._report(trainer, "loss", message, force=True)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the steps in a row at which the loss sat at its collapsed value."""
        collapsed_value = getattr(getattr(pl_module, "loss", None), "collapsed_value", None)
        last_loss = getattr(pl_module, "last_loss", None)
        if collapsed_value is None or last_loss is None:
            return  # a loss of somebody's own need not know where it sits when nothing is learnt
        expected = collapsed_value(*getattr(pl_module, "last_batch", (0, 0)))
        if expected is None:
            return
        near = (last_loss - expected).abs() <= self.tolerance * expected
        self._stuck_steps = torch.where(
            near, self._stuck_steps.to(near.device) + 1, torch.zeros((), device=near.device)
        )
        if (trainer.global_step + 1) % 10 == 0 and float(self._stuck_steps) >= self.patience_steps:
            self._report(
                trainer,
                "stuck",
                f"the loss has sat at {expected:.3f}, its value when all vectors are alike, "
                f"for {int(self._stuck_steps)} steps",
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the vectors the evaluation has just made."""
        evaluate = next((item for item in trainer.callbacks if isinstance(item, Evaluate)), None)  # type: ignore[attr-defined]
        if evaluate is None or evaluate.sample_ND is None or not self.context.epoch_metrics:
            return
        sample_ND = evaluate.sample_ND.astype(np.float64)
        count = len(sample_ND)
        cosine = (np.square(sample_ND.sum(axis=0)).sum() - count) / max(count * (count - 1), 1)
        if cosine > self.max_cosine:
            message = f"random documents have a mean cosine of {cosine:.3f}: their vectors are nearly the same"
            self._report(trainer, "cosine", message)
        ranking = evaluate.rankings.get("full")
        if ranking is not None and len(ranking.rows) >= 50:
            share = len(np.unique(np.asarray(ranking.rows)[:, 0])) / len(ranking.rows)
            if share < self.min_distinct_top1:
                message = f"only {share:.1%} of the queries' first documents are distinct: a few answer everything"
                self._report(trainer, "top1", message)

    def _report(self, trainer: pl.Trainer, kind: str, message: str, force: bool = False) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self.context.unhealthy.append(message)
            logger.warning("Unhealthy: %s. Try a smaller learning rate, or another temperature or margin.", message)
        if self.stop or force:
            trainer.should_stop = True
