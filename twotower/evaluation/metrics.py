"""Our metrics as one torchmetrics Metric, thin around the table in `formulas`.

A query without a relevant document counts as evaluated but enters no mean.

Shapes: Q queries, K ranks, G best grades of a query (20), M metrics.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from twotower.evaluation.formulas import query_metrics
from twotower.evaluation.names import METRICS


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
