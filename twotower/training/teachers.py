"""Scores of a batch's queries and documents that a loss asks for beside the vectors: BM25's, or a teacher's.

A loss says what it takes by `batch_scores`, argument -> teacher; the module then calls it with those arguments. What a
teacher thinks is worked out once for all texts (vectors, or sparse scores), so that a step costs one small product.

Shapes: B queries and N documents of a batch, Q queries and C documents of the collection, D dimension, V words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy import sparse
from torch import Tensor

from twotower.callbacks.base import RunContext
from twotower.core.cache import cached_folder, content_key
from twotower.core.errors import UserError, in_one_line
from twotower.core.extras import missing
from twotower.core.files import sha256_file
from twotower.core.reading import read_array
from twotower.data.datamodule import RetrievalData
from twotower.evaluation.trec import read_run
from twotower.lexical.bm25 import Bm25
from twotower.model.checkpoint import load
from twotower.model.encoding import encode
from twotower.runs.find import resolve_model

Scores = Callable[[np.ndarray, np.ndarray], Tensor]
"""From query rows [B] and document rows [N] to float32 scores [B, N]; NaN where the teacher has none."""

LEXICAL_TEMPERATURE, COSINE_TEMPERATURE = 5.0, 0.05
"""What a teacher's scores are divided by where `loss.teacher_temperature` is null: word scores, and cosines."""
DEEPEST = 1000
"""Documents of a query that are read from a file of scores."""


def ask_teachers(context: RunContext, module: Any) -> None:
    """Gives the module the scores that its loss asks for beside the vectors, and records whose they are.

    Raises:
        UserError: for a teacher that can't be read, or a module that passes no such scores on.
    """
    loss = getattr(module, "loss", None)
    if not getattr(loss, "batch_scores", None):
        return
    if not hasattr(module, "batch_scores"):
        raise UserError(f"loss: {type(loss).__name__} asks for scores, and {type(module).__name__} passes none on.")
    with Console().status("Asking the teacher"):
        module.batch_scores, facts = batch_scores(loss, context.data, stem=context.settings.text.lexical_stem)
    context.record.update(teachers=facts)


def batch_scores(loss: Any, data: RetrievalData, *, stem: str | None) -> tuple[dict[str, Scores], dict[str, Any]]:
    """Returns what the loss is to be called with beside the vectors, by argument, and what the record says of it.

    Args:
        loss: asks by its `batch_scores`.
        data: the collection that is trained on.
        stem: language of the stems that BM25 goes by; None for plain words.

    Raises:
        UserError: for a teacher that can't be read.
    """
    wanted = getattr(loss, "batch_scores", None) or {}
    made: dict[str, Scores] = {}
    facts: dict[str, Any] = {}
    for argument, teacher in wanted.items():
        scores, natural, kind = _teacher(teacher, data, stem)
        divided = argument != "lexical_BN"
        temperature = (getattr(loss, "teacher_temperature", None) or natural) if divided else 1.0
        made[argument] = _divided(scores, temperature)
        facts[argument.removesuffix("_BN")] = {**kind, "temperature": temperature}
    return made, facts


def _divided(scores: Scores, temperature: float) -> Scores:
    return scores if temperature == 1 else lambda query_B, document_N: scores(query_B, document_N) / temperature


def check_teacher(teacher: str) -> None:
    """Checks that a teacher can be found, before any data is read.

    Raises:
        UserError: naming what would do.
    """
    if teacher == "bm25" or _is_sentence_transformer(Path(teacher)) or Path(teacher).is_file():
        return
    try:
        resolve_model(teacher)
    except UserError as error:
        raise UserError(
            f"loss.teacher={teacher}: {error} A teacher is bm25, a run folder or .pt, a sentence-transformers folder, "
            "or a file of scores."
        ) from error


def _teacher(teacher: str, data: RetrievalData, stem: str | None) -> tuple[Scores, float, dict[str, Any]]:
    """Returns a teacher's scores, the temperature that suits them, and what it was."""
    if teacher == "bm25":
        return _bm25(data, stem), LEXICAL_TEMPERATURE, {"kind": "bm25", "stem": stem}
    path = Path(teacher)
    if _is_sentence_transformer(path):
        key = {"kind": "sentence_transformers", "path": str(path), "sha256": sha256_file(path)}
        return (
            _of_vectors(data, key, lambda side, texts: _sentence_transformer(path, side, texts)),
            COSINE_TEMPERATURE,
            key,
        )
    if path.is_file() and path.suffix != ".pt":
        return (
            _of_file(data, path),
            LEXICAL_TEMPERATURE,
            {"kind": "file", "path": str(path), "sha256": sha256_file(path)},
        )
    model = resolve_model(teacher)[1]
    key = {"kind": "run", "path": str(model), "sha256": sha256_file(model)}
    return _of_vectors(data, key, lambda side, texts: _own_model(model, side, texts)), COSINE_TEMPERATURE, key


