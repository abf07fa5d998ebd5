"""What a job takes from Hydra: its config as plain data, what was typed, and which choices were made.

Imports no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from twotower.config.instantiate import plain
from twotower.core.extras import is_there
from twotower.core.places import conf_dir

log = logging.getLogger(__name__)

ADDED = ("sweep.session=", "sweep.fixed=")
"""What the start of a sweep adds to its command line and no record should show."""

DEFAULT_INDEX = "faiss_flat"
"""The index of conf/train.yaml; without FAISS a run that asks for none gets an exact search of our own."""


@contextmanager
def hydra_started(job_name: str = "train") -> Iterator[Any]:
    """Gives a Hydra that reads our config groups, and puts back afterwards whatever Hydra the process had before."""
    before, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name=job_name, version_base="1.3"):
            yield GlobalHydra.instance().hydra
    finally:
        GlobalHydra.instance().hydra = before
        HydraConfig.instance().cfg = config


def job_config(config: DictConfig) -> dict[str, Any]:
    """Returns the resolved config of the job at hand as plain data.

    Where FAISS is not installed and nobody asked for an index, the default `faiss_flat` is `exact`, which gives the
    same hits; the config says so.

    Raises:
        UserError: for a value still missing.
    """
    settings: dict[str, Any] = plain(config)
    if list(settings.get("index") or {}) == [DEFAULT_INDEX] and not is_there("faiss") and not _asked_for_index():
        settings["index"] = OmegaConf.to_container(OmegaConf.load(conf_dir() / "index" / "exact.yaml"))
    return settings


def tell_of_exact_index(settings: dict[str, Any]) -> None:
    """Logs that the default index is another one here, for want of FAISS."""
    if "exact" in (settings.get("index") or {}) and not is_there("faiss") and not _asked_for_index():
        log.info("FAISS is not installed (pip install faiss-cpu), so the index is `exact`, with the same hits.")


def overrides() -> list[str]:
    """Returns what the user typed for the job at hand, without what the start of a sweep added."""
    return [str(item) for item in HydraConfig.get().overrides.task if not str(item).startswith(ADDED)]


def choices() -> dict[str, Any]:
    """Returns the chosen option of every config group of the job at hand."""
    chosen = OmegaConf.to_container(HydraConfig.get().runtime.choices)
    assert isinstance(chosen, dict)
    return {str(key): value for key, value in chosen.items() if "hydra/" not in str(key)}


def _asked_for_index() -> bool:
    """Says whether the command line or an experiment chose an index: a list of defaults is no choice of its own."""
    return "index" in choices() or any(item.lstrip("+~").startswith("index.") for item in overrides())
