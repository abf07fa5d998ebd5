"""From what a launcher hands over, in whatever process, to one job of the sweep."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from twotower.config.hydra_job import choices, job_config, overrides, tell_of_exact_index
from twotower.config.instantiate import config_hash
from twotower.core.files import write_text
from twotower.core.memo import keeping
from twotower.core.secrets import masked
from twotower.kernels.threads import set_aside
from twotower.sweep.isolation import share_threads
from twotower.sweep.job import Job, run_job
from twotower.sweep.journal import Journal
from twotower.sweep.plan import parallel_jobs


def launched_job(config: DictConfig) -> float | None:
    """Runs, resumes or passes over the job that Hydra composed; returns its objective, None where it has none.

    None, not NaN: a search by Optuna takes it for a failed trial, and goes on.

    Args:
        config: the job's composed config without Hydra's part, which is read from `HydraConfig`.
    """
    hydra = HydraConfig.get()
    share_threads(parallel_jobs(hydra))  # before torch is loaded, where this process is young enough
    run_dir, settings = Path(hydra.runtime.output_dir), job_config(config)
    journal = Journal(Path(hydra.sweep.dir).absolute(), settings["sweep"]["session"])
    job = Job(
        run_dir=run_dir,
        config=settings,
        config_hash=config_hash(settings),
        train=partial(_train, settings, run_dir),
        prepare=partial(write_hydra_files, run_dir, config, hydra),
    )
    with keeping():
        value = run_job(job, journal)
    return None if math.isnan(value) else value


def _train(settings: dict[str, Any], run_dir: Path, resume: Path | None) -> float:
    tell_of_exact_index(settings)
    with set_aside("twotower.training.train"):
        from twotower.training.train import train

    return train(settings, run_dir=run_dir, overrides=overrides(), choices=choices(), resume=resume)


def write_hydra_files(run_dir: Path, config: DictConfig, hydra: Any) -> None:
    """Writes `.hydra/` as Hydra would, but whole or not at all, and only for jobs that train."""
    folder = run_dir / ".hydra"
    wrapped = OmegaConf.create({"hydra": OmegaConf.to_container(hydra, resolve=False)})
    wrapped.hydra.output_subdir = folder.name
    for name, part in (("config", config), ("hydra", wrapped), ("overrides", hydra.overrides.task)):
        content = masked(OmegaConf.to_container(part, resolve=False))
        write_text(folder / f"{name}.yaml", OmegaConf.to_yaml(OmegaConf.create(content)))
