"""Retrieval metrics from grades at ranks: vectorised functions under a thin torchmetrics Metric.

Definitions (those of trec_eval; R is the number of relevant documents of the query in the whole collection, retrieved
or not, and relevant means grade > 0):

- `recall_k`: relevant documents among the first k, divided by R.
- `mrr_10`, `mrr`: 1 / rank of the first relevant document; 0 beyond rank 10, or beyond the ranking's depth (100).
- `map`: precision at each relevant document found within the ranking's depth (100), summed and divided by R.
- `ndcg_k`: sum of grade / log2(rank + 1) over the first k, divided by that of the best possible order of all relevant
  documents (linear gain).

Metrics are fed with the grades found at each rank, never with scores, so shifting or scaling scores changes nothing.
A query without a relevant document counts as evaluated but enters no mean.

Shapes: Q queries, K ranks, G best grades of a query (20), M metrics.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from twotower.evaluation.names import IDEAL_DEPTH, METRICS, NDCG_CUTS, RECALL_CUTS


def query_metrics(grades_QK: Tensor, ideal_QG: Tensor, relevant_Q: Tensor) -> Tensor:
    """Returns every metric of every query, float64 [Q, M] in the order of `METRICS`.

    Args:
        grades_QK: grade of the document at each rank, best rank first; 0 where not relevant, unjudged or no document.
        ideal_QG: each query's highest grades in descending order, padded with 0; G is at least 20, or as many as the
            query with the most relevant documents has.
        relevant_Q: number of relevant documents of each query in the collection. Rows with 0 come out as 0.
    """
    count, depth = grades_QK.shape
    values = grades_QK.new_zeros((count, len(METRICS)), dtype=torch.float64)
    if count == 0 or depth == 0:
        return values
    hits_QK = grades_QK > 0
    found_QK = hits_QK.cumsum(dim=1, dtype=torch.int32)
    ranks_K = torch.arange(1, depth + 1, device=grades_QK.device)
    total_Q = relevant_Q.clamp(min=1).double()
    any_Q = found_QK[:, -1] > 0
    first_Q = torch.where(any_Q, hits_QK.to(torch.uint8).argmax(dim=1) + 1, depth + 1)
    values[:, 0] = torch.where(any_Q, 1.0 / first_Q.double(), 0.0)
    values[:, 1] = torch.where(first_Q <= 10, values[:, 0], 0.0)
    # Only hits carry precision, and they are few: far less work than a dense [Q, K] product
    row, column = torch.nonzero(hits_QK, as_tuple=True)
    precision = found_QK[row, column].double() / ranks_K[column]
    values[:, 2] = values.new_zeros(count).index_add_(0, row, precision) / total_Q
    cuts = torch.tensor([min(k, depth) - 1 for k in RECALL_CUTS], device=grades_QK.device)
    values[:, 3 : 3 + len(cuts)] = found_QK[:, cuts].double() / total_Q[:, None]
    values[:, 3 + len(cuts) :] = _ndcg(grades_QK, ideal_QG)
    return values


def _ndcg(grades_QK: Tensor, ideal_QG: Tensor) -> Tensor:
    best = _gains(ideal_QG)
    return torch.where(best > 0, _gains(grades_QK) / best.clamp(min=1e-300), 0.0)


def _gains(grades: Tensor) -> Tensor:
    """Discounted cumulative gain at each of NDCG_CUTS, float64 [Q, 4]; negative grades gain nothing."""
    head = grades[:, :IDEAL_DEPTH].double().clamp_(min=0)
    ranks = torch.arange(1, head.shape[1] + 1, dtype=torch.float64, device=grades.device)
    discount = 1.0 / torch.log2(ranks + 1)
    within = ranks[:, None] <= torch.tensor(NDCG_CUTS, device=grades.device)
    return head @ (discount[:, None] * within)


class RetrievalMetrics(Metric):
    """Means over queries, synchronised over processes, each query counted once.

    A `DistributedSampler` pads the last batch by repeating rows; rows with a query index seen before are dropped, so
    the result equals that of one process.

    Example:
        >>> metric = RetrievalMetrics()
        >>> metric.update(torch.tensor([[0, 1.0]]), torch.tensor([[1.0]]), torch.tensor([1]), torch.tensor([7]))
        >>> metric.compute()["mrr_10"]
        0.5
    """

    full_state_update = False
    higher_is_better = True
    values: list[Tensor]
    queries: list[Tensor]
    relevant: list[Tensor]

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("queries", default=[], dist_reduce_fx="cat")
        self.add_state("relevant", default=[], dist_reduce_fx="cat")

    def update(self, grades_QK: Tensor, ideal_QG: Tensor, relevant_Q: Tensor, query_Q: Tensor) -> None:
        """Adds queries; the first three arguments as in `query_metrics`.

        Args:
            grades_QK: grades at ranks [Q, K].
            ideal_QG: highest grades of each query [Q, G].
            relevant_Q: number of relevant documents [Q].
            query_Q: index that identifies each query across batches and processes [Q].
        """
        self.values.append(query_metrics(grades_QK, ideal_QG, relevant_Q))
        self.queries.append(query_Q.long())
        self.relevant.append(relevant_Q.long())

    def compute(self) -> dict[str, float]:
        """Returns the mean of each metric over queries with relevant documents, and the two counts.

        Keys: the names in `METRICS`, `num_queries_evaluated`, `num_queries_with_relevance`. Without any query that has
        a relevant document every mean is 0.
        """
        _, values, relevant = self._distinct()
        judged = values[relevant > 0]
        means = judged.mean(dim=0) if len(judged) else values.new_zeros(len(METRICS))
        result = dict(zip(METRICS, means.tolist(), strict=True))
        return {**result, "num_queries_evaluated": len(values), "num_queries_with_relevance": len(judged)}

    def per_query(self) -> tuple[Tensor, Tensor]:
        """Returns (query indices [Q] ascending, values [Q, M]) over all processes; call it on every process."""
        with self.sync_context(should_sync=self._to_sync, should_unsync=True):
            queries, values, _ = self._distinct()
        return queries, values

    def _distinct(self) -> tuple[Tensor, Tensor, Tensor]:
        """One row per query index, the indices ascending, so that sums don't depend on who saw which query."""
        queries, values, relevant = (_cat(state) for state in (self.queries, self.values, self.relevant))
        if not len(queries):
            return queries, values.view(0, len(METRICS)), relevant
        order = torch.argsort(queries, stable=True)
        ordered = queries[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        kept = order[first]
        return queries[kept], values[kept], relevant[kept]


def _cat(state: Tensor | list[Tensor]) -> Tensor:
    """A list state is a list until processes have been synchronised, then one tensor."""
    if isinstance(state, Tensor):
        return state
    return torch.cat(state) if state else torch.zeros(0)
