"""Hydra's callback: told when a run or a sweep starts, in the process that leads it, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from twotower.core.errors import RefusedError, UserError
from twotower.core.secrets import refuse_literal_secrets

if TYPE_CHECKING:
    from twotower.sweep.session import Session

CURRENT: list[Session] = []
"""The sweep this process leads; none in single runs and in workers (the callback itself is sent to them)."""


class SweepStart(Callback):
    """Starts the sweep's session; `twotower.cli.train` ends it, as Hydra does not tell when a sweep is stopped."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuses secrets in plain text, wherever in the config they come from: Hydra would write them down."""
        try:
            refuse_literal_secrets(OmegaConf.to_container(config, resolve=False))
        except UserError as error:
            raise RefusedError(str(error)) from error

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks the sweep and starts its display.

        Hydra turns a callback's exceptions into warnings, so a user's mistake leaves as one that ends the program.
        """
        from twotower.sweep.session import start

        try:
            refuse_literal_secrets(OmegaConf.to_container(config, resolve=False))
            CURRENT.append(start(config))
        except UserError as error:
            raise RefusedError(str(error)) from error
