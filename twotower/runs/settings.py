"""A run's whole config, read once into what each room takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twotower.config.shape import checking
from twotower.core.errors import UserError
from twotower.core.validators import check_count
from twotower.data.settings import DataSettings
from twotower.evaluation.settings import EvaluationSettings
from twotower.text.settings import AnyText, parse_text


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run reads of its config, one part for each room; the record keeps the config as it was composed.

    Attributes:
        seed: of every random choice.
        data: what is read and how it is put into batches.
        text: how texts become tokens.
        evaluation: how the model is measured.
    """

    seed: int
    data: DataSettings
    text: AnyText
    evaluation: EvaluationSettings

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> RunSettings:
        """Reads a full resolved config, today's or one out of a record.

        Raises:
            UserError: for an unknown key, a value out of range or of the wrong kind.
        """
        if check_count("seed", config["seed"], at_least=0) >= 2**32:
            raise UserError(f"seed={config['seed']} must be below 2 ** 32.")
        with checking("evaluation"):
            evaluation = EvaluationSettings.parse(config.get("evaluation") or {})
        with checking("data"):
            data = DataSettings.parse(config["data"])
        with checking("text"):
            text = parse_text(config["text"])
        return cls(seed=config["seed"], data=data, text=text, evaluation=evaluation)
