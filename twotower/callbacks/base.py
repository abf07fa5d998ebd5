"""What the callbacks of one run share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from twotower.data.datamodule import RetrievalData
from twotower.evaluation.results import Evaluation
from twotower.runs.record import RunRecord
from twotower.runs.settings import RunSettings
from twotower.text.tokenizer import Tokenizer


@dataclass(kw_only=True)
class RunContext:
    """One run, as its callbacks see it.

    The first block is set before training; the second is filled by the callbacks for those after them. `settings` are
    what the run reads of its `config`, which is kept for records.
    """

    run_dir: Path
    run_name: str
    config: dict[str, Any]
    settings: RunSettings
    choices: dict[str, Any]
    record: RunRecord
    data: RetrievalData
    tokenizer: Tokenizer

    epoch_metrics: dict[str, float] = field(default_factory=dict)
    untrained: dict[str, dict[str, float]] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    query_vectors: np.ndarray | None = None
    document_vectors: np.ndarray | None = None
    best_epoch: int = 0
    unhealthy: list[str] = field(default_factory=list)
    wandb_run_id: str | None = None
    exported: Path | None = None
    indexes: list[str] = field(default_factory=list)

    @property
    def objective(self) -> str:
        """The metric a run is judged by, as `<protocol>/<metric>`."""
        return self.settings.evaluation.objective


class RunCallback(pl.Callback):
    """A Lightning callback that knows its run; `twotower.training.train` sets `context` before training starts."""

    context: RunContext