def _bm25(data: RetrievalData, stem: str | None) -> Scores:
    collection = data.collection
    bm25 = Bm25.cached(collection.document_texts, collection.fingerprint, stem=stem)
    words_QV = bm25.count_words(collection.query_texts)
    words_CV = bm25.matrix.T.tocsr()

    def scores(query_B: np.ndarray, document_N: np.ndarray) -> Tensor:
        return torch.from_numpy((words_QV[query_B] @ words_CV[document_N].T).toarray().astype(np.float32))

    return scores


def _of_file(data: RetrievalData, path: Path) -> Scores:
    queries, ranking = read_run(path, data.collection, k=DEEPEST)
    rows_QK, scores_QK = np.asarray(ranking.rows), np.asarray(ranking.scores, dtype=np.float32)
    given_QK = rows_QK >= 0
    query_QK = np.broadcast_to(queries[:, None], rows_QK.shape)
    at = (query_QK[given_QK], rows_QK[given_QK])
    shape = (len(data.collection.query_ids), len(data.collection.document_ids))
    value_QC = sparse.csr_matrix((scores_QK[given_QK], at), shape=shape)
    there_QC = sparse.csr_matrix((np.ones(len(at[0]), np.float32), at), shape=shape)
    trained = data.collection.split(data.settings.train_split).queries
    if not np.isin(trained, queries).any():
        raise UserError(f"loss.teacher={path} scores none of the queries of split '{data.settings.train_split}'.")

    def scores(query_B: np.ndarray, document_N: np.ndarray) -> Tensor:
        value_BN = value_QC[query_B][:, document_N].toarray()
        there_BN = there_QC[query_B][:, document_N].toarray() > 0
        return torch.from_numpy(np.where(there_BN, value_BN, np.float32("nan")))

    return scores


def _of_vectors(data: RetrievalData, key: dict[str, Any], read: Callable[[str, Sequence[str]], np.ndarray]) -> Scores:
    """Scores as cosines of vectors, which are kept on disk: one model reads one collection once."""
    collection = data.collection
    texts = {"query": lambda: collection.query_texts, "document": collection.document_texts}

    def vectors(side: str) -> Tensor:
        name = content_key("teacher 1", key["kind"], key["sha256"], collection.fingerprint, side)
        folder = cached_folder(
            "teachers", name, lambda place: np.save(place / "vectors.npy", read(side, texts[side]()).astype(np.float32))
        )
        return torch.from_numpy(np.asarray(read_array(folder / "vectors.npy", dtype="float32", shape=(None, None))))

    query_QD, document_CD = vectors("query"), vectors("document")

    def scores(query_B: np.ndarray, document_N: np.ndarray) -> Tensor:
        return (
            query_QD[torch.from_numpy(query_B.astype(np.int64))]
            @ document_CD[torch.from_numpy(document_N.astype(np.int64))].T
        )

    return scores


def _own_model(path: Path, side: str, texts: Sequence[str]) -> np.ndarray:
    checkpoint = load(path)
    most = checkpoint.max_query_length if side == "query" else checkpoint.max_document_length
    return encode(checkpoint.model, checkpoint.tokenizer.encode(texts, most), side=side)


def _is_sentence_transformer(path: Path) -> bool:
    return (path / "modules.json").is_file()


def _sentence_transformer(path: Path, side: str, texts: Sequence[str]) -> np.ndarray:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise missing(f"loss.teacher={path}", "sentence_transformers") from error
    try:
        model = SentenceTransformer(str(path), device="cpu")
    except Exception as error:  # a damaged model may fail in any of its parts
        raise UserError(f"loss.teacher={path} can't be opened ({in_one_line(error, limit=200)}).") from error
    read = model.encode_query if side == "query" else model.encode_document
    vectors_ND: np.ndarray = read(list(texts), normalize_embeddings=True, show_progress_bar=True, convert_to_numpy=True)
    return vectors_ND
