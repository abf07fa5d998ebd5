"""What one query takes, in an index and without one: a graph over hard vectors can be slower than comparing everything.

Legend: N documents, D dimension, Q queries.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from twotower.index.base import Index
from twotower.index.exact.on_numpy import search_arrays, threads_for
from twotower.index.vectors import Vectors, blocks

TIMED_QUERIES = 50
ROWS = 200_000
"""Vectors that exact search is timed on where they do not lie in one array; the time for all follows from it."""
SLOWER = 1.1
"""An index that takes so many times what exact search takes is slower: less is within what measuring varies by."""


def one_query_ms(index: Index, query_QD: np.ndarray) -> float:
    """Returns the median milliseconds of a search for ten hits, one query at a time."""
    return _median_ms(lambda query_D: index.search(query_D, 10), query_QD)


def exact_ms(vectors: Vectors, query_QD: np.ndarray) -> float:
    """Returns the median milliseconds of comparing one query with all vectors, as `index=exact` does on a CPU."""
    count, dim = (int(size) for size in vectors.shape)
    if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32:
        held, growth = vectors, 1.0
    else:
        _, held = next(blocks(vectors, rows=min(count, ROWS)))
        growth = count / len(held) * threads_for(len(held) * dim) / threads_for(count * dim)
    return growth * _median_ms(lambda query_D: search_arrays(query_D[None], held, min(10, len(held))), query_QD)


def _median_ms(search: Callable[[np.ndarray], object], query_QD: np.ndarray) -> float:
    seconds = []
    search(query_QD[0])
    for query_D in query_QD[:TIMED_QUERIES]:
        started = time.perf_counter()
        search(query_D)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
