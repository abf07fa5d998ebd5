"""What a FAISS search needs besides FAISS: threads, how far to look, and exact scores for the best hits.

Legend: N documents, D dimension, Q queries, C candidates to re-rank.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

NEARLY = 0.01
"""Recall given up for speed where the target is out of reach."""

RERANK_BYTES = 64 << 20
SINGLE_THREAD_WORK = 1 << 26
"""Products (queries x documents x dimensions) that one thread does before another could have been woken up."""


class ThreadsFor:
    """Keeps small searches on one thread: on a busy machine waiting for the others takes 50 times the search itself.

    Args:
        work: products (queries x documents x dimensions) of the search inside the `with`.
    """

    def __init__(self, work: int) -> None:
        self._before = faiss.omp_get_max_threads() if work <= SINGLE_THREAD_WORK else 1

    def __enter__(self) -> None:
        if self._before > 1:
            faiss.omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self._before > 1:
            faiss.omp_set_num_threads(self._before)


def rescore(query_QD: np.ndarray, rows_QC: np.ndarray, vectors_ND: np.ndarray) -> np.ndarray:
    """Returns the exact similarity [Q, C] of chosen rows, reading only those; a row of -1 gets an arbitrary score."""
    if len(rows_QC) == 1:  # a hit comes once: nothing to share between queries
        return (np.asarray(vectors_ND[np.maximum(rows_QC[0], 0)], dtype=np.float32) @ query_QD[0])[None]
    scores_QC = np.empty(rows_QC.shape, np.float32)
    step = max(1, RERANK_BYTES // (4 * vectors_ND.shape[1] * max(1, rows_QC.shape[1])))
    for start in range(0, len(rows_QC), step):
        part = slice(start, start + step)
        needed, where = np.unique(np.maximum(rows_QC[part], 0), return_inverse=True)
        chosen_QCD = np.asarray(vectors_ND[needed], dtype=np.float32)[where.reshape(rows_QC[part].shape)]
        scores_QC[part] = np.einsum("qd,qcd->qc", query_QD[part], chosen_QCD)
    return scores_QC


def smallest_enough(recall_at: Callable[[int], float], *, start: int, most: int, target: float) -> tuple[int, float]:
    """Finds the smallest value of a search parameter that is enough, to an eighth.

    Where even the largest value is not enough, almost as good is as good, and much quicker.

    Args:
        recall_at: measures the recall at a value.
        start: the first value tried.
        most: the largest.
        target: the recall to reach.

    Returns:
        The value and its recall.
    """
    value, recall = start, recall_at(start)
    while recall < target and value < most:
        value = min(most, value * 2)
        recall = recall_at(value)
    enough = target if recall >= target else recall - NEARLY
    low = value // 2 if recall >= target else 0
    while value - low > max(1, value // 8):
        middle = (low + value) // 2
        found = recall_at(middle)
        if found >= enough:
            value, recall = middle, found
        else:
            low = middle
    return value, recall
