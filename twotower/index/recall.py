"""How much an index misses: recall against exact search, counted so that equal documents never count as misses.

Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

import numpy as np

from twotower.index.base import Index, Probe
from twotower.index.vectors import Progress, Vectors, normalise, sample_rows, take

TOLERANCE = 1e-5
"""Two similarities closer than this are the same: backends add up float32 products in different orders."""


def make_probe(
    vectors: Vectors,
    query_QD: np.ndarray | None = None,
    *,
    size: int = 200,
    k: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Probe:
    """Finds the exact answers of some queries, or of some documents taken as queries where there are none.

    Args:
        vectors: all documents [N, D].
        query_QD: encoded queries; at most `size` of them are used.
        size: how many queries.
        k: how deep.
        seed: chooses them.
        progress: told how many documents were compared.
    """
    from twotower.index.exact.on_torch import true_scores  # torch, which a process that only searches can do without

    source = "documents" if query_QD is None or len(query_QD) == 0 else "queries"
    if source == "queries":
        assert query_QD is not None
        chosen_QD = normalise(query_QD[sample_rows(len(query_QD), size, seed)])
    else:
        chosen_QD = take(vectors, sample_rows(int(vectors.shape[0]), size, seed))
    k = min(k, int(vectors.shape[0]))
    return Probe(query_QD=chosen_QD, scores_QK=true_scores(chosen_QD, vectors, k, progress=progress), source=source)


def recall_of_scores(found_QK: np.ndarray, true_QK: np.ndarray) -> float:
    """Returns the share of the K best documents found, judged by exact scores.

    A found document counts when it is as similar as the K-th true one, so of several identical documents any will do.
    """
    enough_QK = found_QK >= true_QK[:, -1:] - TOLERANCE
    return float(np.minimum(enough_QK.sum(axis=1), true_QK.shape[1]).mean() / true_QK.shape[1])


def measure(index: Index, vectors: Vectors, probe: Probe) -> float:
    """Searches an index with the probe's queries and returns its recall, whatever scores it reports itself."""
    k = probe.scores_QK.shape[1]
    _, rows_QK = index.search(probe.query_QD, k)
    scores_QK = np.full(rows_QK.shape, -np.inf, np.float32)
    for at, rows_K in enumerate(
        rows_QK
    ):  # of all at once, 200 x 1,000 found vectors would be as large as many an index
        there_K = rows_K >= 0
        scores_QK[at, there_K] = take(vectors, rows_K[there_K]) @ probe.query_QD[at]
    return recall_of_scores(scores_QK, probe.scores_QK)
