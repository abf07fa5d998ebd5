"""Builds indexes for a run trained earlier: its stored documents, encoded again by its exported model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from twotower.data.documents import DocumentStore
from twotower.index.export import check, export
from twotower.index.manifest import run_identity
from twotower.index.vectors import Progress
from twotower.model.checkpoint import Checkpoint, find_checkpoint, load
from twotower.model.encoding import encode

CHUNK = 16_384
MOST_QUERIES = 2000


def rebuild(
    run_dir: str | Path, index_config: Mapping[str, Any], *, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Builds every index of a config into a run's folder and returns the manifests.

    Args:
        run_dir: the run's folder.
        index_config: as `twotower.index.choices.compose` returns it.
        progress: told (stage, done, total).

    Raises:
        UserError: when the run has no exported model or documents, or an index cannot be built.
    """
    run_dir = Path(run_dir)
    checkpoint = load(find_checkpoint(run_dir))
    check(index_config, dim=checkpoint.model.output_dim)
    with DocumentStore(run_dir / "documents.db") as documents, tempfile.TemporaryDirectory() as folder:
        vectors_ND = encode_documents(checkpoint, documents, Path(folder) / "vectors.npy", progress)
        return export(
            index_config,
            vectors_ND,
            documents.ids(),
            identity=run_identity(checkpoint, documents),
            run_dir=run_dir,
            query_QD=encode_queries(checkpoint, run_dir / "per_query.parquet"),
            progress=progress,
        )


def encode_documents(
    checkpoint: Checkpoint, documents: DocumentStore, path: Path, progress: Progress | None = None
) -> np.ndarray:
    """Encodes a document store chunk by chunk into a memory-mapped .npy file and returns it, float32 [N, D]."""
    shape = (documents.count, checkpoint.model.output_dim)
    out_ND = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    stream = iter(documents)
    for start in range(0, documents.count, CHUNK):
        # As in Collection.document_texts: what the tower read while it was trained.
        texts = [f"{item.title} {item.text}" if item.title else item.text for item in islice(stream, CHUNK)]
        tokens = checkpoint.tokenizer.encode(texts, checkpoint.max_document_length)
        out_ND[start : start + len(texts)] = encode(checkpoint.model, tokens, side="document")
        if progress:
            progress("encode", start + len(texts), documents.count)
    return out_ND


def encode_queries(checkpoint: Checkpoint, per_query: Path) -> np.ndarray | None:
    """Encodes the queries a run was evaluated on, which recall is measured with; None where there are none."""
    import pyarrow.parquet as parquet

    if not per_query.is_file():
        return None
    texts = parquet.read_table(per_query, columns=["query"])["query"].unique().to_pylist()[:MOST_QUERIES]
    return encode(checkpoint.model, checkpoint.tokenizer.encode(texts, checkpoint.max_query_length), side="query")
