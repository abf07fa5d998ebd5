"""From the `scheduler` config group to what Lightning takes as a schedule.

A schedule is a function or class that is called with the optimizer and its settings and returns one of torch's
schedulers (or None). One whose signature names `total_steps` moves every step, others every epoch (`interval` says
otherwise).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from twotower.config.instantiate import build_part, locate, parameters
from twotower.core.errors import UserError
from twotower.scheduler.settings import SchedulerSettings


def build_scheduler(
    config: Mapping[str, Any] | SchedulerSettings,
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    monitor: str = "eval_full/mrr_10",
) -> dict[str, Any] | None:
    """Builds a schedule.

    Args:
        config: the `scheduler` group.
        optimizer: whose learning rates are scheduled, each group's from its own start.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one epoch.
        monitor: the metric that a schedule which waits for one watches, where its config names none.

    Returns:
        Lightning's dict (scheduler, interval, frequency, and monitor where one is needed), or None for a constant rate.

    Raises:
        UserError: for an unknown schedule or setting, or a value out of range.
    """
    settings = SchedulerSettings.parse(config)
    offered = {"optimizer": optimizer, "total_steps": total_steps, "steps_per_epoch": steps_per_epoch}
    schedule = build_part({**settings.arguments, "_target_": settings.target}, "scheduler", offered)
    if schedule is None:
        return None
    if not isinstance(schedule, (LRScheduler, ReduceLROnPlateau)):
        raise UserError(f"scheduler._target_={settings.target} gives a {type(schedule).__name__}, no torch scheduler.")
    names, _ = parameters(locate(settings.target, "scheduler"))
    usual = "step" if {"total_steps", "steps_per_epoch"} & set(names) else "epoch"
    result = {"scheduler": schedule, "interval": settings.interval or usual, "frequency": settings.frequency}
    if isinstance(schedule, ReduceLROnPlateau):
        result |= {"monitor": settings.monitor or monitor, "strict": False}
    return result
