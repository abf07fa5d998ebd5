"""The config group `optimizer` as its room takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twotower.core.errors import UserError
from twotower.core.validators import check_number

BETAS = ("beta1", "beta2")
OURS = ("_target_", "name", "lr", "word_weights", "layers", "sparse", *BETAS)
"""Keys that are not arguments of the optimizer's class as they stand."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Which optimizer, and how it learns.

    Attributes:
        target: its class, as `_target_` names it.
        lr: the learning rate.
        word_weights: word weights (one number for each word) learn at so many times `lr`.
        layers: all that is neither word vector nor word weight, hidden and recurrent layers, at so many times `lr`.
        sparse: whether gradients of word vectors hold the batch's words only.
        betas: Adam's two, where the config names one of them.
        arguments: all other settings, which go to the class as they are.
    """

    target: str
    lr: float
    word_weights: float = 1.0
    layers: float = 1.0
    sparse: bool = False
    betas: tuple[float, float] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_number("optimizer.lr", self.lr, above=0)
        check_number("optimizer.word_weights", self.word_weights, above=0)
        check_number("optimizer.layers", self.layers, above=0)
        for key in ("weight_decay", "momentum"):
            if key in self.arguments:
                check_number(f"optimizer.{key}", self.arguments[key], at_least=0)
        for key, value in zip(BETAS, self.betas or (), strict=False):
            check_number(f"optimizer.{key}", value, at_least=0, below=1)

    @classmethod
    def parse(cls, config: Mapping[str, Any] | OptimizerSettings) -> OptimizerSettings:
        """Tells our keys from the class's own; settings that are read already come back as they are.

        Raises:
            UserError: for a value out of range, or where no optimizer is named.
        """
        if isinstance(config, OptimizerSettings):
            return config
        if not config.get("_target_"):
            raise UserError("optimizer._target_ is missing; choose optimizer=adam, adamw, sgd or sparse_adam.")
        betas = (config.get("beta1", 0.9), config.get("beta2", 0.999)) if any(key in config for key in BETAS) else None
        return cls(
            target=str(config["_target_"]),
            lr=check_number("optimizer.lr", config.get("lr"), above=0),
            word_weights=config.get("word_weights", 1.0),
            layers=config.get("layers", 1.0),
            sparse=bool(config.get("sparse", False)),
            betas=betas,
            arguments={key: value for key, value in config.items() if key not in OURS},
        )
