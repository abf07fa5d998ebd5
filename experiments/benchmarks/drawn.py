"""Vectors at the users' scale, drawn, seeded, in shards: what the index benchmarks search.

No text stands behind them. They are drawn to be about as hard as vectors of trained towers: passages come in subjects
of about ten (a store of 758,553 passages was collected ten to a question), subjects lie in 1,000 topics, and every step
is drawn with a spectrum falling as i**-0.6, so that all of 256 dimensions matter: participation ratio 120, where a
trained mlp tower on tldr had 100. A query's nearest passage has a cosine of about .57, its tenth about .41 (mlp tower
on tldr: .54 and .37). Queries come from the same distribution and are not among the documents.

Legend: N documents, D dimension, Q queries, K ranks, S subjects, B a block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from twotower.index.exact.on_torch import as_tensor, search_tensor
from twotower.index.vectors import Shards

USERS, DIM, QUERIES, SHARD, K = 758_553, 256, 1000, 100_000, 10
TOPICS, PER_SUBJECT, BLOCK = 1000, 10, 50_000


def _unit(rows_BD: np.ndarray) -> np.ndarray:
    rows_BD /= np.linalg.norm(rows_BD, axis=1, keepdims=True)
    return rows_BD


def draw(count: int, *, dim: int = DIM, seed: int = 0) -> Iterator[np.ndarray]:
    """Yields the queries [1000, D] first, then blocks of unit document vectors, float32."""
    generator = np.random.default_rng(seed)
    spectrum = (np.arange(1, dim + 1) ** -0.3).astype(np.float32)

    def noise(rows: int) -> np.ndarray:
        return _unit(generator.standard_normal((rows, dim), dtype=np.float32) * spectrum)

    subjects = max(1, count // PER_SUBJECT)
    topic_TD = noise(TOPICS)
    subject_SD = _unit(0.6 * topic_TD[generator.integers(0, TOPICS, subjects)] + 0.8 * noise(subjects))
    for rows in [QUERIES] + [min(BLOCK, count - start) for start in range(0, count, BLOCK)]:
        yield _unit(subject_SD[generator.integers(0, subjects, rows)] + noise(rows))


def folder_for(base: Path, count: int) -> Path:
    """Returns a folder with the shards, the queries and the exact answers for them, drawing them at first use."""
    folder = base / f"vectors-{count}"
    if (folder / "done.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    blocks = draw(count)
    query_QD = next(blocks)
    np.save(folder / "queries.npy", query_QD)
    held: list[np.ndarray] = []
    number = 0
    for block_BD in blocks:
        held.append(block_BD)
        if sum(map(len, held)) >= SHARD:
            np.save(folder / f"shard-{number:03d}.npy", np.concatenate(held))
            held, number = [], number + 1
    if held:
        np.save(folder / f"shard-{number:03d}.npy", np.concatenate(held))
    _truth(folder, query_QD)
    (folder / "done.json").write_text(json.dumps({"count": count, "dim": DIM, "seed": 0}) + "\n")
    return folder


def shards(folder: Path) -> Shards:
    """Opens the shards of a folder, memory-mapped."""
    return Shards.open(sorted(folder.glob("shard-*.npy")))


def _truth(folder: Path, query_QD: np.ndarray) -> None:
    """Finds the exact nearest documents shard by shard, with the products added up in float64 for the last word."""
    scores, rows, start = [], [], 0
    for path in sorted(folder.glob("shard-*.npy")):
        shard_BD = np.load(path)
        _, near_QC = search_tensor(as_tensor(query_QD), as_tensor(shard_BD), min(2 * K, len(shard_BD)))
        exact_QC = np.einsum("qd,qcd->qc", query_QD.astype(np.float64), shard_BD[near_QC].astype(np.float64))
        scores.append(exact_QC)
        rows.append(near_QC + start)
        start += len(shard_BD)
    scores_QC, rows_QC = np.concatenate(scores, axis=1), np.concatenate(rows, axis=1)
    order_QK = np.argsort(-scores_QC, axis=1, kind="stable")[:, :K]
    np.save(folder / "truth_rows.npy", np.take_along_axis(rows_QC, order_QK, axis=1))
    np.save(folder / "truth_scores.npy", np.take_along_axis(scores_QC, order_QK, axis=1).astype(np.float32))
