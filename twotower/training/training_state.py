"""Going on from a Lightning checkpoint: what is read of it, and what a run that goes on may not change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from twotower.config.canonical import canonical, current
from twotower.core.archive import read_archive
from twotower.core.errors import UserError
from twotower.core.finite import check_weights
from twotower.core.reading import Each, conform
from twotower.core.secrets import masked

COMPARED = ("model", "embedding", "text", "loss", "optimizer")
"""The groups in which a run that goes on must not differ from the one it goes on from."""
TRAINING_STATE = {
    "pytorch-lightning_version": str,
    "state_dict": Each(torch.Tensor),
    "optimizer_states": [{"state": dict, "param_groups": [Each(object)]}],
    "lr_schedulers": [dict],
    "callbacks": dict,
    "loops": dict,
    "epoch": int,
    "global_step": int,
    "hyper_parameters": {"config": {f"{group}?": Each(object) for group in COMPARED}},
    "random_state?": torch.Tensor,
}
"""What a run needs of a Lightning checkpoint to go on from it."""


def read_training_state(path: Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint to go on from, without running any code in it.

    Raises:
        UserError: when it is missing, cut short, holds more than plain data, is no training state, or is not finite.
    """
    content = read_archive(path, contents=True)
    for key in TRAINING_STATE:
        if not isinstance(content, dict) or (not key.endswith("?") and key not in content):
            raise UserError(f"ckpt_path={path} holds no training state to go on from (it lacks {key}).")
    conform(content, TRAINING_STATE, f"ckpt_path={path}")
    for key, _ in _tensors(content["hyper_parameters"], "hyper_parameters"):
        raise UserError(f"ckpt_path={path}: {key} is a tensor, not a setting; it is damaged or not one of ours.")
    check_weights(content["state_dict"], f"ckpt_path={path}")
    moments = {f"{key}": value for key, value in _tensors(content["optimizer_states"], "optimizer")}
    check_weights(moments, f"ckpt_path={path}")
    return content  # type: ignore[no-any-return]


def check_resume(path: Path, config: dict[str, Any], *, run_dir: Path | None = None) -> None:
    """Refuses to go on from a training state that a config would not fit, or would silently not change.

    Args:
        path: a Lightning checkpoint.
        config: the full resolved config of the run to come.
        run_dir: its folder. In a folder of its own, not the checkpoint's, a run must have an epoch left to train.

    Raises:
        UserError: as `read_training_state`, or naming the first setting that differs.
    """
    state = read_training_state(path)
    if run_dir is not None and path.resolve().parent.parent != run_dir.resolve():
        _check_left(path, state, config["trainer"])
    earlier = state["hyper_parameters"]["config"]
    was, will = current(canonical(earlier)), current(canonical(config))
    for group in COMPARED:
        before, now = was.get(group) or {}, masked(will[group])
        for key in (*before, *now):
            if before.get(key) != now.get(key):
                raise UserError(
                    f"ckpt_path={path} was trained with {group}.{key}={before.get(key)}, not {now.get(key)}; "
                    f"a run goes on with the settings it began with (`twotower rerun` starts a variation)."
                )


def _tensors(value: Any, key: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield key, value
    elif isinstance(value, (dict, list)):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(item, f"{key}.{name}")


def _check_left(path: Path, state: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    done, most = state["epoch"] + 1, trainer.get("max_epochs")
    if isinstance(most, int) and 0 <= most <= done:
        raise UserError(
            f"ckpt_path={path} has been trained for {done} epochs, so trainer.max_epochs={most} leaves none to train; "
            f"it counts from the first epoch on: set it above {done}, or search and evaluate that run as it is."
        )
    steps, limit = int(state.get("global_step") or 0), trainer.get("max_steps")
    if isinstance(limit, int) and 0 <= limit <= steps:
        raise UserError(
            f"ckpt_path={path} has been trained for {steps} steps, so trainer.max_steps={limit} leaves none to train."
        )
