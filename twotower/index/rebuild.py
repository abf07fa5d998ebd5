"""Builds indexes for a run trained earlier: its stored documents, encoded again by its exported model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import refuse_links_out
from twotower.core.reading import read_array, read_table
from twotower.data.collection import joined
from twotower.data.documents import DocumentStore
from twotower.index.export import check, export
from twotower.index.lexical import MODES, open_side, write_side
from twotower.index.manifest import run_identity
from twotower.index.resume import note_rows, part_folder, rows_done
from twotower.index.vectors import Progress, new_npy
from twotower.lexical.bm25 import Bm25
from twotower.lexical.fusion import Fusion
from twotower.model.checkpoint import Checkpoint, load
from twotower.model.encoding import encode
from twotower.model.leads import add_leads
from twotower.runs.find import check_unchanged, find_checkpoint
from twotower.runs.run import read_run

log = logging.getLogger(__name__)

CHUNK = 16_384
MOST_QUERIES = 2000


def rebuild(
    run_dir: str | Path, index_config: Mapping[str, Any], *, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Builds every index of a config into a run's folder and returns the manifests.

    Args:
        run_dir: the run's folder.
        index_config: as `twotower.config.compose.compose` returns it.
        progress: told (stage, done, total).

    Raises:
        UserError: when the run has no exported model or documents, an index cannot be built, or a link leads out of the
            run's folder.
    """
    run_dir = Path(run_dir)
    refuse_links_out(run_dir)
    path = find_checkpoint(run_dir)
    checkpoint = load(path)
    check_unchanged(run_dir, path, checkpoint.sha256)
    check(index_config, dim=checkpoint.model.output_dim)
    with DocumentStore(run_dir / "documents.db") as documents:
        identity = run_identity(checkpoint, documents)
        with part_folder(run_dir / "index" / ".vectors.part", identity) as folder:
            vectors_ND = encode_documents(checkpoint, documents, folder / "vectors.npy", progress)
            manifests = export(
                index_config,
                vectors_ND,
                documents.ids(),
                identity=identity,
                run_dir=run_dir,
                query_QD=encode_queries(checkpoint, run_dir / "per_query.parquet"),
                texts=documents.texts,
                titles=documents.titles,
                progress=progress,
            )
            rebuild_lexical(run_dir, documents, vectors_ND, identity)
            return manifests


def rebuild_lexical(
    run_dir: Path, documents: DocumentStore, vectors_ND: np.ndarray, identity: Mapping[str, Any]
) -> bool:
    """Writes the lexical side of a run again where it is missing, damaged or of another model, as it was measured.

    Args:
        run_dir: the run's folder, whose record says how BM25 and model are fused.
        documents: its documents.
        vectors_ND: their vectors.
        identity: what they belong to.

    Returns:
        Whether it was written: a whole one stays, and a run that measured no hybrid has none.
    """
    measured = measured_hybrid(read_run(run_dir).record)
    if measured is None:
        return False
    try:
        if open_side(run_dir, identity) is not None:
            return False
    except UserError as error:
        log.info("The lexical side is built again. %s", error)
    fusion, figures, objective = measured
    texts = documents.texts(range(documents.count))
    bm25 = Bm25.build(texts, **fusion.lexical)
    write_side(run_dir, bm25, vectors_ND, fusion=fusion, identity=identity, measured=figures, objective=objective)
    return True


def measured_hybrid(record: Mapping[str, Any]) -> tuple[Fusion, dict[str, float], str] | None:
    """Returns how a run fused, what each mode reached, and by which metric; None for a run without a hybrid."""
    objective, evaluation = str((record.get("objective") or {}).get("name") or ""), record.get("evaluation") or {}
    protocol, _, metric = objective.rpartition("/")
    part = evaluation.get(protocol) or {}
    if not part.get("hybrid"):
        return None
    settings = {key: part["hybrid"][key] for key in (item.name for item in fields(Fusion)) if key in part["hybrid"]}
    figures = {} if str(evaluation.get("split")).startswith("pseudo_") else part["metrics"][metric]
    reached = {mode: figures.get(key) for mode, key in zip(MODES, ("value", "bm25", "hybrid"), strict=True)}
    return Fusion(**settings), {mode: float(value) for mode, value in reached.items() if value is not None}, objective


def encode_documents(
    checkpoint: Checkpoint, documents: DocumentStore, path: Path, progress: Progress | None = None
) -> np.ndarray:
    """Encodes a document store chunk by chunk into a memory-mapped .npy file and returns it, float32 [N, D].

    The rows that are done are noted beside the file, so an interrupted encoding of the same goes on where it was.
    """
    shape = (documents.count, checkpoint.model.output_dim)
    done = rows_done(path)
    if done:
        read_array(path, dtype="float32", shape=shape, mapped=True)  # so that it may be gone on with
    out_ND = np.lib.format.open_memmap(path, mode="r+") if done else new_npy(path, "float32", shape)
    for start in range(done, documents.count, CHUNK):
        # As in Collection.document_texts: what the tower read while it was trained.
        chunk = documents.fetch(range(start, min(start + CHUNK, documents.count)))
        texts = joined([item.title for item in chunk], [item.text for item in chunk])
        tokens = checkpoint.tokenizer.encode(texts, checkpoint.max_document_length)
        chunk_BD = encode(checkpoint.model, tokens, side="document")
        if documents.indexed_leads:
            longest = checkpoint.max_query_length
            bare = [item.text for item in chunk]
            chunk_BD = add_leads(checkpoint.model, checkpoint.tokenizer, bare, chunk_BD, max_query_length=longest)
        out_ND[start : start + len(texts)] = chunk_BD
        out_ND.flush()
        note_rows(path, start + len(texts))
        if progress:
            progress("encode", start + len(texts), documents.count)
    return out_ND


def encode_queries(checkpoint: Checkpoint, per_query: Path) -> np.ndarray | None:
    """Encodes the queries a run was evaluated on, which recall is measured with; None where there are none."""
    if not per_query.is_file():
        return None
    table = read_table(per_query, {"query": "string"}, only=True)
    texts = [text for text in table["query"].unique().to_pylist() if text is not None][:MOST_QUERIES]
    return encode(checkpoint.model, checkpoint.tokenizer.encode(texts, checkpoint.max_query_length), side="query")
