"""Exact search with torch: a matrix product and a top-k, in chunks, over memory-mapped or GPU-resident vectors.

Once a query has its first k documents, most later chunks hold nothing better and are passed over after a look at their
highest score.

Legend: N documents, D dimension, Q queries, K ranks, C documents of one chunk, H queries with something better.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from twotower.index.vectors import Progress, Vectors, best_first, blocks
from twotower.kernels.linear import product

SCORES_PER_CHUNK = 1 << 20
"""Scores computed before the best of them are kept: 4 MB of float32, which stays in a processor's cache."""

SCORES_PER_CHUNK_GPU = 1 << 27
LEAST_CHUNK = 4096
"""Documents a chunk has at least, however many queries there are."""


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """Views an array, read-only memory maps included, as a tensor without copying."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def search_tensor(query_QD: torch.Tensor, vectors_ND: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k documents of highest inner product for every query, exactly.

    Args:
        query_QD: float32 queries, on the device of the vectors.
        vectors_ND: float32 or float16 documents; float16 on a CPU is widened chunk by chunk.
        k: how many, at most N.

    Returns:
        Scores float32 [Q, K] descending and rows int64 [Q, K]; equal scores by row.
    """
    count = len(vectors_ND)
    budget = SCORES_PER_CHUNK if vectors_ND.device.type == "cpu" else SCORES_PER_CHUNK_GPU
    queries = min(len(query_QD), 1024)
    size = max(LEAST_CHUNK, min(1 << 20, budget // queries))
    parts = [
        _search_chunked(query_QD[start : start + queries], vectors_ND, min(k, count), size)
        for start in range(0, len(query_QD), queries)
    ]
    scores_QK = torch.cat([scores for scores, _ in parts]).float().cpu().numpy()
    return best_first(scores_QK, torch.cat([rows for _, rows in parts]).cpu().numpy(), k)


def _search_chunked(
    query_QD: torch.Tensor, vectors_ND: torch.Tensor, k: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    half_on_gpu = vectors_ND.device.type != "cpu" and vectors_ND.dtype != torch.float32
    query_QD = query_QD.to(vectors_ND.dtype if half_on_gpu else torch.float32)
    best: tuple[torch.Tensor, torch.Tensor] | None = None
    for start in range(0, len(vectors_ND), size):
        chunk_CD = vectors_ND[start : start + size]
        if not half_on_gpu and chunk_CD.dtype != torch.float32:
            chunk_CD = chunk_CD.float()
        scores_QC = product(query_QD, chunk_CD)
        if best is None:
            best = torch.topk(scores_QC, min(k, scores_QC.shape[1]), dim=1)
            continue
        hot = torch.arange(len(scores_QC), device=scores_QC.device)
        if best[0].shape[1] == k:
            hot = torch.nonzero(scores_QC.amax(1) > best[0][:, -1])[:, 0]
        if len(hot):
            best = _merged(best, scores_QC, hot, start, k)
    assert best is not None
    return best


def _merged(
    best: tuple[torch.Tensor, torch.Tensor], scores_QC: torch.Tensor, hot: torch.Tensor, start: int, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the best scores and rows with those of another chunk, for the queries that have better ones there."""
    scores_HK, rows_HK = torch.topk(scores_QC[hot], min(k, scores_QC.shape[1]), dim=1)
    scores_HK = torch.cat([best[0][hot], scores_HK], dim=1)
    rows_HK = torch.cat([best[1][hot], rows_HK + start], dim=1)
    scores_HK, order_HK = torch.topk(scores_HK, min(k, scores_HK.shape[1]), dim=1)
    rows_HK = rows_HK.gather(1, order_HK)
    if len(hot) == len(scores_QC):
        return scores_HK, rows_HK
    return best[0].index_copy(0, hot, scores_HK), best[1].index_copy(0, hot, rows_HK)


def true_scores(query_QD: np.ndarray, vectors: Vectors, k: int, *, progress: Progress | None = None) -> np.ndarray:
    """Returns the exact similarities [Q, K] of the nearest documents, reading the vectors once, block by block."""
    count = int(vectors.shape[0])
    queries = torch.from_numpy(np.ascontiguousarray(query_QD, dtype=np.float32))
    best_QK = torch.empty(len(query_QD), 0)
    for start, block_CD in blocks(vectors):
        scores, _ = search_tensor(queries, torch.from_numpy(block_CD), min(k, len(block_CD)))
        best_QK = torch.cat([best_QK, torch.from_numpy(scores)], dim=1)
        best_QK = torch.topk(best_QK, min(k, best_QK.shape[1]), dim=1).values
        if progress:
            progress("exact answers", start + len(block_CD), count)
    return best_QK.numpy()
