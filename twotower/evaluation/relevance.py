"""What is relevant to the queries under evaluation, looked up for whole rankings by array operations.

Shapes: Q queries under evaluation, K ranks, J judgements of them with grade above 0, G best grades of a query,
C candidates. "Position" is a query's place among those under evaluation, "row" its place in the collection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twotower.core.ragged import runs_of
from twotower.data.collection import Judgements
from twotower.evaluation.names import IDEAL_DEPTH

_BLOCK = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """Relevant documents of Q queries.

    Attributes:
        position: int64 [J], the query's position, ascending.
        document: int64 [J], document row.
        grade: float32 [J], above 0.
        num_relevant: int64 [Q].
        gain: float64 [Q], sum of the grades.
        ideal: float32 [Q, G], the highest grades in descending order, padded with 0.
    """

    position: np.ndarray
    document: np.ndarray
    grade: np.ndarray
    num_relevant: np.ndarray
    gain: np.ndarray
    ideal: np.ndarray

    @staticmethod
    def of(judgements: Judgements, query_rows: np.ndarray) -> Relevance:
        """Picks the positive judgements of the given queries.

        Args:
            judgements: those of a split, sorted by query.
            query_rows: rows of the queries under evaluation [Q].
        """
        offsets, index = runs_of(judgements.query, query_rows)
        position = np.repeat(np.arange(len(query_rows)), np.diff(offsets))
        positive = judgements.grade[index] > 0
        return Relevance.build(
            position[positive], judgements.document[index][positive], judgements.grade[index][positive], len(query_rows)
        )

    @staticmethod
    def build(position: np.ndarray, document: np.ndarray, grade: np.ndarray, count: int) -> Relevance:
        """Builds it from triples with grade above 0, sorted by position; `count` is Q."""
        num_relevant = np.bincount(position, minlength=count)
        order = np.lexsort((-grade, position))
        place = np.arange(len(order)) - np.repeat(np.cumsum(num_relevant) - num_relevant, num_relevant)
        kept = place < IDEAL_DEPTH
        ideal = np.zeros((count, min(IDEAL_DEPTH, max(1, int(num_relevant.max(initial=0))))), dtype=np.float32)
        ideal[position[order][kept], place[kept]] = grade[order][kept]
        return Relevance(
            position=position.astype(np.int64),
            document=document.astype(np.int64),
            grade=grade.astype(np.float32),
            num_relevant=num_relevant,
            gain=np.bincount(position, weights=grade, minlength=count),
            ideal=ideal,
        )

    def take(self, positions: np.ndarray) -> Relevance:
        """Keeps the given positions, renumbered from 0 in that order."""
        offsets, index = runs_of(self.position, positions)
        renumbered = np.repeat(np.arange(len(positions)), np.diff(offsets))
        return Relevance.build(renumbered, self.document[index], self.grade[index], len(positions))

    def grades_at(self, rows_QK: np.ndarray) -> np.ndarray:
        """Returns the grade of the document at each rank, float32 [Q, K]; 0 where not relevant or no document.

        Each relevant document looks for itself in its query's ranking: J x K comparisons, far fewer than looking up
        every ranked document.
        """
        grades = np.zeros(rows_QK.shape, dtype=np.float32)
        step = max(1, _BLOCK // max(rows_QK.shape[1], 1))
        for start in range(0, len(self.position), step):
            part = slice(start, start + step)
            position = self.position[part]
            judged, rank = np.nonzero(rows_QK[position] == self.document[part, None])
            grades[position[judged], rank] = self.grade[part][judged]
        return grades

    def within(self, offsets: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (number of relevant candidates, sum of their grades) of each query, both [Q].

        Args:
            offsets: int64 [Q + 1], where each query's candidates start.
            candidates: int64 [C], document rows.
        """
        count = len(self.num_relevant)
        owner = np.repeat(np.arange(count), np.diff(offsets))
        pool = np.sort((owner << 32) | candidates)
        wanted = (self.position << 32) | self.document
        at = np.searchsorted(pool, wanted)
        inside = np.zeros(len(wanted), dtype=bool)
        inside[at < len(pool)] = pool[at[at < len(pool)]] == wanted[at < len(pool)]
        position = self.position[inside]
        return np.bincount(position, minlength=count), np.bincount(position, self.grade[inside], minlength=count)
