"""Exact search with numpy alone, for one query or a few: there, reading the vectors takes all the time.

It has a way of its own to the best rows beside `evaluation.ranking`, by which batches and evaluations go: that needs
torch, whose import takes three times as long as a whole search. A test holds the two to the same rows and scores.

A dot product a document goes to BLAS, which computes one this short in the thread that asks. (Asked for a whole matrix
times a vector it would wake its other threads for every chunk and wait for them, on busy cores fifty times as long as
the work takes.) The documents are divided among threads of our own instead, which meet once, at the end.

Legend: N documents, D dimension, Q queries, K ranks, C documents of one chunk or candidates.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from twotower.index.vectors import best_first

CHUNK = 4096
"""Documents compared at a time: 4 MB of float32 at 256 dimensions, so that further queries find them in the cache."""

SPARE = 64
"""Candidates kept beside the first k, until their scores are added up again in float64."""

WORK_PER_THREAD = 1 << 24
"""Products (queries x documents x dimensions) that are worth a thread: two milliseconds of one."""


def search_arrays(query_QD: np.ndarray, vectors_ND: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k documents of highest inner product for every query, exactly.

    The scores of the candidates are added up in float64, every document's in the same order: identical documents have
    identical scores, however many threads there are.

    Args:
        query_QD: float32 queries.
        vectors_ND: float32 or float16 documents, memory-mapped or not; float16 is widened chunk by chunk.
        k: how many, at most N.

    Returns:
        Scores float32 [Q, K] descending and rows int64 [Q, K]; equal scores by row.
    """
    vectors_ND = np.asarray(vectors_ND)  # a memory map as a plain array, whose slices cost less
    threads = threads_for(len(query_QD) * vectors_ND.size)
    bounds = [len(vectors_ND) * number // threads for number in range(threads + 1)]
    spans = [range(start, stop) for start, stop in pairwise(bounds)]

    def nearest(span: range) -> list[np.ndarray]:
        return _nearest(query_QD, vectors_ND, span, k + SPARE)

    if threads == 1:
        parts = [nearest(span) for span in spans]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(nearest, spans))
    scores_QK = np.empty((len(query_QD), k), np.float32)
    rows_QK = np.empty((len(query_QD), k), np.int64)
    for at, query_D in enumerate(query_QD):
        rows_C = np.concatenate([rows[at] for rows in parts])
        scores_C = _added_up(query_D, vectors_ND, rows_C)
        scores_QK[at : at + 1], rows_QK[at : at + 1] = best_first(scores_C[None], rows_C[None], k)
    return scores_QK, rows_QK


def threads_for(products: int) -> int:
    """Returns how many threads a search of so many products (queries x documents x dimensions) is divided among."""
    return min(thread_count(), 1 + products // WORK_PER_THREAD)


def thread_count() -> int:
    """Returns how many threads a search may use: as many as torch where it is loaded, else OMP_NUM_THREADS or cores."""
    asked = getattr(sys.modules.get("torch"), "get_num_threads", None)  # none while another thread imports torch
    if asked is not None:
        return int(asked())
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nearest(query_QD: np.ndarray, vectors_ND: np.ndarray, span: range, kept: int) -> list[np.ndarray]:
    """Returns for each query the rows of the `kept` best documents of a span, in no order."""
    best: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in query_QD]
    least_Q = np.full(len(query_QD), -np.inf, np.float32)
    wide_CD = np.empty((0 if vectors_ND.dtype == np.float32 else CHUNK, vectors_ND.shape[1]), np.float32)
    for start in range(span.start, span.stop, CHUNK):
        chunk_CD = vectors_ND[start : min(start + CHUNK, span.stop)]
        if len(wide_CD):
            wide_CD[: len(chunk_CD)] = chunk_CD
            chunk_CD = wide_CD[: len(chunk_CD)]
        for at, query_D in enumerate(query_QD):
            scores_C = np.vecdot(chunk_CD, query_D)
            hot = np.flatnonzero(scores_C > least_Q[at])
            if len(hot):
                scores_C = np.concatenate([best[at][0], scores_C[hot]])
                rows_C = np.concatenate([best[at][1], hot + start])
                best[at] = _kept(scores_C, rows_C, kept)
                if len(best[at][0]) == kept:
                    least_Q[at] = best[at][0].min()
    return [rows for _, rows in best]


def _kept(scores_C: np.ndarray, rows_C: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best candidates; of those that tie for the last places the first, which have the lower rows."""
    if len(scores_C) <= kept:
        return scores_C, rows_C
    least = np.partition(scores_C, len(scores_C) - kept)[len(scores_C) - kept]
    above = np.flatnonzero(scores_C > least)
    chosen = np.concatenate([above, np.flatnonzero(scores_C == least)[: kept - len(above)]])
    return scores_C[chosen], rows_C[chosen]


def _added_up(query_D: np.ndarray, vectors_ND: np.ndarray, rows_C: np.ndarray) -> np.ndarray:
    """Returns the inner products float32 [C] of some documents, added up in float64."""
    scores_C = np.empty(len(rows_C), np.float32)
    wide_D = query_D.astype(np.float64)
    for start in range(0, len(rows_C), CHUNK):
        chosen_CD = vectors_ND[rows_C[start : start + CHUNK]].astype(np.float64)
        scores_C[start : start + CHUNK] = (chosen_CD * wide_D).sum(axis=1)
    return scores_C
