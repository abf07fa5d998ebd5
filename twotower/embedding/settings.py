"""The config group `embedding` as its room takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twotower.config.names import EMBEDDINGS
from twotower.core.validators import check_choice, check_count, check_flag, check_number

SHAPING = ("remove_top", "own")
"""Keys that are about vectors which are shaped; a source whose vectors are taken as they are refuses them."""
SHARED = ("kind", "dim", "freeze", "learning_rate", *SHAPING)
"""Keys that are no source's own."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """Where word vectors come from.

    Attributes:
        target: the source, as `_target_` names it.
        part: the source's own settings.
        kind: what the group calls itself; None for somebody else's source.
        dim: size of a vector.
        freeze: whether they stay as they are in training.
        learning_rate: their own; None for the optimizer's.
        remove_top: so many of the strongest common directions are taken out.
        own: length of each word's own random part.
        given: those of the last two that the config names.
    """

    target: str
    part: dict[str, Any] = field(default_factory=dict)
    kind: str | None = None
    dim: int = 256
    freeze: bool = False
    learning_rate: float | None = None
    remove_top: int = 32
    own: float = 1.0
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_count("embedding.dim", self.dim)
        check_flag("embedding.freeze", self.freeze)
        if self.learning_rate is not None:
            check_number("embedding.learning_rate", self.learning_rate, above=0)
        check_count("embedding.remove_top", self.remove_top, at_least=0)
        check_number("embedding.own", self.own, at_least=0)

    @classmethod
    def parse(cls, config: Mapping[str, Any] | EmbeddingSettings) -> EmbeddingSettings:
        """Tells the source's own settings from the others; settings that are read already come back as they are.

        Raises:
            UserError: for an unknown source, or a value out of range.
        """
        if isinstance(config, EmbeddingSettings):
            return config
        target = config.get("_target_") or EMBEDDINGS[check_choice("embedding.kind", config.get("kind"), EMBEDDINGS)]
        return cls(
            target=str(target),
            part={key: value for key, value in config.items() if key not in ("_target_", *SHARED)},
            given=tuple(key for key in SHAPING if key in config),
            **{key: config[key] for key in SHARED if key in config},
        )
