"""A run's whole config, read once into what each room takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twotower.config.shape import checking
from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_number
from twotower.data.settings import DataSettings
from twotower.evaluation.settings import EvaluationSettings
from twotower.model.settings import ModuleSettings
from twotower.text.settings import AnyText, parse_text

ACCELERATORS = ("cpu", "gpu", "cuda", "mps", "auto")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "64-true", "bf16", "32", "16", "64")
OWN_TRAINER_KEYS = ("threads", "precision", "cache_chunk")
"""Keys of `trainer` that are ours and not Lightning's."""


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How training goes; most of it is Lightning's.

    Attributes:
        lightning: the Trainer's part: `_target_` and its own settings, precision left out.
        max_epochs: epochs.
        precision: as Lightning has it, or auto.
        accelerator: as Lightning has it.
        threads: CPU threads; None for torch's own choice.
        cache_chunk: texts encoded at once (gradient caching); None for the whole batch.
        limit_train_batches: a share (float) or a number (int) of batches an epoch.
        progress_bar: whether one is shown.
    """

    lightning: dict[str, Any]
    max_epochs: int
    precision: str = "32-true"
    accelerator: str = "cpu"
    threads: int | None = None
    cache_chunk: int | None = None
    limit_train_batches: float | int = 1.0
    progress_bar: bool = True

    def __post_init__(self) -> None:
        check_count("trainer.max_epochs", self.max_epochs)
        if self.lightning.get("gradient_clip_val") is not None:
            check_number("trainer.gradient_clip_val", self.lightning["gradient_clip_val"], at_least=0)
        check_count("trainer.accumulate_grad_batches", self.lightning.get("accumulate_grad_batches", 1))
        for key in ("threads", "cache_chunk"):
            if getattr(self, key) is not None:
                check_count(f"trainer.{key}", getattr(self, key))
        if isinstance(self.limit_train_batches, float):
            check_number("trainer.limit_train_batches", self.limit_train_batches, above=0, at_most=1)
        else:
            check_count("trainer.limit_train_batches", self.limit_train_batches)
        check_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        check_choice("trainer.precision", self.precision, PRECISIONS)
        devices = self.lightning.get("devices", 1)
        if isinstance(devices, (int, float)) and not (devices == -1 and self.accelerator != "cpu"):
            check_count("trainer.devices", devices)

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> TrainerSettings:
        """Reads the `trainer` group.

        Raises:
            UserError: for a value out of range.
        """
        return cls(
            lightning={key: value for key, value in config.items() if key not in OWN_TRAINER_KEYS},
            max_epochs=config["max_epochs"],
            precision=str(config.get("precision", "32-true")),
            accelerator=config.get("accelerator", "cpu"),
            threads=config.get("threads"),
            cache_chunk=config.get("cache_chunk"),
            limit_train_batches=config.get("limit_train_batches", 1.0),
            progress_bar=bool(config.get("enable_progress_bar", True)),
        )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run reads of its config, one part for each room; the record keeps the config as it was composed.

    Attributes:
        seed: of every random choice.
        data: what is read and how it is put into batches.
        text: how texts become tokens.
        module: what is trained, and by what.
        trainer: how training goes.
        evaluation: how the model is measured.
        indexes: the indexes that are built, by name: `_target_` and each one's own settings.
        sweep: the sweep that the run is a job of; None for a single run.
    """

    seed: int
    data: DataSettings
    text: AnyText
    module: ModuleSettings
    trainer: TrainerSettings
    evaluation: EvaluationSettings
    indexes: dict[str, Any]
    sweep: str | None

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> RunSettings:
        """Reads a full resolved config, today's or one out of a record.

        Raises:
            UserError: for an unknown key, a value out of range or of the wrong kind.
        """
        if check_count("seed", config["seed"], at_least=0) >= 2**32:
            raise UserError(f"seed={config['seed']} must be below 2 ** 32.")
        with checking("trainer"):
            trainer = TrainerSettings.parse(config["trainer"])
        with checking("evaluation"):
            evaluation = EvaluationSettings.parse(config.get("evaluation") or {})
        with checking("data"):
            data = DataSettings.parse(config["data"])
        with checking("text"):
            text = parse_text(config["text"])
        with checking("embedding, optimizer or scheduler"):
            module = ModuleSettings.parse(config)
        return cls(
            seed=config["seed"],
            data=data,
            text=text,
            module=module,
            trainer=trainer,
            evaluation=evaluation,
            indexes=dict(config.get("index") or {}),
            sweep=(config.get("sweep") or {}).get("name"),
        )
