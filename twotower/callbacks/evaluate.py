"""Evaluates the untrained model, every epoch, and the best epoch in full.

Shapes: Q queries, N documents, D dimension.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torchmetrics import Metric

from twotower.callbacks.base import RunCallback
from twotower.core.errors import UserError, nearest
from twotower.core.files import atomic_path
from twotower.core.timer import Stopwatch
from twotower.core.validators import check_count
from twotower.evaluation.budget import parse_size
from twotower.evaluation.evaluate import evaluate_means, evaluate_vectors
from twotower.evaluation.hybrid import Hybrid, make_hybrid
from twotower.evaluation.own_metrics import build_metrics
from twotower.evaluation.ranking import Ranking
from twotower.model.encoder import diverged, encoder_of
from twotower.model.encoding import encode

logger = logging.getLogger(__name__)


class Evaluate(RunCallback):
    """Encodes the evaluation queries and all documents, ranks, and logs `eval_<protocol>/<metric>`.

    Several processes share the encoding and the ranking; each ends up with the whole ranking, and with the same figures
    as one process alone.

    Args:
        every_n_epochs: evaluate after every n-th epoch; the last epoch is always evaluated.
        max_queries: size of the seeded sample of queries for the per-epoch figures; the final evaluation takes all.
    """

    def __init__(self, *, every_n_epochs: int = 1, max_queries: int | None = 1000) -> None:
        check_count("callbacks.evaluate.every_n_epochs", every_n_epochs)
        if max_queries is not None:
            check_count("callbacks.evaluate.max_queries", max_queries)
        self.every_n_epochs = every_n_epochs
        self.max_queries = max_queries
        self.rankings: dict[str, Ranking] = {}
        self.sample_ND: np.ndarray | None = None
        self.watch, self.watch_in_epochs = Stopwatch(), Stopwatch()
        self.documents_per_second: float | None = None
        self._metrics: dict[str, Metric] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Measures the model before its first step, the third figure beside chance and BM25."""
        self.context.untrained = self.measure(pl_module)
        self._check_objective()

    def measure(self, pl_module: pl.LightningModule) -> dict[str, dict[str, float]]:
        """Returns protocol -> metric -> value of the model as it is, on all evaluation queries."""
        return self._means(pl_module, self.context.data.eval_queries(None))

    def _check_objective(self) -> None:
        known = [f"{name}/{item}" for name, metrics in self.context.untrained.items() for item in metrics]
        if self.context.objective not in known:
            raise UserError(
                f"evaluation.objective={self.context.objective} is not measured on this data; "
                f"there are: {', '.join(known)}.{nearest(self.context.objective, known)}"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates the epoch if it is one to evaluate."""
        if fault := diverged(pl_module):
            self._stop_diverged(trainer, fault)
            return
        last = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        if (trainer.current_epoch + 1) % self.every_n_epochs and not last:
            return
        with self.watch_in_epochs:
            means = self._means(pl_module, self.context.data.eval_queries(self.max_queries))
        flat = {f"{protocol}/{name}": value for protocol, metrics in means.items() for name, value in metrics.items()}
        self.context.epoch_metrics = flat
        pl_module.log_dict(
            {f"eval_{name}": torch.tensor(value, dtype=torch.float64) for name, value in flat.items()},
            rank_zero_only=True,
        )

    def _stop_diverged(self, trainer: pl.Trainer, fault: str) -> None:
        """Ends training; the best epoch so far, if there is one, is what gets evaluated and exported."""
        logger.warning("Unhealthy: %s. Training ends; try a smaller optimizer.lr.", fault)
        self.context.unhealthy.append(fault)
        trainer.should_stop = True

    def _vectors(self, pl_module: pl.LightningModule, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data, encoder = self.context.data, encoder_of(pl_module)
        query_QD = encode(encoder, data.query_tokens, side="query", rows=rows, shared=True)
        started = time.perf_counter()
        document_ND = encode(encoder, data.document_tokens, side="document", shared=True)
        self.documents_per_second = len(document_ND) / max(time.perf_counter() - started, 1e-9)
        return query_QD, document_ND

    def _ranking_options(self) -> dict[str, Any]:
        settings = self.context.config["evaluation"]
        if self._metrics is None:
            self._metrics = build_metrics(settings.get("metrics"), k=settings["k"])
        options = {key: settings[key] for key in ("protocols", "k", "max_memory")}
        exclude = settings.get("exclude_self", "auto")
        return {**options, "metrics": self._metrics, "shared": True, "exclude_self": exclude}

    def _means(self, pl_module: pl.LightningModule, rows: np.ndarray) -> dict[str, dict[str, float]]:
        data, config = self.context.data, self.context.config
        with self.watch:
            query_QD, document_ND = self._vectors(pl_module, rows)
            means, self.rankings = evaluate_means(
                query_QD, document_ND, data.collection, rows, config["data"]["eval_split"], **self._ranking_options()
            )
            self.sample_ND = document_ND[np.linspace(0, len(document_ND) - 1, min(len(document_ND), 500)).astype(int)]
        return means

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Goes back to the best epoch, evaluates it on every query with intervals and baselines, keeps all scores."""
        with self.watch:
            self._evaluate_best(trainer, pl_module)

    def _evaluate_best(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.context.best_epoch = load_best(trainer, pl_module)
        data, config = self.context.data, self.context.config
        rows = data.eval_queries(None)
        query_QD, self.context.document_vectors = self._vectors(pl_module, rows)
        given = (query_QD, self.context.document_vectors, data.collection, rows, config["data"]["eval_split"])
        if not trainer.is_global_zero:
            evaluate_means(*given, **self._ranking_options())  # ranks its share; the first process does the rest
            return
        self.context.query_vectors = query_QD
        settings = {**config["evaluation"], **self._ranking_options()}
        settings |= {"stem": config["text"].get("stem") or "english", "hybrid": self._hybrid(pl_module)}
        self.context.evaluation = evaluate_vectors(
            *given, untrained=self.context.untrained, seed=config["seed"], **settings
        )
        import pyarrow.parquet as parquet

        with atomic_path(self.context.run_dir / "per_query.parquet") as path:
            parquet.write_table(self.context.evaluation.per_query_table(), path)

    def _hybrid(self, pl_module: pl.LightningModule) -> Hybrid | None:
        """Prepares the hybrid; its weight is fitted on the training queries that were held out."""
        data, config, document_ND = self.context.data, self.context.config, self.context.document_vectors
        settings = config["evaluation"].get("hybrid")
        if settings is None or document_ND is None:
            return None
        return make_hybrid(
            settings,
            data.collection,
            config["data"]["train_split"],
            stem=config["text"].get("stem") or "english",
            held_out=data.held_out,
            query_QD=encode(encoder_of(pl_module), data.query_tokens, side="query", rows=data.held_out),
            document_ND=document_ND,
            max_memory=parse_size(config["evaluation"]["max_memory"]),
        )


def load_best(trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
    """Loads the weights of the best checkpoint into the module and returns its epoch (1 is the first).

    Without a checkpoint callback, or when no epoch was evaluated, the current weights stay, which the log says.
    """
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not best or not Path(best).is_file():
        logger.warning("No best checkpoint was kept: the weights of the last epoch are evaluated and exported.")
        return trainer.current_epoch
    content = torch.load(best, map_location=pl_module.device, weights_only=True)
    pl_module.load_state_dict(content["state_dict"])
    return int(content["epoch"]) + 1
