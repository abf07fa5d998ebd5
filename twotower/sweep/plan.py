"""Which jobs a sweep has, before any of them starts: their overrides, folders and what is left to do.

Imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from twotower.config.hydra_job import job_config
from twotower.config.instantiate import config_hash
from twotower.runs.run import ENDED, Run
from twotower.sweep.decide import Action, Decision, decide


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """One job: its overrides, its folder, its config groups' choices and what would be done with it."""

    overrides: list[str]
    run_dir: Path
    choices: dict[str, str]
    decision: Decision

    @property
    def left(self) -> bool:
        """Whether it would train."""
        return self.decision.action in (Action.RUN, Action.RESUME)


def grid(config: DictConfig) -> list[list[str]] | None:
    """Returns the overrides of every job of a grid in their order; None where a sweeper chooses as it goes.

    Args:
        config: the sweep's composed config, Hydra's part included.
    """
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_", "")).endswith(".BasicSweeper"):
        return None

    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    arguments = [*params, *OmegaConf.to_container(config.hydra.overrides.task, resolve=False)]  # type: ignore[misc]
    parser = OverridesParser.create(config_loader=config_loader())
    batches = BasicSweeper.split_arguments(parser.parse_overrides(arguments), None)
    return [list(overrides) for batch in batches for overrides in batch]


def planned(config: DictConfig, jobs: Iterable[Sequence[str]]) -> list[PlannedJob]:
    """Composes every job, as Hydra will, and decides what it would do. Nothing is written.

    Raises:
        UserError: for a job whose config has no value for a key that needs one.
    """
    before = HydraConfig.instance().cfg
    plan = []
    try:
        for overrides in jobs:
            job = config_loader().load_sweep_config(config, list(overrides))
            HydraConfig.instance().set_config(job)
            run_dir = Path(str(job.hydra.sweep.dir)) / str(job.hydra.sweep.subdir)
            plan.append(_planned(job, list(overrides), run_dir))
    finally:
        HydraConfig.instance().cfg = before
    return plan


def _planned(job: DictConfig, overrides: list[str], run_dir: Path) -> PlannedJob:
    choices = {str(key): str(value) for key, value in job.hydra.runtime.choices.items() if "hydra/" not in str(key)}
    settings = job_config(_task_part(job, run_dir))
    decision = decide(run_dir, settings, config_hash(settings), retry_failed=bool(settings["sweep"]["retry_failed"]))
    return PlannedJob(overrides=overrides, run_dir=run_dir, choices=choices, decision=decision)


def _task_part(job: DictConfig, run_dir: Path) -> DictConfig:
    with read_write(job.hydra.runtime), open_dict(job.hydra.runtime):
        job.hydra.runtime.output_dir = str(run_dir.absolute())
    HydraConfig.instance().set_config(job)
    with read_write(job), open_dict(job):
        del job["hydra"]
    return job


def seconds_left(jobs: Sequence[PlannedJob], runs: Sequence[Run], *, parallel: int = 1) -> float | None:
    """Estimates how long the jobs still to do will take, from how long the most similar ended runs took.

    Args:
        jobs: the sweep's jobs.
        runs: ended runs to learn from, on the same data or not: those that share the most choices count.
        parallel: how many jobs run at a time.

    Returns:
        Seconds; None when nothing has been measured yet.
    """
    known = [run for run in runs if run.status in ENDED and run.seconds]
    if not known:
        return None
    expected = [_expected(job, known) for job in jobs if job.left]
    return sum(expected) / max(1, min(parallel, len(expected) or 1))


def _expected(job: PlannedJob, known: Sequence[Run]) -> float:
    groups = ("data", "model", "trainer", "embedding", "loss")
    weights = {name: 2 ** (len(groups) - place) for place, name in enumerate(groups)}

    def likeness(run: Run) -> int:
        return sum(weight for name, weight in weights.items() if str(run.choices.get(name)) == job.choices.get(name))

    best = max(likeness(run) for run in known)
    alike = [float(run.seconds or 0.0) for run in known if likeness(run) == best]
    return sum(alike) / len(alike)


def parallel_jobs(hydra: Any) -> int:
    """Returns how many jobs the chosen launcher runs at a time on one machine (1 when it says nothing)."""
    jobs = int(hydra.launcher.get("n_jobs") or 1)
    return (os.cpu_count() or 1) if jobs < 0 else jobs


def config_loader() -> Any:
    """Returns what Hydra composes configs with in this process."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return hydra.config_loader
