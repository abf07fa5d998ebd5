"""One job of a sweep: look at its folder, do what is left to do, note what became of it. Works under every launcher."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from twotower.core.errors import UserError
from twotower.core.files import read_json, write_json
from twotower.core.secrets import masked
from twotower.runs.resume import last_checkpoint
from twotower.runs.run import read_run
from twotower.runs.schema import FILE_NAME
from twotower.sweep.decide import Action, Decision, decide, failure_text
from twotower.sweep.isolation import isolated, output_to
from twotower.sweep.journal import Journal

logger = logging.getLogger(__name__)

LOCK = ".job.lock"
"""Held on a job's folder by the process at it; the kernel lets go of it when that process dies, however it dies."""

PASSED_OVER = {
    Action.SKIP: "skipped",
    Action.FAILED_BEFORE: "failed before",
    Action.REFUSE: "refused",
    Action.ELSEWHERE: "elsewhere",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as the sweep sees it.

    `train` is called with `resume=` (a checkpoint or None) and returns the objective; `prepare` writes Hydra's own
    files before it.
    """

    run_dir: Path
    config: dict[str, Any]
    config_hash: str
    train: Callable[..., float]
    prepare: Callable[[], None] = lambda: None


def run_job(job: Job, journal: Journal) -> float:
    """Does one job of a sweep and returns its objective; NaN when it has none.

    A failure is noted, not raised, so that the sweep goes on; only the user's stop gets through.
    """
    if reason := journal.stopped():
        journal.note(job.run_dir, "not started", reason=reason)
        return math.nan
    try:
        with FileLock(str(job.run_dir / LOCK), timeout=0):
            return _run_locked(job, journal)
    except Timeout:
        journal.note(job.run_dir, "elsewhere", reason="another process is at it")
    except OSError as error:
        journal.note(job.run_dir, "refused", reason=f"{error.filename or job.run_dir}: {error.strerror or error}")
    return math.nan


def _run_locked(job: Job, journal: Journal) -> float:
    settings = job.config["sweep"]
    decision = decide(job.run_dir, job.config, job.config_hash, retry_failed=bool(settings["retry_failed"]))
    if decision.action in PASSED_OVER:
        journal.note(job.run_dir, PASSED_OVER[decision.action], reason=decision.reason, value=decision.value)
        return math.nan if decision.value is None else decision.value
    if decision.unreadable:
        os.replace(job.run_dir / FILE_NAME, job.run_dir / f"{FILE_NAME}.unreadable")
    started = time.monotonic()
    journal.note(job.run_dir, "running", reason=decision.reason)
    outcome, reason, value = "finished", "", math.nan
    try:
        value = _train(_warm_start(decision, job.config), job)
    except (KeyboardInterrupt, SystemExit):
        journal.note(job.run_dir, "interrupted", reason="stopped by the user")
        raise
    except Exception as error:  # of the job's own: it is noted with its reason, output.log has the traceback
        outcome, reason = "failed", failure_text({"type": type(error).__name__, "message": str(error)})
        _close_record(job.run_dir, error)
        if settings["fail_fast"]:
            journal.stop(f"sweep.fail_fast=true and {journal.name_of(job.run_dir)} failed")
    else:
        reason = _pruned(job.run_dir)
    seconds = round(time.monotonic() - started, 3)
    known = None if math.isnan(value) else value
    journal.note(job.run_dir, outcome, reason=reason, value=known, seconds=seconds)
    return value


def _train(decision: Decision, job: Job) -> float:
    with isolated(), output_to(job.run_dir / "output.log", show=bool(job.config["sweep"]["show_jobs"])):
        if decision.action is Action.RESUME:
            logger.info("Going on from %s (the run was %s)", decision.checkpoint, decision.reason)
        job.prepare()
        try:
            return float(job.train(resume=decision.checkpoint))
        except UserError as error:
            logger.error("%s", error)
            raise
        except Exception:
            logger.exception("The job failed")
            raise


def _warm_start(decision: Decision, config: dict[str, Any]) -> Decision:
    """Starts a new job from `ckpt_path`, if one is given; a stopped one goes on from its own state anyway."""
    given = config.get("ckpt_path")
    if decision.checkpoint is not None or given in (None, "last"):
        return decision
    path = Path(given)
    return replace(decision, checkpoint=last_checkpoint(path) if path.is_dir() else path)


def _pruned(run_dir: Path) -> str:
    """Says so when the run was ended early for doing worse than most."""
    pruned = (read_run(run_dir).record.get("sweep") or {}).get("pruned")
    return f"pruned after epoch {pruned['epoch']}" if pruned else ""


def _close_record(run_dir: Path, error: Exception) -> None:
    """Closes a record that the failing code left saying `running`: this process goes on, so it would look alive."""
    path = run_dir / FILE_NAME
    try:
        record = read_json(path)
        if record["status"] == "running" and record["host"]["pid"] == os.getpid():
            record |= {"status": "failed", "error": {"type": type(error).__name__, "message": str(error)}}
            write_json(path, masked(record))
    except (UserError, KeyError, TypeError):
        logger.warning("%s could not be closed after the failure", path)
