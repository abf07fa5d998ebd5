"""Loggers of a run: built from config, given the whole resolved config, and closed with the run's true ending."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import Logger

from twotower.config.instantiate import instantiate
from twotower.core.errors import UserError, in_one_line
from twotower.core.extras import is_there, missing
from twotower.core.files import atomic_path
from twotower.core.secrets import mask_text, masked

LONGEST_TAG, LONGEST_NAME = 64, 128
"""Characters that W&B takes in a tag, and in a run's, a group's or a project's name."""
OURS = ("log_artifacts",)
"""Keys of a logger's config that are meant for us, not for the logger."""

NEEDS = {
    "TensorBoardLogger": "tensorboard",
    "WandbLogger": "wandb",
    "MLFlowLogger": "mlflow",
    "CometLogger": "comet_ml",
    "OfflineCometLogger": "comet_ml",
    "AimLogger": "aim",
}
"""Lightning's loggers that write through a package of their own, which they look for only once they are built."""


NAMED = {"MLFlowLogger": "run_name", "CometLogger": "name", "OfflineCometLogger": "name", "AimLogger": "run_name"}
"""The argument by which other loggers take the run's name."""


def build_loggers(config: Mapping[str, Any], *, run_name: str, wandb_run_id: str | None = None) -> list[Logger]:
    """Builds every logger of `config.logger` and hands each the full resolved config, secrets masked.

    metrics.csv is always written, whatever else was chosen.

    Args:
        config: the full resolved config.
        run_name: the name the run gets where a logger shows one.
        wandb_run_id: the W&B run to go on with, for a run that is resumed.

    Raises:
        UserError: when a logger can't start, such as W&B online without a key.
    """
    chosen = {name: dict(settings) for name, settings in (config.get("logger") or {}).items() if settings}
    csv = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": config["paths"]["run"], "name": None}
    chosen.setdefault("csv", {**csv, "version": "metrics"})
    loggers: list[Logger] = []
    try:
        for name, settings in chosen.items():
            if name == "wandb":
                extra = _wandb_settings(settings, config, run_name, wandb_run_id)
            else:
                extra = _named(settings, run_name)
            loggers.append(_build(name, settings, extra, config))
    except BaseException:
        close_loggers(loggers, failed=True)
        raise
    return loggers


def _build(name: str, settings: Mapping[str, Any], extra: Mapping[str, Any], config: Mapping[str, Any]) -> Logger:
    package = NEEDS.get(str(settings.get("_target_")).rpartition(".")[2])
    if package and not is_there(package):
        raise missing(f"logger={name}", package)
    try:
        logger = instantiate(
            {key: value for key, value in settings.items() if key not in OURS}, f"logger.{name}", **extra
        )
        if not isinstance(logger, Logger):
            raise UserError(f"logger.{name} is a {type(logger).__name__}, not a logger of pytorch_lightning.")
        experiment = getattr(logger, "experiment", None)
        logger.log_hyperparams(_for_wandb(config, experiment) if name == "wandb" else masked(dict(config)))
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        raise UserError(f"logger.{name}: {error}.") from error
    except Exception as error:
        if type(error).__module__.startswith("pydantic"):
            raise UserError(f"logger.{name}: {_refused_settings(error)}.") from None  # it repeats what it was given
        if package is None or isinstance(error, UserError):
            raise
        way_out = "; WANDB_MODE=offline works without an account" if package == "wandb" else ""
        raise UserError(f"logger.{name} could not start ({in_one_line(error)}){way_out}.") from error
    return logger


def _refused_settings(error: Any) -> str:
    """Returns what pydantic has against W&B's settings, without the values."""
    problems = [
        f"settings.{'.'.join(map(str, item['loc']))} ({item['msg']})" for item in error.errors(include_input=False)
    ]
    return "; ".join(problems[:3])


def _named(settings: Mapping[str, Any], run_name: str) -> dict[str, Any]:
    """Returns the argument by which a logger that shows names takes the run's, unless the config has it."""
    key = NAMED.get(str(settings.get("_target_")).rpartition(".")[2])
    return {key: run_name} if key and settings.get(key) is None else {}


def _wandb_settings(
    settings: Mapping[str, Any], config: Mapping[str, Any], run_name: str, run_id: str | None
) -> dict[str, Any]:
    group = settings.get("group") or (config.get("sweep") or {}).get("name")
    check_limits(run_name, group, config.get("tags") or [], settings.get("project"))
    known = {} if run_id is None or "WANDB_RUN_ID" in os.environ else {"id": run_id}
    return {
        "name": run_name,
        "group": group,
        "tags": [mask_text(str(tag)) for tag in config.get("tags") or []],
        **known,
    }


