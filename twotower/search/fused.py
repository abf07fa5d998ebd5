"""One query by words, or by words and vector together, over many documents.

The scores of all documents are held in one array that is filled from the rows of the query's few words; the best are
found by a bound that the rarest words give, so that nothing is sorted but a handful.

Shapes: N documents, K ranks, C candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from twotower.core.errors import UserError
from twotower.index.lexical import LexicalSide
from twotower.lexical.fusion import RRF_CONSTANT, Fusion

if TYPE_CHECKING:
    from twotower.lexical.bm25 import Bm25

LEAST_CANDIDATES, CANDIDATES = 100, 4
"""Candidates that each side gives: at least so many, and so many for each hit asked for.

On docstrings, tldr and msmarco-passage-mini the ten best of 100 are those of 5,000 but for .07 % of them; a graph that
is asked for more looks as hard as for a thousand.
"""
Dense = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Finds so many documents by vector: cosines and rows [K], best first, row -1 where there is none."""


class WordScores:
    """BM25 scores of one query after another, in an array that is used again; for one thread at a time.

    Args:
        bm25: the documents' BM25.
    """

    def __init__(self, bm25: Bm25) -> None:
        self.bm25 = bm25
        self.scores_N = np.zeros(bm25.count, dtype=np.float32)
        self._marked_N = np.zeros(bm25.count, dtype=bool)
        self._data, self._rows = np.asarray(bm25.data).view(np.ndarray), np.asarray(bm25.rows).view(np.ndarray)
        self._lists: list[tuple[int, int]] = []
        self._spread: tuple[float, float] | None = None

    def read(self, words: list[str], pairs: np.ndarray | None = None, weight: float = 0.0) -> None:
        """Scores all documents for a query's words.

        Args:
            words: of the query, as they are looked up.
            pairs: places of its pairs of neighbouring words, from `Bm25.pair_places`; None for words alone.
            weight: of those pairs.
        """
        vocabulary, starts = self.bm25.vocabulary, self.bm25.starts
        known = Counter(vocabulary[word] for word in words if word in vocabulary)
        self.scores_N.fill(0)
        self._lists, self._spread = [], None
        try:
            for word, count in known.items():
                begin, end = int(starts[word]), int(starts[word + 1])
                data = self._data[begin:end]
                self.scores_N[self._rows[begin:end]] += data if count == 1 else count * data
                self._lists.append((begin, end))
            self._add_pairs(pairs, weight)
        except IndexError as error:
            raise UserError(
                "The lexical index is damaged: it names a document that is not there; use --mode dense, or build it "
                "again with `twotower index`."
            ) from error
        self._lists.sort(key=lambda part: part[1] - part[0])

    def _add_pairs(self, pairs: np.ndarray | None, weight: float) -> None:
        known = self.bm25.pairs
        if pairs is None or known is None:
            return
        for place in pairs.tolist():
            begin, end = int(known.starts[place]), int(known.starts[place + 1])
            self.scores_N[known.rows[begin:end]] += np.float32(weight) * known.data[begin:end]

    def best(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores and rows of the best documents with any of the words, at most k, best first, ties by row."""
        at_least = [part for part in self._lists if part[1] - part[0] >= k]
        if at_least:
            begin, end = at_least[0]  # the k-th best of the documents of one word is a bound on the k-th best of all
            bound = float(np.partition(self.scores_N[self._rows[begin:end]], end - begin - k)[end - begin - k])
            rows_C = np.flatnonzero(self.scores_N >= bound)
        else:
            rows_C = np.unique(np.concatenate([self._rows[b:e] for b, e in self._lists] or [np.zeros(0, np.int32)]))
        scores_C = self.scores_N[rows_C]
        if len(rows_C) > 4 * k:
            bound = float(np.partition(scores_C, len(scores_C) - k)[len(scores_C) - k])
            rows_C, scores_C = rows_C[scores_C >= bound], scores_C[scores_C >= bound]
        order_K = np.lexsort((rows_C, -scores_C))[:k]
        return scores_C[order_K], rows_C[order_K].astype(np.int64)

    def others(self, rows_K: np.ndarray, known_C: np.ndarray) -> np.ndarray:
        """Returns those of some rows that are not among the known ones, in order."""
        self._marked_N[known_C] = True
        new_K: np.ndarray = rows_K[~self._marked_N[rows_K]]
        self._marked_N[known_C] = False
        return new_K

    def spread(self) -> tuple[float, float]:
        """Returns mean and deviation of the scores over all documents."""
        if self._spread is None:
            count = max(1, len(self.scores_N))
            mean = float(self.scores_N.sum(dtype=np.float64)) / count
            self._spread = mean, max(float(self.scores_N @ self.scores_N) / count - mean**2, 0.0) ** 0.5
        return self._spread


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
