"""The whole config checked before any data is read: what the rooms check themselves, and what no room would."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import Trainer

from twotower.callbacks.mine import MineNegatives
from twotower.callbacks.pretrain import Pretrain
from twotower.config.instantiate import instantiate
from twotower.config.shape import checking
from twotower.config.trust import own_parts
from twotower.config.unread import refuse_unread
from twotower.core.errors import UserError, nearest
from twotower.core.file_name import check_folder_name, check_run_name
from twotower.core.validators import check_choice, check_count, check_keys, check_number
from twotower.embedding.build import check_embedding, check_source
from twotower.evaluation.names import METRICS, PROTOCOLS
from twotower.evaluation.own_metrics import build_metrics, objective_metric
from twotower.evaluation.settings import EvaluationSettings
from twotower.model.build import build_module
from twotower.model.encoder import encoder_of, pads_batches, width_of
from twotower.model.settings import ModuleSettings
from twotower.model.two_tower import TwoTower, unread_settings
from twotower.optimizer.build import build_optimizer, parameter_groups
from twotower.runs.settings import OWN_TRAINER_KEYS, RunSettings
from twotower.scheduler.build import build_scheduler
from twotower.text.build import check_text
from twotower.training.teachers import check_teacher

log = logging.getLogger(__name__)

_EVALUATED = "epochs are evaluated by callbacks.evaluate (every_n_epochs, max_queries, max_documents)"
UNREAD = {
    "callbacks": "callbacks stand in a group of their own, as in +callbacks.mine._target_=mine.Watch",
    "logger": "loggers stand in a group of their own, as in logger=[tensorboard]",
    "default_root_dir": "a run writes to its folder, hydra.run.dir",
    "plugins": "a run writes its checkpoints by a plugin of its own, and takes no other",
    **dict.fromkeys(("limit_val_batches", "val_check_interval", "check_val_every_n_epoch"), _EVALUATED),
    **dict.fromkeys(("limit_test_batches", "limit_predict_batches", "num_sanity_val_steps"), _EVALUATED),
}
"""Settings of Lightning's Trainer that a run doesn't go by, and what it goes by instead."""

TOP_LEVEL = (
    *("callbacks", "ckpt_path", "data", "embedding", "evaluation", "index", "logger", "loss", "model", "optimizer"),
    *("paths", "pretrain", "run_name", "scheduler", "seed", "sweep", "tags", "text", "trainer"),
)
"""Every key at the top of a config."""
MISSPELT = 0.75
"""As alike as this to one of them, another key at the top is taken for a slip ("modle"), not for one's own."""

NEEDED_CALLBACKS = ("evaluate", "record", "checkpoint", "export")
"""A run without one of these would leave no result; the others may be taken out."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was built to check a config, and what was learnt of it.

    Attributes:
        settings: what the run reads of its config.
        callbacks: the run's callbacks; a user's own are built once.
        width: size of the model's vectors.
        pads_batches: whether the model gains from batches of like lengths.
    """

    settings: RunSettings
    callbacks: list[Any]
    width: int
    pads_batches: bool


def check_settings(config: Mapping[str, Any]) -> Checked:
    """Checks every group but `index` and `logger`, which are checked where they are opened.

    Args:
        config: the full resolved config, plain data.

    Returns:
        What the run goes on with.

    Raises:
        UserError: for an unknown key, a value out of range, or a callback that can't be done without.
    """
    for key in config:
        hint = "" if key in TOP_LEVEL else nearest(key, TOP_LEVEL, cutoff=MISSPELT)
        if hint:  # other keys are for one's own parts to refer to
            raise UserError(f"No config key '{key}'; there are: {', '.join(TOP_LEVEL)}.{hint}")
    check_run_name(config.get("run_name"))
    for name in config.get("index") or {}:
        check_folder_name("an index's name", str(name))
    with checking("trainer"):
        check_trainer(config["trainer"])
    settings = RunSettings.parse(config)
    with checking("evaluation"):
        check_objective(settings.evaluation)
    with checking("callbacks"):
        callbacks = check_callbacks(config["callbacks"], own=own_names(config))
    with checking("pretrain"):
        callbacks += check_pretrain(config.get("pretrain"))
        if not settings.data.learns_pairs and not config.get("pretrain"):
            pairs = "train_pairs=false" if settings.data.train_split else "train_split=null"
            raise UserError(
                f"data.{pairs} and pretrain=none leave nothing to learn from: set pretrain=crops, or train on pairs."
            )
    if settings.data.negatives.kind == "model":
        callbacks.append(MineNegatives())
    with checking("loss or text"):
        check_loss_and_text(config["loss"], settings)
    with checking("embedding, model, loss, optimizer or scheduler"):
        width, pads = check_learning(settings.module, own_names(config))
    with checking("The config"):
        refuse_unread(config)
    return Checked(settings=settings, callbacks=callbacks, width=width, pads_batches=pads)


