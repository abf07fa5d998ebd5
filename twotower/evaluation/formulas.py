"""The table of our metrics: for each name its formula over ranked grades and its expectation under a random order.

Definitions (those of trec_eval; R is the number of relevant documents of the query in the whole collection, retrieved
or not, and relevant means grade > 0):

- `recall_k`: relevant documents among the first k, divided by R.
- `mrr_10`, `mrr`: 1 / rank of the first relevant document; 0 beyond rank 10, or beyond the ranking's depth (100).
- `map`: precision at each relevant document found within the ranking's depth (100), summed and divided by R.
- `ndcg_k`: sum of grade / log2(rank + 1) over the first k, divided by that of the best possible order of all relevant
  documents (linear gain).

Formulas read the grades found at each rank, never scores, so shifting or scaling scores changes nothing.

Shapes: Q queries, K ranks, G best grades of a query (20), M metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from twotower.evaluation.chance import RandomOrder, average_precision, discounted_gain, first_hit, recall
from twotower.evaluation.names import IDEAL_DEPTH, METRICS, NDCG_CUTS, RECALL_CUTS


class RankedGrades:
    """Grades at ranks, and what several formulas share, worked out once.

    Args:
        grades_QK: grade of the document at each rank, best rank first; 0 where not relevant, unjudged or no document.
        ideal_QG: each query's highest grades in descending order, padded with 0; G is at least 20, or as many as the
            query with the most relevant documents has.
        relevant_Q: number of relevant documents of each query in the collection.
    """

    def __init__(self, grades_QK: Tensor, ideal_QG: Tensor, relevant_Q: Tensor) -> None:
        self.grades_QK, self.ideal_QG = grades_QK, ideal_QG
        self.depth = grades_QK.shape[1]
        self.hits_QK = grades_QK > 0
        self.total_Q = relevant_Q.clamp(min=1).double()

    @cached_property
    def hits_to_rank(self) -> Tensor:
        """Relevant documents up to each rank [Q, K]."""
        return self.hits_QK.cumsum(dim=1, dtype=torch.int32)

    @cached_property
    def first(self) -> Tensor:
        """Rank of the first relevant document; one more than the ranking is deep where there is none [Q]."""
        first_Q = self.hits_QK.to(torch.uint8).argmax(dim=1) + 1
        return torch.where(self.hits_to_rank[:, -1] > 0, first_Q, self.depth + 1)

    @cached_property
    def gains(self) -> Tensor:
        """Discounted cumulative gain of the ranking at ranks 1 to 20 [Q, up to 20]."""
        return _gains(self.grades_QK)

    @cached_property
    def best_gains(self) -> Tensor:
        """The same of the best possible order."""
        return _gains(self.ideal_QG)


def _gains(grades: Tensor) -> Tensor:
    """Discounted cumulative gain, float64 [Q, up to 20]; negative grades gain nothing."""
    head = grades[:, :IDEAL_DEPTH].double().clamp_(min=0)
    ranks = torch.arange(1, head.shape[1] + 1, dtype=torch.float64, device=grades.device)
    return head.div_(torch.log2(ranks + 1)).cumsum_(dim=1)


def _reciprocal_rank(ranked: RankedGrades, k: int | None = None) -> Tensor:
    within = min(k or ranked.depth, ranked.depth)
    return torch.where(ranked.first <= within, 1.0 / ranked.first.double(), 0.0)


def _average_precision(ranked: RankedGrades) -> Tensor:
    # Only hits carry precision, and they are few: far less work than a dense [Q, K] product
    row, column = torch.nonzero(ranked.hits_QK, as_tuple=True)
    precision = ranked.hits_to_rank[row, column].double() / (column + 1)
    return torch.zeros_like(ranked.total_Q).index_add_(0, row, precision) / ranked.total_Q


def _recall(ranked: RankedGrades, k: int) -> Tensor:
    return ranked.hits_to_rank[:, min(k, ranked.depth) - 1].double() / ranked.total_Q


def _ndcg(ranked: RankedGrades, k: int) -> Tensor:
    best_Q = ranked.best_gains[:, min(k, ranked.best_gains.shape[1]) - 1]
    gain_Q = ranked.gains[:, min(k, ranked.gains.shape[1]) - 1]
    return torch.where(best_Q > 0, gain_Q / best_Q.clamp(min=1e-300), 0.0)


@dataclass(frozen=True)
class Formula:
    """How a metric is computed: `value` of a ranking [Q], and `chance`, its expectation under a random order [Q]."""

    value: Callable[[RankedGrades], Tensor]
    chance: Callable[[RandomOrder], np.ndarray]


FORMULAS: dict[str, Formula] = {
    "mrr": Formula(_reciprocal_rank, first_hit),
    "mrr_10": Formula(partial(_reciprocal_rank, k=10), partial(first_hit, k=10)),
    "map": Formula(_average_precision, average_precision),
    **{f"recall_{k}": Formula(partial(_recall, k=k), partial(recall, k=k)) for k in RECALL_CUTS},
    **{f"ndcg_{k}": Formula(partial(_ndcg, k=k), partial(discounted_gain, k=k)) for k in NDCG_CUTS},
}
"""Every metric by name, in the order of `METRICS`; a further one is a line here and a label in `names`."""

if tuple(FORMULAS) != METRICS:
    raise AssertionError(f"The table of formulas {tuple(FORMULAS)} and the names {METRICS} differ.")


def query_metrics(grades_QK: Tensor, ideal_QG: Tensor, relevant_Q: Tensor) -> Tensor:
    """Returns every metric of every query, float64 [Q, M] in the order of `METRICS`.

    Args:
        grades_QK: as in `RankedGrades`.
        ideal_QG: as there.
        relevant_Q: as there. Rows with 0 come out as 0.
    """
    count, depth = grades_QK.shape
    if count == 0 or depth == 0:
        return grades_QK.new_zeros((count, len(FORMULAS)), dtype=torch.float64)
    ranked = RankedGrades(grades_QK, ideal_QG, relevant_Q)
    return torch.stack([formula.value(ranked) for formula in FORMULAS.values()], dim=1)


def expected_metrics(order: RandomOrder) -> np.ndarray:
    """Returns the expectation of every metric under a random order, float64 [Q, M] in the order of `METRICS`."""
    return np.stack([formula.chance(order) for formula in FORMULAS.values()], axis=1)
