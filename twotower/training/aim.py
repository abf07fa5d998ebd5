"""Aim: its own logger, with the run's ending in it, and without copies of the terminal and the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aim import Run
from aim.pytorch_lightning import AimLogger as LoggerOfAim
from aim.sdk.configs import get_aim_repo_name
from lightning_utilities.core.rank_zero import rank_zero_only

from twotower.core.errors import UserError


class AimLogger(LoggerOfAim):  # type: ignore[misc]  # untyped where aim is not installed
    """Writes a run into a repository of Aim, by default one of its own in the run folder.

    Args:
        repo: the folder that has or gets the repository, or `aim://HOST:PORT`.
        experiment: the name under which Aim groups runs.
        run_name: the name Aim shows.
        system_tracking_interval: seconds between two looks at processor and memory; None for none.
        log_system_params: writes the environment's variables down as well, of which Aim leaves out those whose name has
            `secret`, `key`, `token` or `password` in it.
        capture_terminal_logs: copies what the terminal shows.
        **options: further arguments of Aim's logger.
    """

    _run = _run_hash = None  # for the end of a logger that was never built, which Aim's own doesn't survive

    def __init__(
        self,
        *,
        repo: str | None,
        experiment: str = "twotower",
        run_name: str | None = None,
        system_tracking_interval: float | None = None,
        log_system_params: bool = False,
        capture_terminal_logs: bool = False,
        **options: Any,
    ) -> None:
        if not repo:  # Aim would look for a repository in this folder and all above it
            raise UserError("logger.aim.repo is empty: name a folder, or aim://HOST:PORT.")
        super().__init__(
            repo=repo if "://" in repo else os.path.join(Path(repo).expanduser().resolve(), get_aim_repo_name()),
            experiment=experiment,
            run_name=run_name,
            system_tracking_interval=system_tracking_interval,
            log_system_params=log_system_params,
            capture_terminal_logs=capture_terminal_logs,
            **options,
        )

    @rank_zero_only
    def finalize(self, status: str = "") -> None:
        """Closes the run with how it ended: Lightning does after training, the run itself at its end."""
        if status and self._run_hash:
            if self._run is None:  # closed before; Aim's own way back in warns of others who write to it
                quiet = {"system_tracking_interval": None, "capture_terminal_logs": False}
                self._run = Run(self._run_hash, repo=self._repo_path, **quiet)
            self._run.set("status", status)
        super().finalize(status)
