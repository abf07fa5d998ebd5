"""BM25 scores of one query after another over many documents, and the best of them.

The scores of all documents are held in one array that is filled from the rows of the query's few words; the best are
found by a bound that the rarest words give, so that nothing is sorted but a handful.

Shapes: N documents, K ranks, C candidates.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from twotower.core.errors import UserError
from twotower.core.ragged import distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twotower.lexical.bm25 import Bm25, Entries


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

    def read(self, words: list[str], further: Sequence[Entries] = ()) -> None:
        """Scores all documents for a query's words.

        Args:
            words: of the query, as they are looked up.
            further: what is added beside them, from `Bm25.further`.
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
            for rows, data, weight in further:
                self.scores_N[rows] += np.float32(weight) * data
        except IndexError as error:
            raise UserError(
                "The lexical index is damaged: it names a document that is not there; use --mode dense, or build it "
                "again with `twotower index`."
            ) from error
        self._lists.sort(key=lambda part: part[1] - part[0])

    def best(self, k: int, place_N: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores and rows of the best documents with any of the words, at most k, best first.

        Args:
            k: how many.
            place_N: of equal scores the lower place comes first; None: the lower row.
        """
        at_least = [part for part in self._lists if part[1] - part[0] >= k]
        if at_least:
            begin, end = at_least[0]  # the k-th best of the documents of one word is a bound on the k-th best of all
            bound = float(np.partition(self.scores_N[self._rows[begin:end]], end - begin - k)[end - begin - k])
            rows_C = np.flatnonzero(self.scores_N >= bound)
        else:
            rows_C = distinct(np.concatenate([self._rows[b:e] for b, e in self._lists] or [np.zeros(0, np.int32)]))
        return first_of(self.scores_N[rows_C], rows_C, k, place_N)

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


def first_of(
    scores_C: np.ndarray, rows_C: np.ndarray, k: int, place_N: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and rows of the k best candidates, best first, equal ones by place, or by row without places."""
    if len(rows_C) > 4 * k:
        bound = float(np.partition(scores_C, len(scores_C) - k)[len(scores_C) - k])
        rows_C, scores_C = rows_C[scores_C >= bound], scores_C[scores_C >= bound]
    order_K = np.lexsort((rows_C if place_N is None else place_N[rows_C], -scores_C))[:k]
    return scores_C[order_K], rows_C[order_K].astype(np.int64)
