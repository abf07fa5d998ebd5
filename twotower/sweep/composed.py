"""Composing each job of a sweep once: Hydra composes all of them to check them, and each again to start it.

Imports no torch.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import Any

from omegaconf import DictConfig, OmegaConf

KEPT = 500
"""Configs waiting for their job at a time, some 30 kB each; of those beyond, each is composed twice as before."""


def compose_once(loader: Any) -> None:
    """Lets a config loader of Hydra's hand a job's config out a second time instead of composing it again.

    What is handed out is a copy, and only once: a third asker gets a config composed anew.

    Args:
        loader: Hydra's `ConfigLoader` of this process.
    """
    compose, waiting = loader.load_sweep_config, {}  # type: ignore[var-annotated]

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        hydra = master_config.hydra
        key = (str(hydra.job.config_name), *hydra.overrides.hydra, "", *sweep_overrides)
        if key in waiting:
            config: DictConfig = pickle.loads(waiting.pop(key))  # noqa: S301 - bytes of our own, made below
            OmegaConf.copy_cache(from_config=master_config, to_config=config)
            return config
        config = compose(master_config, sweep_overrides)
        if len(waiting) < KEPT:
            with suppress(pickle.PicklingError):  # of a plugin's class that was loaded twice
                waiting[key] = pickle.dumps(config)
        return config

    loader.load_sweep_config = load_sweep_config
