"""From the `optimizer` config group to an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from twotower.config.instantiate import locate
from twotower.core.errors import UserError
from twotower.core.validators import check_keys
from twotower.optimizer.rows import FOR_ROWS
from twotower.optimizer.settings import BETAS, OptimizerSettings

Groups = list[dict[str, Any]]

SPARSE_READY = ("SparseAdam", "SGD", "Adagrad")
"""Optimizers that take sparse gradients."""


def parameter_groups(
    module: nn.Module,
    *,
    lr: float,
    embedding_lr: float | None = None,
    word_weights: float = 1.0,
    layers: float = 1.0,
) -> Groups:
    """Sorts trainable parameters into groups: matrices, word vectors, and all that should not decay.

    Biases, norms, word weights and a learned temperature get weight decay 0; the other groups take the optimizer's.
    Frozen parameters are left out, shared ones appear once.

    Args:
        module: holds one table of word vectors, named `...embedding.weight`.
        lr: the learning rate.
        embedding_lr: the word vectors' own learning rate; None for `lr`.
        word_weights: word weights (one number for each word) learn at so many times `lr`.
        layers: all that is neither word vector nor word weight learns at so many times `lr`.

    Raises:
        UserError: if everything is frozen.
    """
    trained = {name: item for name, item in module.named_parameters() if item.requires_grad}
    words = [item for name, item in trained.items() if f".{name}".endswith(".embedding.weight")]
    rest = [item for name, item in trained.items() if not f".{name}".endswith(".embedding.weight")]
    size = next((len(item) for name, item in module.named_parameters() if f".{name}".endswith(".embedding.weight")), -1)
    weights = [item for item in rest if item.shape == (size,)] if (word_weights, layers) != (1, 1) else []
    rest = [item for item in rest if all(item is not weight for weight in weights)]
    undecayed = {"weight_decay": 0.0}
    groups: Groups = [
        {"name": "matrices", "params": [item for item in rest if item.ndim > 1], "lr": lr * layers},
        {"name": "vectors", "params": [item for item in rest if item.ndim <= 1], "lr": lr * layers} | undecayed,
        {"name": "embedding", "params": words, "lr": embedding_lr or lr},
        {"name": "word_weights", "params": weights, "lr": lr * word_weights} | undecayed,
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise UserError("Nothing is left to train: embedding.freeze=true with model.num_layers=0; change one of them.")
    return groups


def build_optimizer(config: Mapping[str, Any] | OptimizerSettings, groups: Groups) -> Optimizer:
    """Builds the optimizer a config names.

    Args:
        config: the `optimizer` group.
        groups: parameter groups.

    Raises:
        UserError: for an unknown optimizer or key, or a value out of range.
    """
    settings = OptimizerSettings.parse(config)
    optimizer = _located(settings.target)
    arguments = {**settings.arguments, "lr": settings.lr}
    names = inspect.signature(optimizer).parameters
    known = [key for key in names if key not in ("params", "betas")]
    keys = [*arguments, *(BETAS if settings.betas else ())]
    check_keys("optimizer", keys, [*known, *(BETAS if "betas" in names else ())])
    if settings.betas:
        arguments["betas"] = settings.betas
    if settings.sparse:
        check_sparse(optimizer.__name__, settings.arguments)
    try:
        return FOR_ROWS.get(optimizer, optimizer)(groups, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer {optimizer.__name__}: {error}") from error


def check_sparse(name: str, arguments: Mapping[str, Any]) -> None:
    """Checks that an optimizer takes sparse gradients with its settings; torch would only say so at the first step.

    Args:
        name: of the optimizer's class.
        arguments: its own settings.

    Raises:
        UserError: when it does not.
    """
    if name not in SPARSE_READY:
        raise UserError(f"optimizer.sparse=true does not work with {name}; use optimizer=sparse_adam or sgd.")
    if name == "SparseAdam":
        return
    if arguments.get("fused"):
        raise UserError(f"optimizer.sparse=true does not work with the fused {name}; add optimizer.fused=false.")
    if decay := arguments.get("weight_decay"):
        raise UserError(
            f"optimizer.sparse=true does not work with optimizer.weight_decay={decay} of {name}; "
            "set it to 0, or use optimizer=sparse_adam."
        )


def _located(target: str) -> type[Optimizer]:
    kind = locate(target, "optimizer")
    if not (inspect.isclass(kind) and issubclass(kind, Optimizer)):
        raise UserError(f"optimizer._target_={target} is not an optimizer: a subclass of torch.optim.Optimizer.")
    return kind
