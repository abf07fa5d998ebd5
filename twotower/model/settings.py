"""What a module is built and trained with: the config groups `model`, `loss`, `optimizer`, `scheduler`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twotower.config.names import MODULE
from twotower.core.secrets import masked
from twotower.embedding.settings import EmbeddingSettings
from twotower.optimizer.settings import OptimizerSettings
from twotower.scheduler.settings import SchedulerSettings

MOST_LAYERS = 1000
"""More hidden layers than that are a slip of the hand: built one by one, they would fill the memory."""


@dataclass(frozen=True, kw_only=True)
class ModuleSettings:
    """One LightningModule with what it learns by.

    Attributes:
        model: the module's part, `_target_` and its own settings.
        loss: the loss's part.
        optimizer: the optimizer.
        scheduler: its schedule.
        embedding: the word vectors.
        monitor: the logged metric that a schedule watches which names none.
        cache_chunk: texts encoded at once (gradient caching); None for the whole batch.
        recorded: the whole config without secrets, which every checkpoint of Lightning's carries.
    """

    model: Mapping[str, Any]
    loss: Mapping[str, Any]
    optimizer: OptimizerSettings
    scheduler: SchedulerSettings
    embedding: EmbeddingSettings
    monitor: str
    cache_chunk: int | None
    recorded: dict[str, Any]

    @classmethod
    def parse(cls, config: Mapping[str, Any] | ModuleSettings) -> ModuleSettings:
        """Reads a full resolved config; settings that are read already come back as they are.

        Raises:
            UserError: for a value out of range.
        """
        if isinstance(config, ModuleSettings):
            return config
        return cls(
            model={"_target_": MODULE, **config["model"]},
            loss=config["loss"],
            optimizer=OptimizerSettings.parse(config["optimizer"]),
            scheduler=SchedulerSettings.parse(config["scheduler"]),
            embedding=EmbeddingSettings.parse(config["embedding"]),
            monitor=f"eval_{config['evaluation']['objective']}",
            cache_chunk=config["trainer"].get("cache_chunk"),
            recorded=masked(dict(config)),
        )
