"""Uncertainty of means over queries: bootstrap intervals, a paired randomisation test, Holm's correction.

Numpy alone, so that comparing runs needs no torch. Everything is seeded, vectorised over all metrics at once, and
works in blocks of resamples whose memory stays bounded whatever the number of queries.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (percentile interval); Smucker, Allan and Carterette
2007 (randomisation test for information retrieval); Holm 1979.

Shapes: Q queries, M metrics, B resamples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_BLOCK_BYTES = 32 * 2**20
_EXACT_UP_TO = 12


class Interval(NamedTuple):
    """A mean and the ends of its interval: floats for one metric, arrays [M] for several."""

    mean: Any
    low: Any
    high: Any


def bootstrap_interval(values: np.ndarray, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Interval:
    """Returns the mean over queries and its percentile bootstrap interval.

    Queries are drawn anew with replacement, the same draw for every metric, so columns stay comparable.

    Args:
        values: per-query values, [Q] or [Q, M].
        level: probability the interval should cover.
        resamples: number of draws.
        seed: equal seeds and equal Q give equal draws.

    Raises:
        ValueError: without any query, for values that are not finite, or a level outside (0, 1).
    """
    table_QM = _table(values)
    if not 0 < level < 1:
        raise ValueError(f"level={level}: an interval covers more than 0 and less than 1, such as 0.95.")
    count = len(table_QM)
    generator = np.random.default_rng(seed)
    means_BM = np.empty((resamples, table_QM.shape[1]))
    step = _step(count, resamples)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, count, size=(size, count))
        drawn += np.arange(size)[:, None] * count
        weights_BQ = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        means_BM[start : start + size] = weights_BQ @ table_QM / count
    tail = (1 - level) / 2
    low, high = np.quantile(means_BM, [tail, 1 - tail], axis=0)
    interval = Interval(table_QM.mean(axis=0), low, high)
    return interval if np.ndim(values) > 1 else Interval(*(float(part[0]) for part in interval))


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Returns the mean of (first - second) over the same queries and its percentile bootstrap interval.

    Args:
        first: per-query values, [Q] or [Q, M].
        second: values of the same queries, in the same order.
        level: probability the interval should cover.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: when the two don't have the same shape, or as `bootstrap_interval`.
    """
    return bootstrap_interval(_difference(first, second), level=level, resamples=resamples, seed=seed)


def randomisation_test(
    first: np.ndarray, second: np.ndarray, *, permutations: int = 10_000, seed: int = 0
) -> float | np.ndarray:
    """Returns the two-sided p-value of the paired sign-flip test: are the two systems interchangeable?

    Each query's difference keeps or changes its sign at random; p is the share of such flips whose mean difference is
    at least as large as the observed one. Up to 12 queries that differ every flip is counted; beyond, `permutations`
    random ones, the observed one included, so p is never 0.

    Args:
        first: per-query values, [Q] or [Q, M].
        second: values of the same queries, in the same order.
        permutations: random flips.
        seed: seed of the flips.

    Raises:
        ValueError: when the two don't have the same shape, without any query, or for values that are not finite.
    """
    table_QM = _table(_difference(first, second))
    table_QM = table_QM[(table_QM != 0).any(axis=1)]  # an equal query changes nothing, whatever its sign
    count = len(table_QM)
    sums_M = np.abs(table_QM.sum(axis=0))
    threshold_M = sums_M - 1e-12 * np.maximum(np.abs(table_QM).sum(axis=0), 1e-300)  # equal sums differ by rounding
    if count <= _EXACT_UP_TO:
        flips = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        p_M = (np.abs((1.0 - 2.0 * flips) @ table_QM) >= threshold_M).mean(axis=0)
        return p_M if np.ndim(first) > 1 else float(p_M[0])
    generator = np.random.default_rng(seed)
    extreme_M = np.zeros(table_QM.shape[1], dtype=np.int64)
    step = _step(count, permutations)
    for start in range(0, permutations, step):
        size = min(step, permutations - start)
        bits = np.unpackbits(generator.integers(0, 256, size=(size, (count + 7) // 8), dtype=np.uint8), axis=1)
        signs_BQ = 1.0 - 2.0 * bits[:, :count]
        extreme_M += (np.abs(signs_BQ @ table_QM) >= threshold_M).sum(axis=0)
    p_M = (1 + extreme_M) / (1 + permutations)
    return p_M if np.ndim(first) > 1 else float(p_M[0])


def holm(p_values: np.ndarray) -> np.ndarray:
    """Returns Holm's step-down adjusted p-values, in the given order; compare them with the level of the family.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _table(values: np.ndarray) -> np.ndarray:
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if not len(table):
        raise ValueError("No queries: an interval or a test needs at least one.")
    if not np.isfinite(table).all():
        raise ValueError("Per-query values must be finite numbers.")
    return table


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first_Q, second_Q = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first_Q.shape != second_Q.shape:
        raise ValueError(
            f"A paired comparison needs the same queries: shapes {first_Q.shape} and {second_Q.shape} differ."
        )
    return first_Q - second_Q


def _step(count: int, resamples: int) -> int:
    return max(1, min(resamples, _BLOCK_BYTES // (24 * max(count, 1))))
