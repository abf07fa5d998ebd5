"""What a random order would score: exact expectations of every metric, query by query.

The pool (N documents, R of them relevant) is put in a uniformly random order and cut at the ranking's depth. A query
may have more relevant documents than its pool holds (T in all); recall, MAP and nDCG still divide by all of them.

- recall@k: R/N min(k, N) / T
- nDCG@k: every rank has the pool's mean gain: (sum of grades / N) sum over r <= k of 1/log2(r+1), over the ideal
- MRR@k: the first relevant document is at rank r with probability C(N-r, R-1) / C(N, R); sum over r <= k of that over r
- MAP: a document at rank r is relevant with probability R/N and each one above it then with (R-1)/(N-1); sum over
  r <= K of R/N (1 + (r-1)(R-1)/(N-1)) / r, over T

For one relevant of eight: MRR .3397, recall@5 .625, nDCG@10 .4942.

Shapes: Q queries, K ranks, G best grades, M metrics, U distinct (N, R) pairs.
"""

from __future__ import annotations

import numpy as np

from twotower.evaluation.names import METRICS, NDCG_CUTS, RECALL_CUTS


def expected_metrics(
    pool_Q: np.ndarray,
    found_Q: np.ndarray,
    gain_Q: np.ndarray,
    ideal_QG: np.ndarray,
    relevant_Q: np.ndarray,
    *,
    depth: int = 100,
) -> np.ndarray:
    """Returns the expectation of every metric under a random order, float64 [Q, M] in the order of `METRICS`.

    Args:
        pool_Q: number of documents in each query's pool.
        found_Q: number of relevant documents in the pool.
        gain_Q: sum of the positive grades in the pool.
        ideal_QG: each query's highest grades over the collection, descending, padded with 0.
        relevant_Q: number of relevant documents over the collection.
        depth: ranks kept.
    """
    pool = np.asarray(pool_Q, dtype=np.float64)
    found = np.asarray(found_Q, dtype=np.float64)
    total = np.maximum(np.asarray(relevant_Q, dtype=np.float64), 1)
    size = np.maximum(pool, 1)
    values = np.zeros((len(pool), len(METRICS)))
    values[:, 0] = _first_hit(pool, found, depth)
    values[:, 1] = _first_hit(pool, found, min(depth, 10))
    values[:, 2] = _average_precision(pool, found, depth) / total
    for column, k in enumerate(RECALL_CUTS, start=3):
        values[:, column] = found / size * np.minimum(min(k, depth), pool) / total
    mean_gain = np.asarray(gain_Q, dtype=np.float64) / size
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, max(NDCG_CUTS) + 2)))])
    ideal = np.maximum(np.asarray(ideal_QG, dtype=np.float64)[:, : max(NDCG_CUTS)], 0)
    for column, k in enumerate(NDCG_CUTS, start=3 + len(RECALL_CUTS)):
        ranks = np.minimum(min(k, depth), pool).astype(np.int64)
        best = ideal[:, :k] @ (1 / np.log2(np.arange(2, min(k, ideal.shape[1]) + 2)))
        values[:, column] = np.where(best > 0, mean_gain * discounts[ranks] / np.where(best > 0, best, 1), 0)
    return values


def _pairs(pool_Q: np.ndarray, found_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (N, R) pairs and where each query's is: a full ranking has one N and few R for all queries."""
    pairs, inverse = np.unique(np.stack([pool_Q, found_Q], axis=1), axis=0, return_inverse=True)
    return pairs[:, :1], pairs[:, 1:], inverse.reshape(-1)


def _first_hit(pool_Q: np.ndarray, found_Q: np.ndarray, depth: int) -> np.ndarray:
    """Expected 1 / rank of the first relevant document, 0 beyond `depth`; each [Q]."""
    size_U1, found_U1, inverse = _pairs(pool_Q, found_Q)
    rank = np.arange(1, depth, dtype=np.float64)
    # P(first at r + 1) / P(first at r) = (N - r - R + 1) / (N - r), from the quotient of the binomials
    left = np.maximum(size_U1 - rank, 1)
    ratio = np.clip(size_U1 - rank - found_U1 + 1, 0, None) / left
    start = found_U1 / np.maximum(size_U1, 1)
    chance_UK = np.cumprod(np.concatenate([start, ratio], axis=1), axis=1)
    return (chance_UK / np.arange(1, depth + 1)).sum(axis=1)[inverse]


def _average_precision(pool_Q: np.ndarray, found_Q: np.ndarray, depth: int) -> np.ndarray:
    """Expected sum of precisions at relevant ranks within `depth` [Q]."""
    size_U1, found_U1, inverse = _pairs(pool_Q, found_Q)
    rank = np.arange(1, depth + 1, dtype=np.float64)
    others = np.clip(found_U1 - 1, 0, None) / np.maximum(size_U1 - 1, 1)
    terms = found_U1 / np.maximum(size_U1, 1) * (1 + (rank - 1) * others) / rank
    return np.where(rank <= size_U1, terms, 0).sum(axis=1)[inverse]
