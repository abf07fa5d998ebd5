"""What a training state holds, held against the run that is to go on from it, before any of it is taken over.

`training_state.read_training_state` knows the kinds of its parts. Here the trainer has been built, so that
every part can be compared with what stands in its place: weights, optimizers, schedules, loops and callbacks. Without
this a forged or damaged file ends in a traceback out of Lightning or torch, or in a run that goes on from nonsense.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from twotower.core.errors import UserError

PROGRESS = ("completed", "processed", "started", "ready")
"""The counters of a Lightning loop, none larger than the next, and all within one of each other."""
SCALARS = (bool, int, float, str, type(None))


class Restoring(pl.Callback):
    """Checks a training state part by part, each before Lightning takes it over.

    Args:
        path: the Lightning checkpoint to go on from.

    Attributes:
        over: whether everything was taken over.
        stepped: whether a step was made with it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.over, self.stepped = path, False, False
        self.content: dict[str, Any] = {}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Checks weights and the callbacks' states; this callback is the first of all."""
        self.content = checkpoint
        weights, own = checkpoint["state_dict"], pl_module.state_dict()
        for name in own:
            if name in weights and weights[name].dtype != own[name].dtype:
                self._refuse(f"state_dict.{name} holds {weights[name].dtype}, not {own[name].dtype}")
        states = self.content["callbacks"]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if callback.state_key in states:
                self._hold(states[callback.state_key], callback.state_dict(), f"callbacks.{type(callback).__name__}")
        state, expected = self.content.get("random_state"), torch.get_rng_state()
        if state is not None and (state.dtype != expected.dtype or state.shape != expected.shape):
            self._refuse(f"random_state is {list(state.shape)} of {state.dtype}")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks loops, optimizers and schedules."""
        loops = self.content["loops"].get("fit_loop")
        self._hold(loops, trainer.fit_loop.state_dict(), "loops.fit_loop")
        self._check_progress(loops, "loops.fit_loop")
        if self.content["epoch"] != loops["epoch_progress"]["current"]["completed"]:
            self._refuse(f"epoch is {self.content['epoch']}, and its loops count otherwise")
        schedules = [item.scheduler for item in trainer.lr_scheduler_configs]
        for name, own in (("optimizer_states", trainer.optimizers), ("lr_schedulers", schedules)):
            if len(self.content[name]) != len(own):
                self._refuse(f"{name} holds {len(self.content[name])}, not {len(own)}")
        for number, optimizer in enumerate(trainer.optimizers):
            self._check_optimizer(self.content["optimizer_states"][number], optimizer, f"optimizer_states.{number}")
        for number, schedule in enumerate(schedules):
            self._hold(self.content["lr_schedulers"][number], schedule.state_dict(), f"lr_schedulers.{number}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that all was taken over."""
        self.over, self.content = True, {}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Notes that the optimizers can go on from what they were given."""
        self.stepped = True

    def is_fault_of_file(self, error: Exception) -> bool:
        """Says whether an error is the file's: it came while that was taken over, or in an optimizer's first step.

        What an optimizer keeps depends on which weights get gradients, so only that step tells what is missing.
        """
        if not self.over:
            return True
        places = traceback.extract_tb(error.__traceback__)
        return not self.stepped and any("torch/optim/" in Path(place.filename).as_posix() for place in places)

    def _refuse(self, what: str) -> None:
        raise UserError(f"ckpt_path={self.path}: {what}; it is damaged, or no state of a run like this one.")

    def _hold(self, value: Any, own: Any, key: str) -> None:
        """Refuses a value of another kind than what stands in its place; what is None there may be any scalar."""
        if isinstance(own, Mapping):
            if not isinstance(value, Mapping):
                self._refuse(f"{key} is a {type(value).__name__}, not a dict")
            for name in own:
                if name not in value:
                    self._refuse(f"it lacks {key}.{name}")
                self._hold(value[name], own[name], f"{key}.{name}")
            for name in value if not own else ():
                if not isinstance(value[name], (list, Mapping)):
                    self._hold(value[name], None, f"{key}.{name}")
        elif isinstance(own, (list, tuple)):
            if not isinstance(value, (list, tuple)) or (own and len(value) != len(own)):
                self._refuse(f"{key} is not a list of {len(own)}")
            for number, (item, like) in enumerate(zip(value, own, strict=False)):
                self._hold(item, like, f"{key}.{number}")
        elif isinstance(own, torch.Tensor) or isinstance(value, torch.Tensor):
            if not _is_number(value) or not (own is None or _is_number(own)):
                self._refuse(f"{key} is no single number")
        elif own is None:
            if not isinstance(value, SCALARS):
                self._refuse(f"{key} is a {type(value).__name__}")
        elif not _alike(value, own):
            self._refuse(f"{key} is {str(value)[:40]!r}, where {str(own)[:40]!r} stands in a new run")

    def _check_progress(self, node: Any, key: str) -> None:
        if not isinstance(node, Mapping):
            return
        counts = [node[name] for name in PROGRESS if name in node]
        if counts and (sorted(counts) != counts or counts[0] < 0 or counts[-1] - counts[0] > 1):
            self._refuse(f"{key} counts {', '.join(map(str, counts))[:80]}")
        for name, item in node.items():
            self._check_progress(item, f"{key}.{name}")

    def _check_optimizer(self, state: Mapping[str, Any], optimizer: torch.optim.Optimizer, key: str) -> None:
        own = optimizer.state_dict()["param_groups"]
        groups = state["param_groups"]
        if len(groups) != len(own):
            self._refuse(f"{key}.param_groups holds {len(groups)}, not {len(own)}")
        for number, (group, like) in enumerate(zip(groups, own, strict=True)):
            flags = [name for name, item in like.items() if item is None or isinstance(item, (bool, str))]
            there = {name: item for name, item in like.items() if name in group or name not in flags}
            self._hold(group, there, f"{key}.param_groups.{number}")
            if list(group["params"]) != list(like["params"]):
                self._refuse(f"{key}.param_groups.{number} is of other weights")
        shapes = [tuple(weight.shape) for group in optimizer.param_groups for weight in group["params"]]
        kinds: dict[str, str] | None = None
        for place, values in state["state"].items():
            if type(place) is not int or not 0 <= place < len(shapes) or not isinstance(values, Mapping):
                self._refuse(f"{key}.state.{str(place)[:40]} is of no weight")
            own_kinds = {name: _kind(value, shapes[place]) for name, value in values.items()}
            kinds = kinds or (own_kinds if shapes[place] else None)
            if "" in own_kinds.values() or (shapes[place] and own_kinds != kinds):
                self._refuse(f"{key}.state.{place} does not fit its weight, or is not as the others")


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and value.dim() == 0 and not bool(torch.isnan(value))
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _alike(value: Any, own: Any) -> bool:
    if isinstance(own, (bool, str)) or isinstance(value, (bool, str)):
        return type(value) is type(own)
    if type(own) is int:
        return type(value) is int
    return _is_number(value) if isinstance(own, float) else isinstance(value, type(own))


def _kind(value: Any, shape: Sequence[int]) -> str:
    """Returns what an optimizer keeps of a weight: a count, numbers of the weight's shape, nothing; "" for others."""
    if isinstance(value, torch.Tensor):
        known = {(): "count", tuple(shape): "moment"}
        return known.get(tuple(value.shape), "") if value.is_floating_point() else ""
    return "none" if value is None else "number" if _is_number(value) else ""
