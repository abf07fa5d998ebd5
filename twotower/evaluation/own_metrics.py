"""A user's own `torchmetrics.Metric` in `conf/evaluation`: what it is fed with and what is asked of it.

    evaluation:
      metrics:
        precision_10:
          _target_: torchmetrics.retrieval.RetrievalPrecision
          top_k: 10

`update` is called once for a whole ranking, with those of these arguments that its signature names (all without
queries that have no relevant document):

- as in `RetrievalMetrics`: `grades_QK`, `ideal_QG`, `relevant_Q`, `query_Q`, and `rows_QK` (document rows, -1 for no
  document), `pool_Q` (documents each query was ranked against);
- as in torchmetrics' retrieval metrics, one entry for each rank of each query: `preds` (1 / rank), `target`
  (relevant or not; the grade for metrics with `allow_non_binary_target`) and `indexes` (the query). Behind the ranks
  stand the relevant documents that were not found, with a `preds` of 0, so that a recall divides by all of them.

Ranks are fed and never scores: torchmetrics takes a score of 0 or less for "not retrieved" and sees ties where there
are none. `compute` returns one number. Three things more are used where a metric has them: `per_query()` returns
(query indices, values [Q]) and gives it an interval and a verdict (torchmetrics' own retrieval metrics have that
already), `chance(order)` returns its expectation under a random order, a number or one for each query, from
`twotower.evaluation.chance.RandomOrder`; and `higher_is_better`: an objective must be.

Shapes: Q queries with a relevant document, K ranks, G best grades.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.retrieval import (
    RetrievalHitRate,
    RetrievalMRR,
    RetrievalNormalizedDCG,
    RetrievalPrecision,
    RetrievalRecall,
)
from torchmetrics.retrieval.base import RetrievalMetric

from twotower.config.instantiate import instantiate
from twotower.core.errors import UserError, in_one_line, nearest
from twotower.evaluation import chance as expected
from twotower.evaluation.chance import RandomOrder
from twotower.evaluation.names import METRICS, PROTOCOLS, TABLE_COLUMNS
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.relevance import Relevance

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def build_metrics(settings: Mapping[str, Any] | None, *, k: int) -> dict[str, Metric]:
    """Returns the metrics of `evaluation.metrics`, each built from its `_target_`.

    Args:
        settings: name -> settings with `_target_`, or name -> metric.
        k: depth of the ranking; a metric without `top_k` looks this far.

    Raises:
        UserError: for a name that can't be used, what is no torchmetrics Metric, or one that looks beyond k.
    """
    metrics = {}
    for name, item in (settings or {}).items():
        key = f"evaluation.metrics.{name}"
        if not _NAME.fullmatch(name) or name in METRICS or name in TABLE_COLUMNS or name.startswith("bm25_"):
            raise UserError(
                f"{key}: the name must be of small letters, digits and _, and none of ours "
                f"({', '.join(METRICS)}; {', '.join(TABLE_COLUMNS)})."
            )
        if not isinstance(item, (Mapping, Metric)):
            raise UserError(f"{key}={item} must be a mapping with _target_, the class of a torchmetrics.Metric.")
        metric = item if isinstance(item, Metric) else instantiate(item, key)
        if not isinstance(metric, Metric):
            raise UserError(f"{key}: {type(metric).__name__} is not a torchmetrics.Metric.")
        if isinstance(metric, RetrievalMetric) and hasattr(metric, "top_k"):
            metric.top_k = k if metric.top_k is None else metric.top_k
            if metric.top_k > k:
                raise UserError(f"{key}.top_k={metric.top_k} looks further than the ranking (evaluation.k={k}).")
        metric.distributed_available_fn = _alone  # every process feeds it the whole ranking: nothing to gather
        metrics[name] = metric
    return metrics


def _alone() -> bool:
    return False


def objective_metric(objective: str, own: Mapping[str, Metric]) -> str:
    """Returns the metric of an objective, "<protocol>/<metric>" or a metric alone.

    Args:
        objective: `evaluation.objective`.
        own: a user's own metrics by name.

    Raises:
        UserError: for one that is not measured, or of which less is better: objectives are maximised.
    """
    names = (*METRICS, *own)
    protocol, _, metric = str(objective).rpartition("/")
    if metric not in names or protocol not in ("", *PROTOCOLS):
        known = [f"{name}/{item}" for name in PROTOCOLS for item in names]
        raise UserError(f"evaluation.objective={objective} is none of {', '.join(known)}.{nearest(objective, known)}")
    if metric in own and own[metric].higher_is_better is False:
        raise UserError(
            f"evaluation.objective={objective}: less is better in {type(own[metric]).__name__} (higher_is_better is "
            "false), and an objective is maximised; give one of which more is better."
        )
    return metric


class Lists:
    """One protocol's ranking as arguments for `update`.

    Args:
        ranking: the ranking [P, K].
        relevance: what is relevant to its queries.
        k: ranks asked for; shorter lists are filled up with nothing.
    """

    def __init__(self, ranking: Ranking, relevance: Relevance, *, k: int) -> None:
        self.judged = np.flatnonzero(relevance.num_relevant > 0)
        part = relevance.take(self.judged)
        lacking = ((0, 0), (0, max(0, k - ranking.rows.shape[1])))
        rows_QK = np.pad(ranking.rows[self.judged], lacking, constant_values=-1)
        grades_QK = part.grades_at(rows_QK)
        self.arguments = {
            "rows_QK": torch.from_numpy(rows_QK),
            "grades_QK": torch.from_numpy(grades_QK),
            "ideal_QG": torch.from_numpy(part.ideal),
            "relevant_Q": torch.from_numpy(part.num_relevant),
            "query_Q": torch.arange(len(self.judged)),
            "pool_Q": torch.from_numpy(np.asarray(ranking.pool_size)[self.judged]),
        }
        self._missing = _not_found(rows_QK, part)

    def of(self, metric: Metric) -> dict[str, Tensor]:
        """Returns the arguments that a metric's `update` names (all of them where it takes any)."""
        parameters = inspect.signature(metric.update).parameters
        takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
        chosen = dict(self.arguments) if takes_any or not parameters.keys().isdisjoint(self.arguments) else {}
        if takes_any or not parameters.keys().isdisjoint(("preds", "target", "indexes")):
            chosen |= self._flat(graded=bool(getattr(metric, "allow_non_binary_target", False)))
        return chosen if takes_any else {name: value for name, value in chosen.items() if name in parameters}

    def _flat(self, *, graded: bool) -> dict[str, Tensor]:
        grades_QK = self.arguments["grades_QK"]
        count, depth = grades_QK.shape
        position, grade = self._missing
        grades = torch.cat([grades_QK.reshape(-1), torch.from_numpy(grade)])
        ranks_K = 1.0 / torch.arange(1, depth + 1)
        return {
            "preds": torch.cat([ranks_K.repeat(count), torch.zeros(len(position))]),
            "target": grades if graded else (grades > 0).long(),
            "indexes": torch.cat([torch.arange(count).repeat_interleave(depth), torch.from_numpy(position)]),
        }


