"""From a whole config to the LightningModule that it names, with a loss, an optimizer and a schedule at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
from torch import nn
from torch.optim import Optimizer

from twotower.config.instantiate import build_part, instantiate, locate, name_of, parameters
from twotower.config.names import MODULE
from twotower.core.errors import UserError
from twotower.core.secrets import masked
from twotower.model.encoder import check_encoder, encoder_of
from twotower.optimizer.build import build_optimizer, parameter_groups
from twotower.scheduler.build import build_scheduler


def build_module(config: Mapping[str, Any], *, vocabulary_size: int, embedding_dim: int) -> pl.LightningModule:
    """Builds the LightningModule of a config; what it does not name in its constructor is not built.

    Args:
        config: the full resolved config, plain data.
        vocabulary_size: number of words.
        embedding_dim: size of a word vector.

    Raises:
        UserError: for a setting that is unknown or out of range, or a part that is not what its group needs.
    """
    settings = {"_target_": MODULE, **config["model"]}
    names, _ = parameters(locate(settings["_target_"], "model"))
    sizes = {"vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim}
    offered = {name: make() for name, make in _for_training(config).items() if name in names}
    module = build_part(settings, "model", {**sizes, **offered}, nested=settings["_target_"] != MODULE)
    if not isinstance(module, pl.LightningModule):
        raise UserError(f"model._target_={settings['_target_']} is a {name_of(type(module))}, no LightningModule.")
    check_encoder("model", encoder_of(module))
    module.hparams.update({"config": masked(dict(config)), **sizes})  # into every checkpoint of Lightning's
    return module


def _for_training(config: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """Returns what a module may take for its training, each made when it is wanted."""
    optimizer, embedding = config["optimizer"], config["embedding"]
    monitor = f"eval_{config['evaluation']['objective']}"
    return {
        "loss": lambda: _loss(config["loss"]),
        "optimizer": lambda: partial(_optimizer, optimizer, embedding.get("learning_rate")),
        "scheduler": lambda: partial(_schedule, config["scheduler"], monitor),
        "sparse_gradients": lambda: bool(optimizer.get("sparse", False)),
        "freeze_embedding": lambda: bool(embedding.get("freeze", False)),
        "cache_chunk": lambda: config["trainer"].get("cache_chunk"),
    }


def _loss(settings: Mapping[str, Any]) -> Any:
    loss = instantiate(settings, "loss")
    if not callable(loss):
        lacks = "can't be called; it needs forward(query_BD, document_ND, mask_BN)"
        raise UserError(f"loss._target_={settings['_target_']}: {type(loss).__name__} {lacks}.")
    return loss


def _optimizer(settings: Mapping[str, Any], embedding_lr: float | None, module: nn.Module) -> Optimizer:
    groups = parameter_groups(
        module, lr=settings["lr"], embedding_lr=embedding_lr, word_weights=settings.get("word_weights", 1.0)
    )
    return build_optimizer(settings, groups)


def _schedule(
    settings: Mapping[str, Any], monitor: str, optimizer: Optimizer, total_steps: int, steps_per_epoch: int
) -> dict[str, Any] | None:
    return build_scheduler(
        settings, optimizer, total_steps=total_steps, steps_per_epoch=steps_per_epoch, monitor=monitor
    )