def check_callbacks(callbacks: Mapping[str, Any], own: Sequence[str] | None = ()) -> list[Any]:
    """Builds the `callbacks` group, and checks what Lightning's own would take without a word.

    Args:
        callbacks: the group.
        own: names of the user's own metrics, which may be monitored too.

    Raises:
        UserError: as `check_settings`.
    """
    for name in NEEDED_CALLBACKS:
        if not callbacks.get(name):
            raise UserError(f"callbacks.{name} can't be taken out: without it a run leaves no result.")
    stopping = callbacks.get("early_stopping")
    if stopping:
        check_count("callbacks.early_stopping.patience", stopping["patience"])
        check_number("callbacks.early_stopping.min_delta", stopping.get("min_delta", 0.0), at_least=0)
        check_choice("callbacks.early_stopping.mode", stopping["mode"], ("max", "min"))
        check_monitor("callbacks.early_stopping.monitor", stopping["monitor"], own)
    built = {name: instantiate(settings, f"callbacks.{name}") for name, settings in callbacks.items() if settings}
    for name, callback in built.items():
        if not isinstance(callback, pl.Callback):
            raise UserError(f"callbacks.{name} is a {type(callback).__name__}, not a callback of pytorch_lightning.")
    return list(built.values())


def check_pretrain(settings: Mapping[str, Any] | None) -> list[Any]:
    """Builds the `pretrain` group, and what runs it; nothing where it is empty, or missing as in earlier records.

    Raises:
        UserError: as `check_settings`.
    """
    if not settings:
        return []
    method = instantiate(settings, "pretrain")
    if not callable(getattr(method, "run", None)):
        raise UserError(
            f"pretrain._target_={settings['_target_']}: {type(method).__name__} has no method run; "
            "docs/own_parts.md shows what each part needs."
        )
    return [Pretrain(method=method)]