def _not_found(rows_QK: np.ndarray, relevance: Relevance) -> tuple[np.ndarray, np.ndarray]:
    """Returns (position, grade) of the relevant documents outside of their query's ranking."""
    ranked = np.sort(((np.arange(len(rows_QK))[:, None] << 32) | rows_QK)[rows_QK >= 0])
    lacking = ~np.isin((relevance.position << 32) | relevance.document, ranked)
    return relevance.position[lacking], relevance.grade[lacking]


def value_of(name: str, metric: Metric, lists: Lists) -> float:
    """Feeds a metric with a ranking and returns what it computes.

    Raises:
        UserError: when it fails, or computes something else than one finite number.
    """
    try:
        metric.reset()
        feed: Callable[..., None] = metric.update
        feed(**lists.of(metric))
        number = float(metric.compute())
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"evaluation.metrics.{name} can't be computed: {in_one_line(error)}") from error
    if not np.isfinite(number):
        raise UserError(f"evaluation.metrics.{name} computed {number}; a metric is a finite number.")
    return number


def values_per_query(name: str, metric: Metric, lists: Lists) -> np.ndarray | None:
    """Returns the values of a metric that `value_of` has just fed, query by query [Q], or None where it has none."""
    per_query: Any = getattr(metric, "per_query", None)
    if callable(per_query):
        values = np.asarray(per_query()[1], dtype=np.float64)
        if values.shape != (len(lists.judged),):
            raise UserError(
                f"evaluation.metrics.{name}: per_query() gives values of shape {values.shape} for "
                f"{len(lists.judged)} queries."
            )
        return values
    if not isinstance(metric, RetrievalMetric) or metric.aggregation != "mean":
        return None
    given = lists.of(metric)
    order = torch.argsort(given["indexes"], stable=True)
    sizes = torch.bincount(given["indexes"], minlength=len(lists.judged)).tolist()
    pairs = zip(given["preds"][order].split(sizes), given["target"][order].split(sizes), strict=True)
    return np.array([float(metric._metric(preds, target)) for preds, target in pairs])


def _known_chance(metric: Metric) -> Callable[[RandomOrder], np.ndarray] | None:
    """The expectations of torchmetrics' metrics that we have a formula for, by exact class."""
    k = getattr(metric, "top_k", None)
    known: dict[type, Callable[[RandomOrder], np.ndarray]] = {
        RetrievalMRR: partial(expected.first_hit, k=k),
        RetrievalRecall: partial(expected.recall, k=k or 1),
        RetrievalPrecision: partial(expected.precision, k=k or 1),
        RetrievalHitRate: partial(expected.hit_rate, k=k or 1),
        RetrievalNormalizedDCG: partial(expected.discounted_gain, k=k or 1),
    }
    if getattr(metric, "adaptive_k", False) or getattr(metric, "aggregation", "mean") != "mean":
        return None
    return known.get(type(metric))


def chance_of(name: str, metric: Metric, order: RandomOrder) -> np.ndarray | None:
    """Returns a metric's expectation under a random order for each query [Q], or None where it doesn't know one.

    Raises:
        UserError: when its own `chance` gives something else.
    """
    knows = getattr(metric, "chance", None) or _known_chance(metric)
    if not callable(knows):
        return None
    count = len(order.pool_Q)
    values = np.asarray(knows(order), dtype=np.float64)
    if values.shape not in ((), (count,)) or not np.isfinite(values).all():
        raise UserError(f"evaluation.metrics.{name}: chance() must give one finite number, or one for each query.")
    return np.broadcast_to(values, (count,))
