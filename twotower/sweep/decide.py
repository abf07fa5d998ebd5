"""What to do with a job whose folder may already hold something: run it, resume it, or leave it as it is.

Imports no torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from twotower.core.secrets import masked
from twotower.runs.resume import last_checkpoint
from twotower.runs.run import ENDED, Run, read_run
from twotower.runs.schema import FILE_NAME


class Action(Enum):
    """What a job does."""

    RUN = "run"
    RESUME = "resume"
    SKIP = "skip"
    FAILED_BEFORE = "failed before"
    REFUSE = "refuse"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An action, why, the objective of a finished run, and the checkpoint to go on from."""

    action: Action
    reason: str = ""
    value: float | None = None
    checkpoint: Path | None = None
    unreadable: bool = False


def decide(run_dir: Path, config: Mapping[str, Any], config_hash: str, *, retry_failed: bool = False) -> Decision:
    """Decides what to do with one job of a sweep.

    Args:
        run_dir: the job's folder.
        config: the job's full resolved config.
        config_hash: its hash.
        retry_failed: try a job again that failed before.
    """
    if not (run_dir / FILE_NAME).exists():
        return Decision(action=Action.RUN, reason="new")
    run = read_run(run_dir)
    if run.status == "unreadable":
        if retry_failed:
            return Decision(action=Action.RUN, reason=f"its record could not be read ({run.problem})", unreadable=True)
        why = f"{run_dir / FILE_NAME}: {run.problem}; sweep.retry_failed=true moves it aside and runs the job anew"
        return Decision(action=Action.REFUSE, reason=why)
    if run.record.get("config_hash") != config_hash:
        return Decision(action=Action.REFUSE, reason=_other_config(run, config))
    return _of_same_config(run, retry_failed)


def _of_same_config(run: Run, retry_failed: bool) -> Decision:
    if run.status in ENDED:
        value = (run.record.get("objective") or {}).get("value")
        return Decision(action=Action.SKIP, reason=run.status, value=value)
    if run.status == "running":
        where = run.record.get("host") or {}
        return Decision(action=Action.ELSEWHERE, reason=f"process {where.get('pid')} on {where.get('name')} runs it")
    if run.status == "failed" and not retry_failed:
        error = run.record.get("error") or {}
        return Decision(action=Action.FAILED_BEFORE, reason=failure_text(error))
    checkpoint = resumable(run.path)
    if checkpoint is None:
        return Decision(action=Action.RUN, reason=f"{run.status}, with no whole checkpoint to go on from")
    return Decision(action=Action.RESUME, reason=run.status, checkpoint=checkpoint)


def failure_text(error: Mapping[str, Any]) -> str:
    """Returns a recorded error as one line."""
    kind, message = str(error.get("type") or "Error"), " ".join(str(error.get("message") or "").split())
    return message if kind in ("UserError", "Error") and message else f"{kind}: {message}".rstrip(": ")


def resumable(run_dir: Path) -> Path | None:
    """Returns the checkpoint to resume a run from, or None.

    A checkpoint cut short by a kill or a full disk is passed over: its table of contents stands at its end, so it
    can't be read, and the best epoch's checkpoint is taken if that one is whole.
    """
    last = last_checkpoint(run_dir)
    for path in (last, last.with_name("best.ckpt")):
        if path.is_file() and zipfile.is_zipfile(path):
            return path
    return None


def _other_config(run: Run, config: Mapping[str, Any]) -> str:
    new = Run(path=run.path, record={"config": masked(dict(config)), "sweep": run.record.get("sweep")}, status="new")
    here, there = new.flat, run.flat
    differ = [
        f"{key}: {there.get(key)!r} there, {here.get(key)!r} here"
        for key in sorted({*there, *here})
        if (run.counts(key) or new.counts(key)) and there.get(key) != here.get(key)
    ]
    shown = "; ".join(differ[:3]) + (f"; and {len(differ) - 3} more" if len(differ) > 3 else "")
    return f"{run.path} holds a run of another config ({shown}): give this sweep a name of its own, sweep.name=..."
