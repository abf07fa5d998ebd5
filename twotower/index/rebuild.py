"""Builds indexes for a run trained earlier: its stored documents, encoded again by its exported model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.reading import read_array, read_table
from twotower.data.documents import DocumentStore
from twotower.index.export import check, export
from twotower.index.manifest import run_identity
from twotower.index.resume import note_rows, part_folder, rows_done
from twotower.index.vectors import Progress, new_npy
from twotower.model.checkpoint import Checkpoint, load
from twotower.model.encoding import encode
from twotower.model.leads import add_leads
from twotower.runs.find import check_unchanged, find_checkpoint

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
        UserError: when the run has no exported model or documents, or an index cannot be built.
    """
    run_dir = Path(run_dir)
    path = find_checkpoint(run_dir)
    checkpoint = load(path)
    check_unchanged(run_dir, path, checkpoint.sha256)
    check(index_config, dim=checkpoint.model.output_dim)
    with DocumentStore(run_dir / "documents.db") as documents:
        identity = run_identity(checkpoint, documents)
        with part_folder(run_dir / "index" / ".vectors.part", identity) as folder:
            vectors_ND = encode_documents(checkpoint, documents, folder / "vectors.npy", progress)
            return export(
                index_config,
                vectors_ND,
                documents.ids(),
                identity=identity,
                run_dir=run_dir,
                query_QD=encode_queries(checkpoint, run_dir / "per_query.parquet"),
                progress=progress,
            )


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
        chunk = documents.fetch(range(start, min(start + CHUNK, documents.count)))
        # As in Collection.document_texts: what the tower read while it was trained.
        texts = [f"{item.title} {item.text}" if item.title else item.text for item in chunk]
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
