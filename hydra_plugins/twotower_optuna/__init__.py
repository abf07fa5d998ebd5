"""The sweeper of `hydra/sweeper=optuna_tpe` and `optuna_random`, where Hydra looks for plugins.

Hydra imports this at every start, so it loads nothing; the work is done in `twotower.sweep.search`.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class OptunaSweeper(Sweeper):
    """Lets Optuna choose the jobs of a sweep; `twotower.sweep.search.Search` says what the settings mean."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Makes the launcher that runs the jobs."""
        from hydra.core.plugins import Plugins

        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs the search."""
        from twotower.sweep.search import Search

        assert self.launcher is not None
        Search(**self.settings).run(arguments, self.launcher, str(self.config.hydra.sweep.dir))
