"""What Hydra knows of the job at hand: what its user typed, and which option of every group was chosen."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

ADDED = ("sweep.session=", "sweep.fixed=")
"""What `twotower.cli.train.run` adds to the command line of a sweep and no record should show."""


def overrides() -> list[str]:
    """Returns what the user typed for the job at hand, without `ADDED`."""
    from hydra.core.hydra_config import HydraConfig

    return [str(item) for item in HydraConfig.get().overrides.task if not str(item).startswith(ADDED)]


def choices() -> dict[str, Any]:
    """Returns the chosen option of every config group of the job at hand."""
    from hydra.core.hydra_config import HydraConfig

    chosen = OmegaConf.to_container(HydraConfig.get().runtime.choices)
    assert isinstance(chosen, dict)
    return {str(key): value for key, value in chosen.items() if "hydra/" not in str(key)}
