"""The config group `scheduler` as its room takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twotower.config.names import SCHEDULERS
from twotower.core.validators import check_choice, check_count

OURS = ("_target_", "name", "interval", "frequency", "monitor")
"""Keys that are not the schedule's own arguments."""


@dataclass(frozen=True, kw_only=True)
class SchedulerSettings:
    """Which schedule, and when it moves.

    Attributes:
        target: the schedule, as `_target_` names it.
        arguments: its own settings.
        interval: step or epoch; None: step for one that names `total_steps`.
        frequency: moves every so many of them.
        monitor: the metric that one which waits for a metric watches; None for the objective.
    """

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)
    interval: str | None = None
    frequency: int = 1
    monitor: str | None = None

    def __post_init__(self) -> None:
        if self.interval is not None:
            check_choice("scheduler.interval", self.interval, ("step", "epoch"))
        check_count("scheduler.frequency", self.frequency)

    @classmethod
    def parse(cls, config: Mapping[str, Any] | SchedulerSettings) -> SchedulerSettings:
        """Tells our keys from the schedule's own; settings that are read already come back as they are.

        Raises:
            UserError: for a name that is none of ours, or a value out of range.
        """
        if isinstance(config, SchedulerSettings):
            return config
        target = (
            config.get("_target_") or SCHEDULERS[check_choice("scheduler.name", config.get("name", "none"), SCHEDULERS)]
        )
        return cls(
            target=str(target),
            arguments={key: value for key, value in config.items() if key not in OURS},
            interval=config.get("interval") or None,
            frequency=config.get("frequency", 1),
            monitor=config.get("monitor") or None,
        )
