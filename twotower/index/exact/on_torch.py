"""Exact search with torch, for batches: the ranking of evaluations, with row numbers for ids.

Legend: N documents, D dimension, Q queries, K ranks, C documents of one block.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from twotower.evaluation.nominate import VectorRows, nominate
from twotower.evaluation.ranking import rank_full
from twotower.index.vectors import Progress, Vectors, best_first, blocks

MEMORY = 1 << 28
"""Bytes that the exact answers to the queries of a probe may take beside vectors."""


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """Views an array, read-only memory maps included, as a tensor without copying."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def documents_of(vectors_ND: np.ndarray, device: str = "cpu") -> VectorRows:
    """Returns documents for `search_tensor`: on a CPU where they are, on a GPU copied there."""
    return VectorRows(as_tensor(vectors_ND).to(device), "document", None)


def search_tensor(
    query_QD: torch.Tensor, vectors_ND: torch.Tensor | VectorRows, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k documents of highest inner product for every query, exactly.

    Args:
        query_QD: float32 queries, on the device of the vectors.
        vectors_ND: float32 or float16 documents, widened block by block; from `documents_of` where they are searched
            again and again.
        k: how many.

    Returns:
        Scores float32 [Q, K] descending and rows int64 [Q, K]; equal scores by row.
    """
    ranking = rank_full(query_QD, vectors_ND, k=k)
    return best_first(ranking.scores, ranking.rows, k)


def true_scores(query_QD: np.ndarray, vectors: Vectors, k: int, *, progress: Progress | None = None) -> np.ndarray:
    """Returns the exact similarities [Q, K] of the nearest documents, reading the vectors once, block by block."""
    count = int(vectors.shape[0])
    queries = VectorRows(np.ascontiguousarray(query_QD, dtype=np.float32), "query", None)
    best_QK = torch.empty(len(query_QD), 0)
    for start, block_CD in blocks(vectors):
        block = VectorRows(block_CD, "document", None)
        scores_QK, _ = nominate(queries, block, width=min(k, len(block)), chunk=None, max_memory=MEMORY)
        best_QK = torch.cat([best_QK, scores_QK.clamp(-1, 1)], dim=1)
        best_QK = torch.topk(best_QK, min(k, best_QK.shape[1]), dim=1).values
        if progress:
            progress("exact answers", start + len(block_CD), count)
    return best_QK.numpy()
