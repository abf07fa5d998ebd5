"""One query by words and vector together, over many documents: the best of each side get both scores.

Shapes: N documents, K ranks, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twotower.index.lexical import LexicalSide
from twotower.lexical.fusion import RRF_CONSTANT, Fusion
from twotower.lexical.scores import WordScores

LEAST_CANDIDATES, CANDIDATES = 100, 4
"""Candidates that each side gives: at least so many, and so many for each hit asked for.

On docstrings, tldr and msmarco-passage-mini the ten best of 100 are those of 5,000 but for .07 % of them; a graph that
is asked for more looks as hard as for a thousand.
"""
Dense = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Finds so many documents by vector: cosines and rows [K], best first, row -1 where there is none."""


def fuse(
    side: LexicalSide,
    words: WordScores,
    query_D: np.ndarray,
    dense: Dense,
    vectors_at: Callable[[np.ndarray], np.ndarray],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the fused scores and rows of the k best documents, best first, ties by row.

    The candidates are the best of each side; every one of them gets both scores. Z-scores are over all documents, as in
    the evaluation.

    Args:
        side: the lexical side.
        words: the query's words, scored.
        query_D: the query's unit vector.
        dense: finds documents by vector.
        vectors_at: the unit vectors of rows.
        k: how many.
    """
    depth = min(side.bm25.count, max(LEAST_CANDIDATES, CANDIDATES * k))
    cosines_K, dense_K = dense(depth)
    cosines_K, dense_K = cosines_K[dense_K >= 0], dense_K[dense_K >= 0]
    _, lexical_K = words.best(depth)
    fusion = side.fusion
    if fusion.kind == "rrf":
        return _ranks(fusion, dense_K, lexical_K, k)
    new_K = words.others(lexical_K, dense_K)
    rows_C = np.concatenate([dense_K, new_K])
    cosines_C = np.concatenate([cosines_K, vectors_at(new_K) @ query_D]) if len(new_K) else cosines_K
    fused_C = _standard(cosines_C, *side.spread(query_D))
    fused_C = fused_C + fusion.weight * _standard(words.scores_N[rows_C], *words.spread())
    order_K = np.lexsort((rows_C, -fused_C))[:k]
    return fused_C[order_K].astype(np.float32), rows_C[order_K]


def fused_deviation(
    side: LexicalSide, words: WordScores, query_D: np.ndarray, rows_S: np.ndarray, sample_SD: np.ndarray
) -> float:
    """Returns the standard deviation of the fused scores over all documents; their mean is 0.

    Both sides have deviation 1; how far they go together is measured on a sample.

    Args:
        side: the lexical side, fused by z-scores.
        words: the query's words, scored.
        query_D: the query's unit vector.
        rows_S: rows of the sample.
        sample_SD: its unit vectors.
    """
    dense_S = _standard(sample_SD @ query_D, *side.spread(query_D))
    lexical_S = _standard(words.scores_N[rows_S], *words.spread())
    together = min(1.0, max(-1.0, float(dense_S @ lexical_S) / max(1, len(rows_S))))
    weight = side.fusion.weight
    return float((1.0 + weight**2 + 2.0 * weight * together) ** 0.5)


def _standard(scores_C: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    return (scores_C - mean) / (deviation if deviation > 1e-12 else 1.0)


def _ranks(fusion: Fusion, dense_K: np.ndarray, lexical_K: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    rows_C, place_J = np.unique(np.concatenate([dense_K, lexical_K]), return_inverse=True)
    gains = [1 / (RRF_CONSTANT + 1 + np.arange(len(part))) for part in (dense_K, lexical_K)]
    fused_C = np.bincount(place_J, weights=np.concatenate([gains[0], fusion.weight * gains[1]]), minlength=len(rows_C))
    order_K = np.lexsort((rows_C, -fused_C))[:k]
    return fused_C[order_K].astype(np.float32), rows_C[order_K]
