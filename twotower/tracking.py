"""Loggers of a run: built from config, given the whole resolved config, and closed with the run's true ending."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger

from twotower.config import instantiate
from twotower.errors import UserError
from twotower.runs.masking import masked


def build_loggers(config: Mapping[str, Any], *, run_name: str) -> list[Logger]:
    """Builds every logger of `config.logger` and hands each the full resolved config, secrets masked.

    metrics.csv is always written, whatever else was chosen.

    Args:
        config: the full resolved config.
        run_name: the name the run gets where a logger shows one.

    Raises:
        UserError: when a logger can't start, such as W&B online without a key.
    """
    chosen = dict(config.get("logger") or {})
    chosen.setdefault(
        "csv",
        {
            "_target_": "pytorch_lightning.loggers.CSVLogger",
            "save_dir": config["paths"]["run"],
            "name": None,
            "version": "csv",
        },
    )
    loggers = []
    for name, settings in chosen.items():
        extra = _wandb_settings(settings, config, run_name) if name == "wandb" else {}
        try:
            logger = instantiate(settings, **extra)
            logger.log_hyperparams(masked(dict(config)))
            _ = logger.experiment
        except ModuleNotFoundError as error:
            raise UserError(f"logger={name} needs the package {error.name}: pip install 'twotower[{name}]'.") from error
        except Exception as error:
            if type(error).__module__.startswith("wandb"):
                raise UserError(f"logger=wandb could not start ({error}); WANDB_MODE=offline works without an account.") from error
            raise
        loggers.append(logger)
    return loggers


def _wandb_settings(settings: Mapping[str, Any], config: Mapping[str, Any], run_name: str) -> dict[str, Any]:
    group = settings.get("group") or (config.get("sweep") or {}).get("name")
    return {"name": run_name, "group": group, "tags": list(config.get("tags") or [])}


def wandb_identity() -> dict[str, str | None]:
    """Returns the ids of the W&B run in progress and of the sweep it belongs to, None where there is none."""
    import sys

    wandb = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    if run is None:
        return {"run_id": None, "sweep_id": None}
    return {"run_id": run.id, "sweep_id": run.sweep_id or os.environ.get("WANDB_SWEEP_ID")}


def summarise(loggers: list[Logger], figures: Mapping[str, Any]) -> None:
    """Puts final figures into the W&B summary; other loggers have no summary."""
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger":
            logger.experiment.summary.update(dict(figures))  # type: ignore[attr-defined]


def close_loggers(loggers: list[Logger], *, failed: bool) -> None:
    """Closes every logger; a W&B run of a failed training ends with exit code 1, not as finished.

    Args:
        loggers: what `build_loggers` returned.
        failed: whether the run ended in an error or was interrupted.
    """
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=1 if failed else 0)
