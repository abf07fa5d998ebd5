"""What a FAISS search needs besides FAISS: a file in memory, threads, how far to look, exact scores for the best hits.

Legend: N documents, D dimension, Q queries, C candidates to re-rank.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import faiss
import numpy as np

NEARLY = 0.01
"""Recall given up for speed where the target is out of reach."""

RERANK_BYTES = 64 << 20
SINGLE_THREAD_WORK = 1 << 26
"""Products (queries x documents x dimensions) that one thread does before another could have been woken up."""


HEADER = struct.Struct("<4siq")
"""How a FAISS file begins: kind of index, dimensions, vectors."""
AHEAD_BLOCK = 1 << 24


def read_ahead(path: Path) -> None:
    """Brings what FAISS goes through right away into the system's cache, in order, unless it is there.

    FAISS maps its file for random access, and so a disk is read page by page: 2.7 s for the links of a graph of 758,553
    vectors, which are checked when it is opened, 6 s for a first query that compares them all; in order .3 and .7.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            kind, dim, count = HEADER.unpack(file.read(HEADER.size))
            size = os.fstat(file.fileno()).st_size
            left = size if kind.startswith(b"IxF") else size - 4 * count * dim if kind == b"IHNf" else 0
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            if not 0 < left < memory / 2 or _cached(file, left):
                return
            file.seek(0)
            block = memoryview(bytearray(min(left, AHEAD_BLOCK)))
            while left > 0 and (got := file.readinto(block[: min(left, AHEAD_BLOCK)])):
                left -= got
    except (OSError, ValueError, AttributeError, struct.error):
        return  # another system, or no such file: opening the index will tell


def _cached(file: FileIO, size: int) -> bool:
    """Says whether the first `size` bytes seem to be in memory, by 64 samples."""
    byte = bytearray(1)
    try:
        return all(os.preadv(file.fileno(), [byte], size * at // 64, os.RWF_NOWAIT) for at in range(64))
    except BlockingIOError:
        return False


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
        return (np.asarray(vectors_ND[np.maximum(rows_QC[0], 0)], dtype=np.float32) @ query_QD[0])[None]  # type: ignore[no-any-return]
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
        reached = recall_at(middle)
        if reached >= enough:
            value, recall = middle, reached
        else:
            low = middle
    return value, recall
