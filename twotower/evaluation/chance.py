"""What a random order would score: exact expectations of every metric, query by query.

The pool (N documents, R of them relevant) is put in a uniformly random order and cut at the ranking's depth. A query
may have more relevant documents than its pool holds (T in all); recall, MAP and nDCG still divide by all of them.

- recall@k: R/N min(k, N) / T
- nDCG@k: every rank has the pool's mean gain: (sum of grades / N) sum over r <= k of 1/log2(r+1), over the ideal
- MRR@k: the first relevant document is at rank r with probability C(N-r, R-1) / C(N, R); sum over r <= k of that over r
- MAP: a document at rank r is relevant with probability R/N and each one above it then with (R-1)/(N-1); sum over
  r <= K of R/N (1 + (r-1)(R-1)/(N-1)) / r, over T

For one relevant of eight: MRR .3397, recall@5 .625, nDCG@10 .4942.

Shapes: Q queries, K ranks, G best grades, U distinct (N, R) pairs.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np


class RandomOrder:
    """Each query's pool, to be put in a random order.

    Args:
        pool_Q: number of documents in each query's pool.
        found_Q: number of relevant documents in the pool.
        gain_Q: sum of the positive grades in the pool.
        ideal_QG: each query's highest grades over the collection, descending, padded with 0.
        relevant_Q: number of relevant documents over the collection.
        depth: ranks kept.
    """

    def __init__(
        self,
        pool_Q: np.ndarray,
        found_Q: np.ndarray,
        gain_Q: np.ndarray,
        ideal_QG: np.ndarray,
        relevant_Q: np.ndarray,
        *,
        depth: int = 100,
    ) -> None:
        self.pool_Q = np.asarray(pool_Q, dtype=np.float64)
        self.found_Q = np.asarray(found_Q, dtype=np.float64)
        self.gain_Q = np.asarray(gain_Q, dtype=np.float64)
        self.ideal_QG = np.maximum(np.asarray(ideal_QG, dtype=np.float64), 0)
        self.total_Q = np.maximum(np.asarray(relevant_Q, dtype=np.float64), 1)
        self.size_Q = np.maximum(self.pool_Q, 1)
        self.depth = depth

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distinct (N, R), each [U, 1], and where each query's is [Q]: a full ranking has one N and few R."""
        pairs, inverse = np.unique(np.stack([self.pool_Q, self.found_Q], axis=1), axis=0, return_inverse=True)
        return pairs[:, :1], pairs[:, 1:], inverse.reshape(-1)


def first_hit(order: RandomOrder, k: int | None = None) -> np.ndarray:
    """Returns the expected 1 / rank of the first relevant document, 0 beyond rank k [Q]."""
    depth = min(k or order.depth, order.depth)
    size_U1, found_U1, inverse = order.pairs
    rank = np.arange(1, depth, dtype=np.float64)
    # P(first at r + 1) / P(first at r) = (N - r - R + 1) / (N - r), from the quotient of the binomials
    left = np.maximum(size_U1 - rank, 1)
    ratio = np.clip(size_U1 - rank - found_U1 + 1, 0, None) / left
    start = found_U1 / np.maximum(size_U1, 1)
    chance_UK = np.cumprod(np.concatenate([start, ratio], axis=1), axis=1)
    return np.asarray((chance_UK / np.arange(1, depth + 1)).sum(axis=1)[inverse])


def average_precision(order: RandomOrder) -> np.ndarray:
    """Returns the expected average precision within the ranking's depth [Q]."""
    size_U1, found_U1, inverse = order.pairs
    rank = np.arange(1, order.depth + 1, dtype=np.float64)
    others = np.clip(found_U1 - 1, 0, None) / np.maximum(size_U1 - 1, 1)
    terms = found_U1 / np.maximum(size_U1, 1) * (1 + (rank - 1) * others) / rank
    return np.asarray(np.where(rank <= size_U1, terms, 0).sum(axis=1)[inverse] / order.total_Q)


def recall(order: RandomOrder, k: int) -> np.ndarray:
    """Returns the expected recall at k [Q]."""
    return np.asarray(order.found_Q / order.size_Q * np.minimum(min(k, order.depth), order.pool_Q) / order.total_Q)


def discounted_gain(order: RandomOrder, k: int) -> np.ndarray:
    """Returns the expected nDCG at k [Q]."""
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    ranks = np.minimum(min(k, order.depth), order.pool_Q).astype(np.int64)
    ideal_QG = order.ideal_QG[:, :k]
    best = ideal_QG @ (1 / np.log2(np.arange(2, ideal_QG.shape[1] + 2)))
    return np.where(best > 0, order.gain_Q / order.size_Q * discounts[ranks] / np.where(best > 0, best, 1), 0)


def precision(order: RandomOrder, k: int) -> np.ndarray:
    """Returns the expected precision at k, over k ranks even where the pool is smaller [Q]."""
    return np.asarray(order.found_Q / order.size_Q * np.minimum(min(k, order.depth), order.pool_Q) / k)


def hit_rate(order: RandomOrder, k: int) -> np.ndarray:
    """Returns the probability of a relevant document among the first k: 1 - C(N-R, k) / C(N, k) [Q]."""
    size_U1, found_U1, inverse = order.pairs
    rank = np.arange(min(k, order.depth))
    missed = np.clip(size_U1 - found_U1 - rank, 0, None) / np.maximum(size_U1 - rank, 1)
    return np.asarray(1 - np.where(rank < size_U1, missed, 1.0).prod(axis=1)[inverse])
