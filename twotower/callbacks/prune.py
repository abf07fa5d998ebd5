"""Ends poor runs of a sweep early: the median stopping rule, read from the records of the runs beside it.

Works with every sweeper and launcher, as it needs nothing but the sweep's folder.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from twotower.callbacks.base import RunCallback
from twotower.core.errors import UserError
from twotower.runs.run import ENDED, Run, read_run
from twotower.runs.schema import FILE_NAME

logger = logging.getLogger(__name__)


def best_until(run: Run, metric: str, epoch: int) -> float | None:
    """Returns a run's best value of a metric in its epochs up to one; None if it was not evaluated by then."""
    entries = [item for item in run.history if item.get("epoch", 0) <= epoch]
    values = [value for item in entries if (value := (item.get("metrics") or {}).get(metric)) is not None]
    return max(values, default=None)


def siblings(run_dir: Path) -> list[Run]:
    """Returns the runs of the same sweep that came to their end without being pruned."""
    folders = [path.parent for path in run_dir.resolve().parents[1].glob(f"*/*/{FILE_NAME}")]
    runs = [read_run(folder) for folder in folders if folder != run_dir.resolve()]
    return [run for run in runs if run.status in ENDED and not (run.record.get("sweep") or {}).get("pruned")]


def median_of(runs: Sequence[Run], metric: str, epoch: int) -> tuple[float, int] | None:
    """Returns the median of the runs' best values up to an epoch and how many there were; None where there are none."""
    values = [value for run in runs if (value := best_until(run, metric, epoch)) is not None]
    return (statistics.median(values), len(values)) if values else None


class MedianPruning(RunCallback):
    """Ends a run whose best value so far is below the median of what the others had reached by the same epoch.

    The rule is that of Golovin et al. (2017), "Google Vizier", 3.2.2, with bests in place of running averages, as
    Optuna has it. A pruned run is evaluated and exported like one that stopped early, and its record says so.

    Args:
        warmup_epochs: no run is pruned before it has trained so many epochs.
        min_runs: nor before so many others have come to their end.
    """

    def __init__(self, *, warmup_epochs: int = 2, min_runs: int = 4) -> None:
        if warmup_epochs < 1 or min_runs < 1:
            raise UserError(
                f"callbacks.prune: warmup_epochs={warmup_epochs} and min_runs={min_runs} must both be at least 1."
            )
        self.warmup_epochs = warmup_epochs
        self.min_runs = min_runs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares the epochs so far with those of the others."""
        context, epoch = self.context, trainer.current_epoch + 1
        in_sweep = context.settings.sweep is not None
        if not trainer.is_global_zero or not in_sweep or epoch < self.warmup_epochs:
            return
        own = best_until(
            Run(path=context.run_dir, record=context.record.data, status="running"), context.objective, epoch
        )
        others = median_of(siblings(context.run_dir), context.objective, epoch)
        if own is None or others is None or others[1] < self.min_runs or own >= others[0]:
            return
        trainer.should_stop = True
        context.record.update(sweep={"pruned": {"epoch": epoch, "best": own, "median": others[0], "runs": others[1]}})
        logger.info("Pruned after epoch %d: its best, %.4f, is below %.4f, the median of %d runs", epoch, own, *others)
