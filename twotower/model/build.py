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
from twotower.model.encoder import check_encoder, encoder_of
from twotower.model.settings import ModuleSettings
from twotower.optimizer.build import build_optimizer, parameter_groups
from twotower.optimizer.settings import OptimizerSettings
from twotower.scheduler.build import build_scheduler
from twotower.scheduler.settings import SchedulerSettings


def build_module(
    config: Mapping[str, Any] | ModuleSettings, *, vocabulary_size: int, embedding_dim: int
) -> pl.LightningModule:
    """Builds the LightningModule of a config; what it does not name in its constructor is not built.

    Args:
        config: the full resolved config, or what was read of it.
        vocabulary_size: number of words.
        embedding_dim: size of a word vector.

    Raises:
        UserError: for a setting that is unknown or out of range, or a part that is not what its group needs.
    """
    settings = ModuleSettings.parse(config)
    target = str(settings.model["_target_"])
    names, _ = parameters(locate(target, "model"))
    sizes = {"vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim}
    offered = {name: make() for name, make in _for_training(settings).items() if name in names}
    module = build_part(settings.model, "model", {**sizes, **offered}, nested=target != MODULE)
    if not isinstance(module, pl.LightningModule):
        raise UserError(f"model._target_={target} is a {name_of(type(module))}, no LightningModule.")
    check_encoder("model", encoder_of(module))
    module.hparams.update({"config": settings.recorded, **sizes})  # into every checkpoint of Lightning's
    return module


def _for_training(settings: ModuleSettings) -> dict[str, Callable[[], Any]]:
    """Returns what a module may take for its training, each made when it is wanted."""
    optimizer, embedding = settings.optimizer, settings.embedding
    return {
        "loss": lambda: _loss(settings.loss),
        "optimizer": lambda: partial(_optimizer, optimizer, embedding.learning_rate),
        "scheduler": lambda: partial(_schedule, settings.scheduler, settings.monitor),
        "sparse_gradients": lambda: optimizer.sparse,
        "freeze_embedding": lambda: embedding.freeze,
        "cache_chunk": lambda: settings.cache_chunk,
    }


def _loss(settings: Mapping[str, Any]) -> Any:
    loss = instantiate(settings, "loss")
    if not callable(loss):
        lacks = "can't be called; it needs forward(query_BD, document_ND, mask_BN)"
        raise UserError(f"loss._target_={settings['_target_']}: {type(loss).__name__} {lacks}.")
    return loss


def _optimizer(settings: OptimizerSettings, embedding_lr: float | None, module: nn.Module) -> Optimizer:
    shares = {"word_weights": settings.word_weights, "layers": settings.layers}
    groups = parameter_groups(module, lr=settings.lr, embedding_lr=embedding_lr, **shares)
    return build_optimizer(settings, groups)


def _schedule(
    settings: SchedulerSettings, monitor: str, optimizer: Optimizer, total_steps: int, steps_per_epoch: int
) -> dict[str, Any] | None:
    return build_scheduler(
        settings, optimizer, total_steps=total_steps, steps_per_epoch=steps_per_epoch, monitor=monitor
    )
