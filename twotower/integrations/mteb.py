"""A trained model measured by MTEB (Muennighoff et al. 2023, https://github.com/embeddings-benchmark/mteb).

    import mteb
    from twotower.integrations.mteb import get_model

    results = mteb.evaluate(get_model("RUN"), mteb.get_task("SciFact"))

A folder in BEIR or MTEB layout becomes a task of its own by `local_task`.

Shapes: N texts, D dimension.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mteb
import numpy as np
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.types import PromptType

from twotower.core.errors import UserError, nearest
from twotower.data.beir import load as load_beir
from twotower.data.collection import Collection
from twotower.model.checkpoint import Checkpoint, load
from twotower.model.encoding import encode
from twotower.runs.find import check_unchanged, resolve_model


class TwoTowerEncoder(AbsEncoder):  # type: ignore[misc]
    """A model as MTEB asks for one: queries by the query tower, everything else by the document tower.

    Args:
        checkpoint: a loaded model.
        name: what MTEB's results call it, `OWNER/NAME`.
    """

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self.checkpoint = checkpoint
        parameters = sum(weight.numel() for weight in checkpoint.model.parameters())
        self.mteb_model_meta = ModelMeta(
            loader=None,
            name=name,
            revision=checkpoint.sha256[:40],
            release_date=None,
            languages=None,
            n_parameters=parameters,
            memory_usage_mb=None,
            max_tokens=checkpoint.max_document_length,
            embed_dim=int(checkpoint.model.output_dim),
            license=None,
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            similarity_fn_name="dot",
            use_instructions=False,
            training_datasets=None,
        )

    def encode(self, inputs: Any, *, prompt_type: PromptType | None = None, **kwargs: Any) -> np.ndarray:
        """Encodes batches of texts.

        Args:
            inputs: batches with a list `text` each; of documents MTEB has put the title before it.
            prompt_type: which side the texts are.
            kwargs: task, split and batch size, which make no difference here.

        Returns:
            Unit vectors float32 [N, D].
        """
        side = "query" if prompt_type == PromptType.query else "document"
        most = self.checkpoint.max_query_length if side == "query" else self.checkpoint.max_document_length
        texts = [text for batch in inputs for text in batch["text"]]
        return encode(self.checkpoint.model, self.checkpoint.tokenizer.encode(texts, most), side=side)


class LocalRetrieval(AbsTaskRetrieval):  # type: ignore[misc]
    """A retrieval task over a collection that is at hand; `local_task` makes one."""

    metadata = TaskMetadata(
        name="LocalRetrieval",
        description="A collection on this machine.",
        dataset={"path": "local", "revision": "local"},
        type="Retrieval",
        category="t2t",
        eval_splits=["dev"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def __init__(self, collection: Collection, split: str) -> None:
        name = "".join(letter if letter.isalnum() else "-" for letter in collection.name).strip("-")
        source = {"path": name, "revision": collection.fingerprint[:40]}
        self.metadata = self.metadata.model_copy(
            update={"name": name or "LocalRetrieval", "eval_splits": [split], "dataset": source}
        )
        super().__init__()
        self.collection, self.split = collection, split

    def load_data(self, *_: Any, **__: Any) -> None:
        """Puts the collection into MTEB's form."""
        held = self.collection
        judged = held.split(self.split)
        relevant: dict[str, dict[str, int]] = {}
        for query, document, grade in zip(judged.query, judged.document, judged.grade, strict=True):
            relevant.setdefault(held.query_ids[query], {})[held.document_ids[document]] = int(grade)
        queries = [row for row, name in enumerate(held.query_ids) if name in relevant]
        corpus = {"id": held.document_ids, "title": held.titles, "text": held.texts}
        asked = {"id": [held.query_ids[row] for row in queries], "text": [held.query_texts[row] for row in queries]}
        data = {"corpus": Dataset.from_dict(corpus), "queries": Dataset.from_dict(asked)}
        self.dataset = {"default": {self.split: {**data, "relevant_docs": relevant, "top_ranked": None}}}
        self.data_loaded: bool = True


def get_model(source: str | os.PathLike[str] | None = None) -> TwoTowerEncoder:
    """Loads a model as `mteb.evaluate` takes one.

    Args:
        source: a run (as `train` returns it), its folder, name or config hash, or a .pt file; None takes the newest
            finished run.

    Raises:
        UserError: when there is no such model, or its file is damaged or was changed after the run.
    """
    folder, path = resolve_model(None if source is None else os.fspath(source))
    checkpoint = load(path)
    check_unchanged(folder, path, checkpoint.sha256)
    return TwoTowerEncoder(checkpoint, f"twotower/{path.stem}")


def local_task(folder: str | Path, split: str | None = None) -> LocalRetrieval:
    """Makes a retrieval task of a folder in BEIR layout, or in that of MTEB's data sets (parquet).

    Args:
        folder: with corpus, queries and judgements, see `twotower.data.beir`.
        split: whose judgements count; None takes `test`, `dev` or the only one.

    Raises:
        UserError: for a folder that can't be read, or a split that isn't there.
    """
    collection = load_beir(folder)
    known = collection.judgements
    chosen = split or next((name for name in ("test", "dev") if name in known), next(iter(known)))
    collection.split(chosen)
    return LocalRetrieval(collection, chosen)


def find_task(name: str, split: str | None = None) -> Any:
    """Returns a task by a folder or by MTEB's name for it.

    Raises:
        UserError: for a name that MTEB doesn't know, a task of another type, or a split that it hasn't.
    """
    if Path(name).is_dir():
        return local_task(name, split)
    try:
        task = mteb.get_task(name)
    except KeyError as error:
        known = [item.metadata.name for item in mteb.get_tasks(task_types=["Retrieval"])]
        raise UserError(
            f"--mteb {name} is neither a folder nor a task that MTEB knows.{nearest(name, known)}"
        ) from error
    if not isinstance(task, AbsTaskRetrieval) or task.metadata.modalities != ["text"]:
        raise UserError(f"--mteb {name} is a task of type {task.metadata.type}; two towers can do text retrieval.")
    if split is not None:
        if split not in task.metadata.eval_splits:
            raise UserError(f"--split {split}: {name} has {', '.join(task.metadata.eval_splits)}.")
        task = task.filter_eval_splits([split])
    return task


def evaluate(source: str | None, name: str, split: str | None = None) -> dict[str, Any]:
    """Measures a model with MTEB's own evaluator, on data that is on this machine or that MTEB can fetch.

    Args:
        source: as for `get_model`.
        name: a folder, or a task's name.
        split: None takes all that the task has.

    Returns:
        {"task", "model", "revision", "scores": {split: {metric: value}}}; metrics by MTEB's names.

    Raises:
        UserError: as `get_model` and `find_task`, or when the task's data can't be had.
    """
    model, task = get_model(source), find_task(name, split)
    try:
        task.load_data()
    except UserError:
        raise
    except Exception as error:  # downloads fail in as many ways as there are data sets
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"--mteb {name}: its data is not on this machine and can't be had ({reason}).") from error
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results[0]
    meta = model.mteb_model_meta
    scores = {part: _numbers(rows[0]) for part, rows in result.scores.items()}
    return {"task": result.task_name, "model": meta.name, "revision": meta.revision, "scores": scores}


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if isinstance(value, (int, float))}
