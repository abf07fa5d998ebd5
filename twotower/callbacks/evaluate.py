"""Evaluates the untrained model, every epoch, and the best epoch in full.

Shapes: Q queries, N documents, D dimension.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytorch_lightning as pl
import torch

from twotower.callbacks.base import RunCallback
from twotower.core.errors import UserError, nearest
from twotower.core.files import atomic_path
from twotower.core.progress import bar
from twotower.core.timer import Stopwatch
from twotower.core.validators import check_count
from twotower.evaluation.bm25 import bm25_of
from twotower.evaluation.evaluate import evaluate_means, evaluate_vectors
from twotower.evaluation.hybrid import Hybrid, lexical_side, make_hybrid
from twotower.evaluation.own_metrics import build_metrics
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.reuse import key_of, measure_or_reuse
from twotower.evaluation.sample import Sample, draw_sample
from twotower.evaluation.settings import Bm25Settings, EvaluationSettings
from twotower.evaluation.strongest import strongest_bm25, usual_bm25
from twotower.kernels.cpu import release_freed_memory
from twotower.kernels.identity import is_ours
from twotower.model.encoder import diverged, encoder_of
from twotower.model.encoding import encode
from twotower.optimizer.rows import forget

logger = logging.getLogger(__name__)


class Evaluate(RunCallback):
    """Encodes the evaluation queries and all documents, ranks, and logs `eval_<protocol>/<metric>`.

    Several processes share the encoding and the ranking; each ends up with the whole ranking, and with the same figures
    as one process alone.

    Args:
        every_n_epochs: evaluate after every n-th epoch; the last epoch is always evaluated.
        max_queries: size of the seeded sample of queries for the per-epoch figures; the final evaluation takes all.
        max_documents: size of the seeded sample of documents that those queries are ranked against, with all that is
            judged or a candidate for them; the untrained model and the final evaluation take all.
    """

    def __init__(
        self, *, every_n_epochs: int = 1, max_queries: int | None = 1000, max_documents: int | None = 100_000
    ) -> None:
        check_count("callbacks.evaluate.every_n_epochs", every_n_epochs)
        if max_queries is not None:
            check_count("callbacks.evaluate.max_queries", max_queries)
        self.every_n_epochs = every_n_epochs
        if max_documents is not None:
            check_count("callbacks.evaluate.max_documents", max_documents)
        self.max_queries, self.max_documents = max_queries, max_documents
        self.rankings: dict[str, Ranking] = {}
        self.sample_ND: np.ndarray | None = None
        self.watch, self.watch_in_epochs = Stopwatch(), Stopwatch()
        self.documents_per_second: float | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Measures the model before its first step, the third figure beside chance and BM25; once for a run."""
        kept = self.context.untrained if trainer.world_size == 1 else None  # of a run that goes on
        self.context.untrained = kept or self.measure(pl_module)
        self.context.record.update(untrained=self.context.untrained)
        self._check_objective()

    def measure(self, pl_module: pl.LightningModule) -> dict[str, dict[str, float]]:
        """Returns protocol -> metric -> value of the model as it is, on all evaluation queries.

        Where an earlier run measured the very same, its figures are taken, and nothing is encoded or ranked.
        """
        rows = self.context.data.eval_queries(None)
        means = measure_or_reuse(self._key(pl_module, rows), lambda: self._means(pl_module, rows))
        release_freed_memory()
        return means

    def _key(self, pl_module: pl.LightningModule, rows: np.ndarray) -> str | None:
        data, encoder = self.context.data, encoder_of(pl_module)
        if not is_ours([self, pl_module]) or not isinstance(encoder, torch.nn.Module):
            return None
        return key_of(
            encoder,
            data.collection,
            (data.query_tokens, data.document_tokens),
            rows,
            data.settings.eval_split,
            self.context.settings.evaluation,
            model=self.context.config["model"],
            precision=self.context.record.data.get("precision"),
        )

    @cached_property
    def sample(self) -> Sample:
        """What epochs are measured on; told where it is not all documents."""
        data = self.context.data
        drawn = draw_sample(
            data.collection,
            data.settings.eval_split,
            data.eval_queries(self.max_queries),
            documents=self.max_documents,
            seed=self.context.settings.seed,
        )
        if drawn.rows is not None:
            size, every = len(drawn.rows), len(data.collection.document_ids)
            self.context.record.update(epoch_sample={"documents": size, "of": every, "queries": len(drawn.queries)})
            logger.info(
                "Epochs are measured on %s queries against %s of %s documents, drawn with all that is judged for them: "
                "their figures lie higher than the final ones, which take all.",
                *(f"{number:,}" for number in (len(drawn.queries), size, every)),
            )
        return drawn

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
            means = self._means(pl_module, self.sample.queries, self.sample)
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

    def _vectors(
        self, pl_module: pl.LightningModule, rows: np.ndarray, documents: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        data, encoder = self.context.data, encoder_of(pl_module)
        if documents is None:
            release_freed_memory()  # before the vectors of all documents ask for theirs
        query_QD = encode(encoder, data.query_tokens, side="query", rows=rows, shared=True)
        started = time.perf_counter()
        count = len(data.document_tokens) if documents is None else len(documents)
        with bar("Encoding documents", shown=documents is None) as progress:
            done = 0

            def note_rows(rows_done: int) -> None:
                nonlocal done
                done += rows_done
                progress(done / max(count, 1))

            document_ND = encode(
                encoder, data.document_tokens, side="document", rows=documents, shared=True, progress=note_rows
            )
        self.documents_per_second = len(document_ND) / max(time.perf_counter() - started, 1e-9)
        return query_QD, document_ND

    @cached_property
    def settings(self) -> EvaluationSettings:
        """The run's, with a user's own metrics built once."""
        settings = self.context.settings.evaluation
        return replace(settings, metrics=build_metrics(settings.metrics, k=settings.k))

    def _means(
        self, pl_module: pl.LightningModule, rows: np.ndarray, sample: Sample | None = None
    ) -> dict[str, dict[str, float]]:
        data = self.context.data
        collection = data.collection if sample is None else sample.collection
        with self.watch:
            query_QD, document_ND = self._vectors(pl_module, rows, None if sample is None else sample.rows)
            means, self.rankings = evaluate_means(
                query_QD, document_ND, collection, rows, data.settings.eval_split, self.settings, shared=True
            )
            self.sample_ND = document_ND[np.linspace(0, len(document_ND) - 1, min(len(document_ND), 500)).astype(int)]
        return means

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Goes back to the best epoch, evaluates it on every query with intervals and baselines, keeps all scores."""
        with self.watch:
            self._evaluate_best(trainer, pl_module)

    def _evaluate_best(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.context.best_epoch = load_best(trainer, pl_module)
        for optimizer in trainer.optimizers:
            forget(optimizer)
        release_freed_memory()
        if trainer.is_global_zero:
            self._index_words()
        data = self.context.data
        rows = data.eval_queries(None)
        query_QD, document_ND = self._vectors(pl_module, rows)
        self.context.document_vectors = document_ND
        split = data.settings.eval_split
        if not trainer.is_global_zero:
            # ranks its share; the first process does the rest
            evaluate_means(query_QD, document_ND, data.collection, rows, split, self.settings, shared=True)
            return
        stem, bm25 = self.bm25
        self.context.query_vectors = query_QD
        self.context.evaluation = evaluate_vectors(
            query_QD,
            document_ND,
            data.collection,
            rows,
            split,
            replace(self.settings, bm25=bm25 if self.settings.bm25 else None),
            shared=True,
            untrained=self.context.untrained,
            stem=self.context.settings.text.lexical_stem,
            hybrid=self._hybrid(pl_module, document_ND, stem, bm25),
            seed=self.context.settings.seed,
        )
        with atomic_path(self.context.run_dir / "per_query.parquet") as path:
            parquet.write_table(self.context.evaluation.per_query_table(), path)

    @cached_property
    def bm25(self) -> tuple[str | None, Bm25Settings]:
        """BM25's stem, k1 and b as training queries chose them."""
        if self.settings.bm25 is None and self.settings.hybrid is None:
            return None, usual_bm25(None)
        data, stem = self.context.data, self.context.settings.text.lexical_stem
        wanted = self.settings.bm25 or Bm25Settings(k1="auto", b="auto")
        return strongest_bm25(data.collection, data.settings.train_split, wanted, stem)

    def _index_words(self) -> None:
        """Indexes the words, which then lie in the cache, before there are document vectors in memory."""
        data, settings, (chosen, own) = self.context.data, self.settings, self.bm25
        stem = self.context.settings.text.lexical_stem
        for item in dict.fromkeys((None, stem)) if settings.bm25 else ():
            bm25_of(data.collection, stem=item, **own.to_dict())
        if settings.hybrid is not None:
            lexical_side(settings.hybrid, data.collection, stem=chosen, bm25=own)
        release_freed_memory()

    def _hybrid(
        self, pl_module: pl.LightningModule, document_ND: np.ndarray, stem: str | None, bm25: Bm25Settings
    ) -> Hybrid | None:
        """Prepares the hybrid; its weight is fitted on the training queries that were held out."""
        data, hybrid = self.context.data, self.settings.hybrid
        if hybrid is None:
            return None
        return make_hybrid(
            hybrid,
            data.collection,
            data.settings.train_split,
            stem=stem,
            bm25=bm25,
            held_out=data.held_out,
            query_QD=encode(encoder_of(pl_module), data.query_tokens, side="query", rows=data.held_out),
            document_ND=document_ND,
            max_memory=self.settings.memory,
        )


def load_best(trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
    """Loads the weights of the best checkpoint into the module and returns its epoch (1 is the first, 0 none).

    Without a checkpoint callback, or when no epoch was evaluated, the current weights stay, which the log says.
    """
    if trainer.max_epochs == 0:
        return 0  # nothing came after the pre-training
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not best or not Path(best).is_file():
        logger.warning("No best checkpoint was kept: the weights of the last epoch are evaluated and exported.")
        return trainer.current_epoch
    content = torch.load(best, map_location=pl_module.device, weights_only=True)
    pl_module.load_state_dict(content["state_dict"])
    return int(content["epoch"]) + 1
