"""One ranking measured by all metrics: ours and a user's own.

Shapes: P queries of a protocol, K ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics import Metric

from twotower.evaluation.metrics import RetrievalMetrics
from twotower.evaluation.names import METRICS
from twotower.evaluation.own_metrics import Lists, value_of, values_per_query
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.relevance import Relevance


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What metrics say about one ranking.

    Attributes:
        means: every metric over the queries with a relevant document.
        values: each query's values [P] of the metrics that have such; 0 for queries without a relevant document.
        first_rank: rank of the first relevant document, 0 for none [P].
    """

    means: dict[str, float]
    values: dict[str, np.ndarray]
    first_rank: np.ndarray


class MetricSet:
    """Our metrics and a user's own, fed with one ranking after another.

    Args:
        own: further metrics by name, from `own_metrics.build_metrics`.
        k: ranks asked for.
    """

    def __init__(self, own: Mapping[str, Metric], *, k: int) -> None:
        self.own, self.k = own, k
        self.ours = RetrievalMetrics(sync_on_compute=False)  # every process feeds it the whole ranking

    def measure(self, ranking: Ranking, relevance: Relevance, *, each_query: bool) -> Measures:
        """Returns what all metrics say about a ranking.

        Args:
            ranking: the ranking [P, K].
            relevance: what is relevant to its queries.
            each_query: also asks own metrics for each query's value, which may take them long.
        """
        grades = relevance.grades_at(ranking.rows)
        count = len(grades)
        grades_QK, ideal, relevant = map(torch.from_numpy, (grades, relevance.ideal, relevance.num_relevant))
        self.ours.reset()
        self.ours.update(grades_QK, ideal, relevant, torch.arange(count))
        computed = self.ours.compute()
        means = {name: computed[name] for name in METRICS}
        values = dict(zip(METRICS, self.ours.per_query()[1].numpy().T, strict=True))
        lists = Lists(ranking, relevance, k=self.k) if self.own else None
        for name, metric in self.own.items():
            assert lists is not None
            means[name] = value_of(name, metric, lists)
            own = values_per_query(name, metric, lists) if each_query else None
            if own is not None:
                values[name] = np.zeros(count)
                values[name][lists.judged] = own
        hits = grades > 0
        first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0) if hits.shape[1] else np.zeros(count, np.int64)
        return Measures(means=means, values=values, first_rank=first)
