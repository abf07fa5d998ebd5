"""From the `scheduler` config group to what Lightning takes as a schedule.

All but reduce_on_plateau are one function of the share of training that is done, applied every step and multiplied by a
linear warm-up over the first share `warmup` of all steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_keys, check_number

KEYS: dict[str, dict[str, Any]] = {
    "cosine": {"warmup": 0.0, "final": 0.0},
    "linear": {"warmup": 0.0, "final": 0.0},
    "step": {"warmup": 0.0, "step_epochs": 5, "gamma": 0.5},
    "none": {"warmup": 0.0},
    "reduce_on_plateau": {"warmup": 0.0, "factor": 0.5, "patience": 2, "mode": "max", "monitor": None},
}
"""The keys of each kind, with the values they have where a config leaves them out."""


def cosine(progress: float, *, final: float) -> float:
    """Returns the factor of half a cosine from 1 down to `final`, over progress 0 to 1."""
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float, *, final: float) -> float:
    """Returns the factor of a straight line from 1 down to `final`, over progress 0 to 1."""
    return 1 + (final - 1) * progress


def factor_at(step: int, *, warmup_steps: int, total_steps: int, decay: Callable[[int, float], float]) -> float:
    """Returns the learning rate's factor at a step: a linear warm-up, then `decay(step, progress after warm-up)`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return decay(step, min(1.0, progress))


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
        config: `name` (a key of `KEYS`) and that kind's keys.
        optimizer: whose learning rates are scheduled, each group's from its own start.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one epoch.
        monitor: the metric reduce_on_plateau watches, where its config names none.

    Returns:
        Lightning's dict (scheduler, interval, frequency, and monitor where one is needed), or None for a constant rate.

    Raises:
        UserError: for an unknown kind or key, or a value out of range.
    """
    settings = check_scheduler(config)
    name, warmup = settings["name"], settings["warmup"]
    if name == "reduce_on_plateau":
        return _plateau(settings, optimizer, monitor)
    if name == "none" and warmup == 0:
        return None
    decay: Callable[[int, float], float]
    if name == "step":
        decay = partial(_step_decay, period=settings["step_epochs"] * max(1, steps_per_epoch), gamma=settings["gamma"])
    elif name == "none":
        decay = _constant
    else:
        decay = partial(_shape, shape=cosine if name == "cosine" else linear, final=settings["final"])
    function = partial(factor_at, warmup_steps=round(warmup * total_steps), total_steps=total_steps, decay=decay)
    return {"scheduler": LambdaLR(optimizer, function), "interval": "step", "frequency": 1}


def check_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `scheduler` config with defaults filled in.

    Raises:
        UserError: for an unknown kind or key, or a value out of range.
    """
    name = check_choice("scheduler.name", config.get("name", "none"), KEYS)
    check_keys("scheduler", config, ["name", "_target_", *KEYS[name]])
    settings = {"name": name, **KEYS[name], **config}
    check_number("scheduler.warmup", settings["warmup"], at_least=0, below=1)
    if "final" in settings:
        check_number("scheduler.final", settings["final"], at_least=0, at_most=1)
    if "step_epochs" in settings:
        check_count("scheduler.step_epochs", settings["step_epochs"])
    for key in ("gamma", "factor"):
        if key in settings:
            check_number(f"scheduler.{key}", settings[key], above=0, below=1)
    if name == "reduce_on_plateau":
        check_count("scheduler.patience", settings["patience"], at_least=0)
        check_choice("scheduler.mode", settings["mode"], ("min", "max"))
        if settings["warmup"]:
            raise UserError("scheduler.warmup is not available with reduce_on_plateau, which waits for epochs; set 0.")
    return settings


def _plateau(settings: Mapping[str, Any], optimizer: Optimizer, monitor: str) -> dict[str, Any]:
    scheduler = ReduceLROnPlateau(
        optimizer, mode=settings["mode"], factor=settings["factor"], patience=settings["patience"]
    )
    return {
        "scheduler": scheduler,
        "interval": "epoch",
        "frequency": 1,
        "monitor": settings["monitor"] or monitor,
        "strict": False,
    }


def _step_decay(step: int, progress: float, *, period: int, gamma: float) -> float:
    return gamma ** (step // period)


def _constant(step: int, progress: float) -> float:
    return 1.0


def _shape(step: int, progress: float, *, shape: Callable[..., float], final: float) -> float:
    return shape(progress, final=final)