def own_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Returns the names of a user's own metrics; None where other parts of the user's own may log any."""
    if any(not key.startswith(("evaluation.", "index.", "logger.", "data.")) for key in own_parts(config)):
        return None
    return tuple(config["evaluation"].get("metrics") or ())


def check_monitor(key: str, name: Any, own: Sequence[str] | None = ()) -> None:
    """Checks the name of a logged metric: Lightning waits for one that never comes without a word.

    Args:
        key: the config key.
        name: its value.
        own: names of the user's own metrics; None where any may be logged, which `callbacks.monitors` then looks for.

    Raises:
        UserError: for a name that no run logs.
    """
    if own is None:
        return
    logged = [f"eval_{protocol}/{item}" for protocol in ("full", "rerank") for item in (*METRICS, *own)]
    check_choice(key, name, [*logged, "train_loss", "train_accuracy"])


def check_loss_and_text(loss: Mapping[str, Any], settings: RunSettings) -> None:
    """Checks that the loss has the negatives it needs, and tries a tokenizer of the user's own.

    Raises:
        UserError: as `check_settings`.
    """
    if loss.get("mining") == "explicit" and settings.data.negatives.kind == "in_batch":
        raise UserError(
            "loss.mining=explicit needs explicit negatives: set data.negatives.kind and data.negatives.count, "
            "or mine in the batch with loss.mining=semi_hard, batch_hard, random or all."
        )
    check_text(settings.text)
    if str(loss.get("_target_", "")).startswith("twotower.loss.distill."):
        check_teacher(str(loss.get("teacher")))


def check_learning(settings: ModuleSettings, own: Sequence[str] | None) -> tuple[int, bool]:
    """Checks embedding, model, loss, optimizer and scheduler by building them for a vocabulary of two words.

    Args:
        settings: what the module is built and trained with.
        own: names of a user's own metrics; None where any may be logged.

    Returns:
        The size of the model's vectors, and whether it gains from batches of like lengths.

    Raises:
        UserError: as `check_settings`.
    """
    check_source(check_embedding(settings.embedding))
    module = build_module(settings, vocabulary_size=2, embedding_dim=settings.embedding.dim)
    rates = {"lr": settings.optimizer.lr, "embedding_lr": settings.embedding.learning_rate}
    shares = {"word_weights": settings.optimizer.word_weights, "layers": settings.optimizer.layers}
    groups = parameter_groups(module, **rates, **shares)  # type: ignore[arg-type]
    optimizer = build_optimizer(settings.optimizer, groups)
    build_scheduler(settings.scheduler, optimizer, total_steps=100, steps_per_epoch=10)
    if settings.scheduler.monitor:
        check_monitor("scheduler.monitor", settings.scheduler.monitor, own)
    encoder = encoder_of(module)
    if isinstance(encoder, TwoTower) and (names := unread_settings(settings.model)):
        log.info("Neither tower of this model reads %s.", ", ".join(f"model.{name}" for name in names))
    width, dims = width_of(encoder), getattr(getattr(module, "loss", None), "dims", ())
    if dims and dims[-1] > width:
        raise UserError(f"loss.dims={list(dims)} asks for more than the vectors have: they are of {width} numbers.")
    return width, pads_batches(encoder)


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Holds the keys of the `trainer` group against Lightning's, and its accelerator against this machine.

    Raises:
        UserError: as `check_settings`, and for a GPU that isn't there.
    """
    known = inspect.signature(Trainer.__init__).parameters
    check_keys("trainer", trainer, ["_target_", *(key for key in OWN_TRAINER_KEYS if key not in known), *known])
    for key, instead in UNREAD.items():
        if trainer.get(key) is not None:
            raise UserError(f"trainer.{key}={trainer[key]} would have no effect: {instead}.")
    if trainer.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(f"trainer.accelerator={trainer['accelerator']}: this machine has no GPU; use trainer=cpu.")


def check_objective(evaluation: EvaluationSettings) -> None:
    """Builds a user's own metrics, and holds the objective against what is measured.

    Raises:
        UserError: as `check_settings`.
    """
    metric = objective_metric(evaluation.objective, build_metrics(evaluation.metrics, k=evaluation.k))
    protocol, _, _ = evaluation.objective.rpartition("/")
    wanted = evaluation.protocols
    if protocol not in PROTOCOLS:
        raise UserError(f"evaluation.objective={metric} names no protocol; give full/{metric} or rerank/{metric}.")
    if wanted not in ("auto", protocol) and protocol not in wanted:
        raise UserError(
            f"evaluation.objective={protocol}/{metric} is of a protocol that evaluation.protocols={wanted} leaves out; "
            f"add evaluation.objective={wanted if isinstance(wanted, str) else wanted[0]}/{metric}."
        )


def check_launch(trainer_config: dict[str, Any], *, sweep: bool) -> None:
    """Refuses what cannot work with several processes.

    Raises:
        UserError: for a sweep whose jobs would each start processes of their own.
    """
    if sweep and str(trainer_config.get("strategy", "auto")).startswith("ddp"):
        raise UserError(
            "trainer=ddp starts processes by repeating the command line, which a sweep's cannot: "
            "run its jobs one at a time (without -m), or give each job one process (trainer=cpu, trainer=gpu)."
        )