def check_limits(run_name: str, group: str | None, tags: Sequence[Any], project: str | None) -> None:
    """Checks what W&B refuses, in words that name the key.

    Raises:
        UserError: for a tag, a name, a group or a project that W&B does not take.
    """
    for tag in tags:
        if not 1 <= len(str(tag)) <= LONGEST_TAG:
            raise UserError(f"tags: W&B takes tags of 1 to {LONGEST_TAG} characters; found {str(tag)[:80]!r}.")
    for key, name in (("run_name", run_name), ("logger.wandb.group", group), ("logger.wandb.project", project)):
        if name is not None and not 1 <= len(str(name)) <= LONGEST_NAME:
            raise UserError(
                f"{key}={str(name)[:60]}...: W&B takes 1 to {LONGEST_NAME} characters; found {len(str(name))}."
            )
    if project is not None and (bad := sorted(set(str(project)) & set("/\\#?%:"))):
        raise UserError(f"logger.wandb.project={project}: W&B takes no {' '.join(bad)} in a project's name.")


def _for_wandb(config: Mapping[str, Any], experiment: Any) -> dict[str, Any]:
    """Returns the config as W&B gets it.

    A W&B sweep locks the names it searches: with `model: gru` in a sweep file, W&B would drop our whole group `model`
    without a word. Such groups go under `resolved` as well, so that nothing is lost.
    """
    content = masked(dict(config))
    locked = [key for key in content if getattr(experiment, "sweep_id", None) and key in dict(experiment.config)]
    return {**content, "resolved": {key: content[key] for key in locked}} if locked else content


def wandb_identity() -> dict[str, str | None]:
    """Returns the ids of the W&B run in progress and of the sweep it belongs to, None where there is none."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None:
        return {"run_id": None, "sweep_id": None}
    return {"run_id": run.id, "sweep_id": run.sweep_id or os.environ.get("WANDB_SWEEP_ID")}


def summarise(loggers: Sequence[Logger], figures: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = ()) -> None:
    """Puts final figures into the W&B summary; other loggers have no summary.

    W&B keeps the last value it saw of each metric; here the best epoch's take its place, as sweeps judge runs by it.

    Args:
        loggers: what `build_loggers` returned.
        figures: the final figures; `best_epoch` among them picks the entry of the history.
        history: the per-epoch entries of the run's record.
    """
    best: Mapping[str, Any] = next((item for item in history if item["epoch"] == figures.get("best_epoch")), {})
    evaluated = {f"eval_{name}": value for name, value in (best.get("metrics") or {}).items()}
    for logger in _of_wandb(loggers):
        logger.experiment.summary.update({**evaluated, **figures})  # type: ignore[attr-defined]


def log_artifacts(
    loggers: Sequence[Logger],
    config: Mapping[str, Any],
    *,
    run_dir: Path,
    checkpoint: Path | None,
    document_ids: Sequence[str],
    document_ND: np.ndarray | None,
) -> None:
    """Hands the exported model and the documents' vectors to W&B, where `logger.wandb.log_artifacts` asks for it.

    Args:
        loggers: what `build_loggers` returned.
        config: the full resolved config.
        run_dir: the run folder; the vectors are written there as `embeddings.npz` (ids, vectors_ND).
        checkpoint: the exported model.
        document_ids: the ids of the documents.
        document_ND: their vectors.
    """
    if not ((config.get("logger") or {}).get("wandb") or {}).get("log_artifacts"):
        return
    import wandb

    for logger in _of_wandb(loggers):
        run = logger.experiment  # type: ignore[attr-defined]
        if checkpoint is not None:
            model = wandb.Artifact(f"model-{run.id}", type="model", metadata={"file": checkpoint.name})
            model.add_file(str(checkpoint))
            run.log_artifact(model)
        if document_ND is not None:
            path = run_dir / "embeddings.npz"
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, ids=np.asarray(document_ids, dtype=np.str_), vectors_ND=document_ND)
            vectors = wandb.Artifact(f"embeddings-{run.id}", type="embeddings", metadata={"shape": document_ND.shape})
            vectors.add_file(str(path))
            run.log_artifact(vectors)


def close_loggers(loggers: Sequence[Logger], *, failed: bool) -> None:
    """Closes every logger; a W&B run of a failed training ends with exit code 1, not as finished.

    Args:
        loggers: what `build_loggers` returned.
        failed: whether the run ended in an error or was interrupted.
    """
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=1 if failed else 0)


def _of_wandb(loggers: Sequence[Logger]) -> list[Logger]:
    return [logger for logger in loggers if type(logger).__name__ == "WandbLogger"]
