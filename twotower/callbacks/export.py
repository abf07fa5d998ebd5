"""Writes what a finished run is used by: the exported model, its history, the document store and the indexes."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from twotower.callbacks.base import RunCallback, RunContext
from twotower.core.file_name import safe_file_name
from twotower.core.files import atomic_path, sha256_file, write_json
from twotower.core.memo import remember, stamp
from twotower.data.documents import DocumentStore
from twotower.evaluation.bm25 import bm25_of
from twotower.evaluation.results import Evaluation
from twotower.index.bars import bars
from twotower.index.export import IndexExportError, export
from twotower.index.lexical import MODES, write_side
from twotower.index.manifest import identity_of
from twotower.kernels.cpu import release_freed_memory
from twotower.lexical.bm25 import Bm25
from twotower.lexical.fusion import Fusion
from twotower.model import checkpoint
from twotower.model.encoder import encoder_of
from twotower.model.encoding import encode
from twotower.model.leads import add_leads
from twotower.model.query_file import query_file_of
from twotower.runs.rerun import provenance


class Export(RunCallback):
    """Exports the best epoch once training has ended and been evaluated.

    Args:
        keep_lightning: keep last.ckpt and best.ckpt, which a resumed run needs.
    """

    def __init__(self, *, keep_lightning: bool = True) -> None:
        self.keep_lightning = keep_lightning

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the files, each atomically, and notes them in the record."""
        evaluation = self.context.evaluation
        if not trainer.is_global_zero or evaluation is None:
            return
        started = time.perf_counter()
        with self.context.record.one_write():
            self._export(pl_module, evaluation)
            self.context.record.update(timings={"export_seconds": round(time.perf_counter() - started, 3)})

    def _export(self, pl_module: pl.LightningModule, evaluation: Evaluation) -> None:
        context, record = self.context, self.context.record
        stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
        name = f"two_tower_best_{safe_file_name(context.run_name)}_{stamp}"
        folder = context.run_dir / "checkpoints"
        for pattern in ("two_tower_best_*.pt", "two_tower_best_*.safetensors", "training_history_*.json"):
            for old in folder.glob(pattern):
                old.unlink()  # a resumed run replaces what it exported before
        record.data["artefacts"] = []
        record.add_artefact("per_query.parquet", "per_query")
        context.exported = folder / f"{name}.pt"
        stats = self._training_stats()
        checkpoint.save(
            context.exported,
            model=encoder_of(pl_module),
            model_config={
                **context.settings.module.model,
                **{key: pl_module.hparams[key] for key in ("vocabulary_size", "embedding_dim")},
            },
            tokenizer=context.tokenizer,
            training_stats=stats,
            epoch=context.best_epoch,
            eval_results=evaluation.to_dict(),
            wandb_run_id=context.wandb_run_id,
        )
        record.add_artefact(context.exported, "checkpoint")
        if query_file_of(context.exported).is_file():
            record.add_artefact(query_file_of(context.exported), "query_model")
        history = folder / f"training_history_{name}.json"
        write_json(history, stats)
        record.add_artefact(history, "history")
        release_freed_memory()  # what the evaluation needed, before an index asks for as much as the vectors
        self._export_index(self._searched_vectors(pl_module))
        if not self.keep_lightning:
            for lightning in folder.glob("*.ckpt"):
                lightning.unlink()

    def _searched_vectors(self, pl_module: pl.LightningModule) -> np.ndarray:
        """Returns the vectors that are indexed: those that were evaluated, unless people search other texts [N, D]."""
        data = self.context.data
        if data.collection.indexed_texts is None:
            assert self.context.document_vectors is not None
            return self.context.document_vectors
        encoder = encoder_of(pl_module)
        document_ND = encode(encoder, data.searched_tokens, side="document")
        if not data.collection.indexed_leads:
            return document_ND
        longest = data.settings.max_query_length
        return add_leads(encoder, data.tokenizer, data.collection.indexed_texts, document_ND, max_query_length=longest)

    def _export_index(self, vectors_ND: np.ndarray) -> None:
        context = self.context
        path = context.run_dir / "documents.db"
        write_documents(path, context)
        context.record.add_artefact(path, "documents")
        assert context.exported is not None
        with DocumentStore(path) as documents:
            identity = identity_of(
                checkpoint=context.exported.name,
                checkpoint_sha256=sha256_file(context.exported),
                vocabulary_hash=context.tokenizer.hash,
                documents_hash=documents.hash,
                documents_count=documents.count,
                indexed_as=documents.indexed_as,
            )
        manifests: dict[str, Any] = {}
        try:
            with DocumentStore(path) as documents, bars() as progress:
                manifests = export(
                    context.settings.indexes,
                    vectors_ND,
                    context.data.collection.document_ids,
                    identity=identity,
                    run_dir=context.run_dir,
                    query_QD=context.query_vectors,
                    seed=context.settings.seed,
                    texts=documents.texts,
                    titles=documents.titles,
                    progress=progress,
                )
        except IndexExportError as error:
            manifests = error.written  # the indexes that could be written are there to be used
            raise
        finally:
            for name in manifests:
                context.indexes.append(name)
                context.record.add_artefact(f"index/{name}", "index")
        if manifests:
            self._export_lexical(vectors_ND, identity)

    def _export_lexical(self, vectors_ND: np.ndarray, identity: dict[str, Any]) -> None:
        """Writes BM25 over what people search, with how it is fused, where the run has measured a hybrid."""
        context = self.context
        evaluation, collection = context.evaluation, context.data.collection
        protocol, _, metric = context.objective.rpartition("/")
        part = None if evaluation is None else evaluation.protocols.get(protocol or "full")
        if part is None or part.hybrid is None:
            return
        fusion = Fusion(**part.hybrid)
        if collection.indexed_texts is None:
            bm25 = bm25_of(collection, **fusion.lexical)
        else:
            bm25 = Bm25.build(collection.searched_texts(), **fusion.lexical)
        figures = part.metrics[metric]
        measured = {mode: figures[key] for mode, key in zip(MODES, ("value", "bm25", "hybrid"), strict=True)}
        known = {mode: value for mode, value in measured.items() if value is not None and not collection.pseudo}
        write_side(
            context.run_dir,
            bm25,
            vectors_ND,
            fusion=fusion,
            identity=identity,
            measured=known,
            objective=context.objective,
        )
        context.record.add_artefact("index/lexical", "lexical")

    def _training_stats(self) -> dict[str, Any]:
        """Builds the history the exported model carries, with the customary names of its figures."""
        record = self.context.record.data
        protocol = self.context.objective.partition("/")[0]
        training, evaluation = [], []
        for entry in record["history"]:
            metrics = {
                name.partition("/")[2]: value
                for name, value in entry["metrics"].items()
                if name.startswith(f"{protocol}/")
            }
            figures = {
                "eval_mrr": metrics.get("mrr"),
                "eval_mrr@10": metrics.get("mrr_10"),
                "eval_recall@10": metrics.get("recall_10"),
                "eval_ndcg@10": metrics.get("ndcg_10"),
                "eval_map": metrics.get("map"),
            }
            base = {key: entry.get(key) for key in ("epoch", "train_loss", "train_accuracy", "learning_rate")}
            training.append({**base, **figures})
            if entry["metrics"]:
                evaluation.append(
                    {**figures, "epoch": entry["epoch"], "evaluation_type": protocol, "metrics": entry["metrics"]}
                )
        best = next((item for item in evaluation if item["epoch"] == self.context.best_epoch), {})
        origin = {"wandb": dict(record["wandb"]), "provenance": provenance(record)}
        return {
            "config": {**checkpoint.flat_config(record["config"], self.context.choices), **origin},
            "training_stats": training,
            "evaluation_stats": evaluation,
            "best_metrics": best,
            "best_epoch": self.context.best_epoch,
        }


def write_documents(path: Path, context: RunContext) -> None:
    """Writes the document store, or copies the one that an earlier job of this sweep wrote of the same collection."""
    data = context.settings.data
    source = [context.data.collection.fingerprint, data.source, stamp(data.path)]
    kept: dict[str, Any] = remember("document_store", source, dict)
    if kept and stamp(kept["path"]) == kept["stamp"]:
        with atomic_path(path) as temporary:
            shutil.copyfile(kept["path"], temporary)
    else:
        DocumentStore.write(path, context.data.collection)
    kept |= {"path": str(path), "stamp": stamp(str(path))}
