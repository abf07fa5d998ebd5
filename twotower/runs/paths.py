"""The run a command works on when none is named: the newest one that came to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twotower.core.errors import UserError
from twotower.runs.find import find_run
from twotower.runs.ledger import load


def find_newest_run(folders: Sequence[str | Path] = ()) -> Path:
    """Returns the folder of the run that ended last (finished, at chance or collapsed).

    Args:
        folders: where to look (default: outputs/ and multirun/).

    Raises:
        UserError: when no run has finished.
    """
    runs = load(*folders).ended
    if not runs:
        raise UserError("No finished run here yet: train one with `python train.py`, or name a folder with --run.")
    return min(runs, key=lambda run: run.age).path


def resolve_run(text: str | None) -> Path:
    """Returns the folder of the run a user named (folder, run name or config hash), or of the newest finished one."""
    return find_newest_run() if text is None else find_run(text).path
