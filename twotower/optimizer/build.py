"""From the `optimizer` config group to an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from twotower.config.instantiate import locate
from twotower.core.errors import UserError
from twotower.core.validators import check_keys, check_number
from twotower.optimizer.rows import FOR_ROWS

Groups = list[dict[str, Any]]

NOT_ARGUMENTS = ("_target_", "name", "sparse", "beta1", "beta2", "lr", "word_weights")


SPARSE_READY = ("SparseAdam", "SGD", "Adagrad")
"""Optimizers that take sparse gradients."""


def parameter_groups(
    module: nn.Module, *, lr: float, embedding_lr: float | None = None, word_weights: float = 1.0
) -> Groups:
    """Sorts trainable parameters into groups: matrices, word vectors, and all that should not decay.

    Biases, norms, word weights and a learned temperature get weight decay 0; the other groups take the optimizer's.
    Frozen parameters are left out, shared ones appear once.

    Args:
        module: holds one table of word vectors, named `...embedding.weight`.
        lr: the learning rate.
        embedding_lr: the word vectors' own learning rate; None for `lr`.
        word_weights: word weights (one number for each word) learn at so many times `lr`.

    Raises:
        UserError: for a learning rate that is not positive, or if everything is frozen.
    """
    check_number("optimizer.lr", lr, above=0)
    check_number("optimizer.word_weights", word_weights, above=0)
    if embedding_lr is not None:
        check_number("embedding.learning_rate", embedding_lr, above=0)
    trained = {name: item for name, item in module.named_parameters() if item.requires_grad}
    words = [item for name, item in trained.items() if f".{name}".endswith(".embedding.weight")]
    rest = [item for name, item in trained.items() if not f".{name}".endswith(".embedding.weight")]
    size = next((len(item) for name, item in module.named_parameters() if f".{name}".endswith(".embedding.weight")), -1)
    weights = [item for item in rest if item.shape == (size,)] if word_weights != 1 else []
    rest = [item for item in rest if all(item is not weight for weight in weights)]
    groups: Groups = [
        {"name": "matrices", "params": [item for item in rest if item.ndim > 1], "lr": lr},
        {"name": "vectors", "params": [item for item in rest if item.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        {"name": "embedding", "params": words, "lr": embedding_lr or lr},
        {"name": "word_weights", "params": weights, "lr": lr * word_weights, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise UserError("Nothing is left to train: embedding.freeze=true with model.num_layers=0; change one of them.")
    return groups


def build_optimizer(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Builds the optimizer a config names.

    Args:
        config: `_target_` (a class of `torch.optim` or `twotower.optimizer`), `lr`, optionally `beta1` and `beta2`;
            every other key goes to the class as it is. `name` is a label; `sparse` is for the model (gradients hold the
            batch's words only), `word_weights` for `parameter_groups`.
        groups: parameter groups.

    Raises:
        UserError: for an unknown optimizer or key, or a value out of range.
    """
    optimizer = _find(config)
    known = [key for key in inspect.signature(optimizer).parameters if key not in ("params", "betas")]
    extra = (
        "_target_",
        "name",
        "sparse",
        "word_weights",
        *(("beta1", "beta2") if "betas" in inspect.signature(optimizer).parameters else ()),
    )
    check_keys("optimizer", config, [*known, *extra])
    arguments = {key: value for key, value in config.items() if key not in NOT_ARGUMENTS}
    arguments["lr"] = check_number("optimizer.lr", config.get("lr"), above=0)
    for key in ("weight_decay", "momentum"):
        if key in arguments:
            check_number(f"optimizer.{key}", arguments[key], at_least=0)
    if "beta1" in config or "beta2" in config:
        first, second = config.get("beta1", 0.9), config.get("beta2", 0.999)
        arguments["betas"] = tuple(
            check_number(f"optimizer.{key}", value, at_least=0, below=1)
            for key, value in (("beta1", first), ("beta2", second))
        )
    if config.get("sparse"):
        check_sparse(optimizer.__name__, config)
    try:
        return FOR_ROWS.get(optimizer, optimizer)(groups, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer {optimizer.__name__}: {error}") from error


def check_sparse(name: str, config: Mapping[str, Any]) -> None:
    """Checks that an optimizer takes sparse gradients with its settings; torch would only say so at the first step.

    Args:
        name: of the optimizer's class.
        config: the `optimizer` group.

    Raises:
        UserError: when it does not.
    """
    if name not in SPARSE_READY:
        raise UserError(f"optimizer.sparse=true does not work with {name}; use optimizer=sparse_adam or sgd.")
    if name == "SparseAdam":
        return
    if config.get("fused"):
        raise UserError(f"optimizer.sparse=true does not work with the fused {name}; add optimizer.fused=false.")
    if config.get("weight_decay"):
        raise UserError(
            f"optimizer.sparse=true does not work with optimizer.weight_decay={config['weight_decay']} of {name}; "
            "set it to 0, or use optimizer=sparse_adam."
        )


def _find(config: Mapping[str, Any]) -> type[Optimizer]:
    target = config.get("_target_")
    if not target:
        raise UserError("optimizer._target_ is missing; choose optimizer=adam, adamw, sgd or sparse_adam.")
    kind = locate(target, "optimizer")
    if not (inspect.isclass(kind) and issubclass(kind, Optimizer)):
        raise UserError(f"optimizer._target_={target} is not an optimizer: a subclass of torch.optim.Optimizer.")
    return kind
