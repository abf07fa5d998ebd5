"""Our schedules: functions of the share of training that is done, multiplied by a linear warm-up.

All but `reduce_on_plateau` are applied every step; the warm-up takes the first share `warmup` of all steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_number

Decay = Callable[[int, float], float]


def cosine(optimizer: Optimizer, *, total_steps: int, warmup: float = 0.0, final: float = 0.0) -> LambdaLR:
    """Half a cosine from the whole rate down to the share `final` of it."""
    check_number("scheduler.final", final, at_least=0, at_most=1)
    return _schedule(optimizer, total_steps, warmup, partial(_cosine, final=final))


def linear(optimizer: Optimizer, *, total_steps: int, warmup: float = 0.0, final: float = 0.0) -> LambdaLR:
    """A straight line from the whole rate down to the share `final` of it."""
    check_number("scheduler.final", final, at_least=0, at_most=1)
    return _schedule(optimizer, total_steps, warmup, partial(_linear, final=final))


def step(
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    warmup: float = 0.0,
    step_epochs: int = 5,
    gamma: float = 0.5,
) -> LambdaLR:
    """The rate times `gamma` every `step_epochs` epochs."""
    check_count("scheduler.step_epochs", step_epochs)
    check_number("scheduler.gamma", gamma, above=0, below=1)
    period = step_epochs * max(1, steps_per_epoch)
    return _schedule(optimizer, total_steps, warmup, partial(_step, period=period, gamma=gamma))


def constant(optimizer: Optimizer, *, total_steps: int, warmup: float = 0.0) -> LambdaLR | None:
    """The whole rate after the warm-up; None where there is none."""
    return _schedule(optimizer, total_steps, warmup, _constant) if warmup else None


def reduce_on_plateau(
    optimizer: Optimizer, *, warmup: float = 0.0, factor: float = 0.5, patience: int = 2, mode: str = "max"
) -> ReduceLROnPlateau:
    """The rate times `factor` when the monitored metric has not improved for `patience` evaluations."""
    check_number("scheduler.factor", factor, above=0, below=1)
    check_count("scheduler.patience", patience, at_least=0)
    wanted: Any = check_choice("scheduler.mode", mode, ("min", "max"))
    if warmup:
        raise UserError("scheduler.warmup is not available with reduce_on_plateau, which waits for epochs; set 0.")
    return ReduceLROnPlateau(optimizer, mode=wanted, factor=factor, patience=patience)


def factor_at(step: int, *, warmup_steps: int, total_steps: int, decay: Decay) -> float:
    """Returns the learning rate's factor at a step: a linear warm-up, then `decay(step, progress after warm-up)`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return decay(step, min(1.0, progress))


def _schedule(optimizer: Optimizer, total_steps: int, warmup: float, decay: Decay) -> LambdaLR:
    check_number("scheduler.warmup", warmup, at_least=0, below=1)
    warmup_steps = round(warmup * total_steps)
    return LambdaLR(optimizer, partial(factor_at, warmup_steps=warmup_steps, total_steps=total_steps, decay=decay))


def _cosine(step: int, progress: float, *, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def _linear(step: int, progress: float, *, final: float) -> float:
    return 1 + (final - 1) * progress


def _step(step: int, progress: float, *, period: int, gamma: float) -> float:
    return gamma ** (step // period)


def _constant(step: int, progress: float) -> float:
    return 1.0
