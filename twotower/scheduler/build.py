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
from twotower.config.names import SCHEDULERS
from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count

OURS = ("name", "interval", "frequency", "monitor")
"""Keys that are not the schedule's own arguments."""


def build_scheduler(
    config: Mapping[str, Any],
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    monitor: str = "eval_full/mrr_10",
) -> dict[str, Any] | None:
    """Builds a schedule.

    Args:
        config: `_target_` or `name` (a key of `SCHEDULERS`), and the schedule's settings; `interval` (step or epoch),
            `frequency` and `monitor` as Lightning has them.
        optimizer: whose learning rates are scheduled, each group's from its own start.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one epoch.
        monitor: the metric that a schedule which waits for one watches, where its config names none.

    Returns:
        Lightning's dict (scheduler, interval, frequency, and monitor where one is needed), or None for a constant rate.

    Raises:
        UserError: for an unknown schedule or setting, or a value out of range.
    """
    settings = {"_target_": target_of(config), **{key: value for key, value in config.items() if key not in OURS}}
    offered = {"optimizer": optimizer, "total_steps": total_steps, "steps_per_epoch": steps_per_epoch}
    schedule = build_part(settings, "scheduler", offered)
    if schedule is None:
        return None
    if not isinstance(schedule, (LRScheduler, ReduceLROnPlateau)):
        raise UserError(
            f"scheduler._target_={settings['_target_']} gives a {type(schedule).__name__}, no torch scheduler."
        )
    names, _ = parameters(locate(settings["_target_"], "scheduler"))
    usual = "step" if {"total_steps", "steps_per_epoch"} & set(names) else "epoch"
    interval = check_choice("scheduler.interval", config.get("interval") or usual, ("step", "epoch"))
    frequency = check_count("scheduler.frequency", config.get("frequency", 1))
    result = {"scheduler": schedule, "interval": interval, "frequency": frequency}
    if isinstance(schedule, ReduceLROnPlateau):
        result |= {"monitor": config.get("monitor") or monitor, "strict": False}
    return result


def target_of(config: Mapping[str, Any]) -> str:
    """Returns what a `scheduler` group builds.

    Raises:
        UserError: for a name that is none of ours.
    """
    if config.get("_target_"):
        return str(config["_target_"])
    return SCHEDULERS[check_choice("scheduler.name", config.get("name", "none"), SCHEDULERS)]
