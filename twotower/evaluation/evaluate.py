"""From vectors to a result that can be believed: rank, measure, set beside chance and BM25, judge.

`evaluate_means` gives the bare means, cheap enough for every epoch; `evaluate_vectors` everything.

Shapes: Q queries under evaluation, D dimensions, N documents, P queries of a protocol, K ranks, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from twotower.core.errors import UserError
from twotower.data.collection import Collection
from twotower.evaluation.bm25 import Lexical, bm25_rankings, stronger
from twotower.evaluation.chance import RandomOrder
from twotower.evaluation.formulas import expected_metrics
from twotower.evaluation.hybrid import Hybrid, hybrid_rankings
from twotower.evaluation.measures import Measures, MetricSet
from twotower.evaluation.names import METRICS
from twotower.evaluation.own_document import own_documents
from twotower.evaluation.own_metrics import build_metrics, chance_of, objective_metric
from twotower.evaluation.pair_scores import random_scores, relevant_scores
from twotower.evaluation.pools import Pool, build_pools
from twotower.evaluation.ranking import Ranking, rank_full
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.results import Evaluation, ProtocolResult
from twotower.evaluation.settings import EvaluationSettings
from twotower.evaluation.statistics import bootstrap_interval
from twotower.evaluation.strongest import usual_bm25
from twotower.evaluation.verdict import Verdict, judge, pool_words

DEFAULTS = EvaluationSettings()
PSEUDO = "pseudo_"
"""How the names of splits begin whose queries were drawn from the documents."""


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """One protocol's ranking."""

    pool: Pool
    relevance: Relevance
    ranking: Ranking

    @property
    def judged(self) -> np.ndarray:
        """Which queries have a relevant document: the ones that means are over."""
        return self.relevance.num_relevant > 0


def evaluate_means(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    collection: Collection,
    query_rows: np.ndarray,
    split: str,
    settings: EvaluationSettings = DEFAULTS,
    *,
    chunk: int | None = None,
    device: str | torch.device | None = None,
    shared: bool = False,
) -> tuple[dict[str, dict[str, float]], dict[str, Ranking]]:
    """Returns each protocol's means over queries with relevant documents, and its ranking.

    Args:
        query_QD: vectors of the queries in `query_rows`, in that order.
        document_ND: vectors of all documents of the collection.
        collection: the collection.
        query_rows: distinct rows of the queries under evaluation [Q].
        split: the split whose judgements count.
        settings: protocols, depth, memory and metrics of one's own.
        chunk: documents in one block; None chooses. It never changes a figure.
        device: where to rank; None is the CPU.
        shared: every process of the group calls this with the same arguments and ranks its share of the queries; all
            return the same.

    Raises:
        UserError: for a bad metric, or a split in which none of the queries has a relevant document.
    """
    options = {"chunk": chunk, "device": device, "shared": shared}
    ranked = _rank(query_QD, document_ND, collection, query_rows, split, settings, options)
    metric_set = MetricSet(build_metrics(settings.metrics, k=settings.k), k=settings.k)
    means = {
        item.pool.protocol: metric_set.measure(item.ranking, item.relevance, each_query=False).means for item in ranked
    }
    return means, {item.pool.protocol: item.ranking for item in ranked}


def evaluate_vectors(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    collection: Collection,
    query_rows: np.ndarray,
    split: str,
    settings: EvaluationSettings = DEFAULTS,
    *,
    chunk: int | None = None,
    device: str | torch.device | None = None,
    shared: bool = False,
    untrained: Mapping[str, Mapping[str, float]] | None = None,
    stem: str | None = "english",
    hybrid: Hybrid | None = None,
    seed: int = 0,
    rank_whole: Callable[..., Ranking] = rank_full,
) -> Evaluation:
    """Evaluates in full: means with intervals, chance, BM25, the untrained model's figures, a verdict, per query.

    Args:
        query_QD: as in `evaluate_means`, and so are all arguments up to `shared`.
        document_ND: see there.
        collection: see there.
        query_rows: see there.
        split: see there.
        settings: see there; its `hybrid` is for `hybrid.make_hybrid`.
        chunk: see there.
        device: see there.
        shared: see there; the other processes may call `evaluate_means`, which ranks the same.
        untrained: means of the untrained model by protocol and metric, from `evaluate_means`.
        stem: language of BM25's stems; None leaves the plain one alone.
        hybrid: how model and BM25 are fused; None computes no hybrid.
        seed: seed of the draws.
        rank_whole: ranks the whole collection, taking what `rank_full` takes.

    Raises:
        UserError: as `evaluate_means`, or for an unknown objective.
    """
    metric_set = MetricSet(build_metrics(settings.metrics, k=settings.k), k=settings.k)
    metric, rows = objective_metric(settings.objective, metric_set.own), np.asarray(query_rows, dtype=np.int64)
    ranking = {"chunk": chunk, "device": device, "shared": shared, "rank_whole": rank_whole}
    ranked = _rank(query_QD, document_ND, collection, rows, split, settings, ranking)
    baselines = _baselines(collection, rows, ranked, settings, stem, metric_set, metric)
    fused = _fused(query_QD, document_ND, collection, rows, ranked, settings, hybrid)
    statistics = {"level": settings.confidence, "resamples": settings.resamples, "seed": seed}
    measuring = _Measuring(metric_set=metric_set, metric=metric, split=split, statistics=statistics)
    results = {}
    for item, baseline, both in zip(ranked, baselines, fused, strict=True):
        before = (untrained or {}).get(item.pool.protocol) or {}
        result = measuring.result(item, rows, baseline, before, hybrid=hybrid, fused=both)
        results[item.pool.protocol] = _with_pair_scores(result, item, query_QD, document_ND, seed)
    return Evaluation(
        split=split,
        collection=collection,
        protocols=results,
        objective=settings.objective,
        confidence=settings.confidence,
    )


def _with_pair_scores(
    result: ProtocolResult, item: _Ranked, query_QD: np.ndarray, document_ND: np.ndarray, seed: int
) -> ProtocolResult:
    """Returns the result with the scores of queries and their relevant documents, and random ones."""
    own_PD = query_QD[item.pool.positions]
    return replace(
        result,
        relevant_scores=relevant_scores(own_PD, document_ND, item.relevance),
        random_scores=random_scores(own_PD, document_ND, item.relevance, item.pool, seed=seed),
    )


def _fused(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    collection: Collection,
    rows: np.ndarray,
    ranked: list[_Ranked],
    settings: EvaluationSettings,
    hybrid: Hybrid | None,
) -> list[Ranking | None]:
    """Returns the ranking of each protocol by model and BM25 together; None where that is not asked for."""
    if hybrid is None:
        return [None] * len(ranked)
    texts, pools = [collection.query_texts[row] for row in rows], [item.pool for item in ranked]
    given = (query_QD, document_ND, hybrid.bm25, texts, pools, hybrid.fusion)
    return [*hybrid_rankings(*given, k=settings.k, max_memory=settings.memory)]


def _baselines(
    collection: Collection,
    rows: np.ndarray,
    ranked: list[_Ranked],
    settings: EvaluationSettings,
    stem: str | None,
    metric_set: MetricSet,
    metric: str,
) -> list[Lexical | None]:
    """Returns for each protocol the stronger of BM25 with stems and without; None where none is asked for."""
    stems, pools = (None, stem) if stem else (None,), [item.pool for item in ranked]
    if settings.bm25 is None:
        return [None] * len(ranked)
    own = usual_bm25(settings.bm25).to_dict()
    lexical = [bm25_rankings(collection, rows, pools, k=settings.k, stem=item, **own) for item in stems]
    judged_by = metric if metric in METRICS else "mrr_10"
    return [
        stronger([part[at] for part in lexical], stems, metric_set, item.relevance, judged_by, parameters=own)
        for at, item in enumerate(ranked)
    ]


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """How the rankings of every protocol are measured and judged."""

    metric_set: MetricSet
    metric: str
    split: str
    statistics: dict[str, Any]

    def result(
        self,
        item: _Ranked,
        rows: np.ndarray,
        baseline: Lexical | None,
        untrained: Mapping[str, float],
        *,
        hybrid: Hybrid | None,
        fused: Ranking | None,
    ) -> ProtocolResult:
        """Returns what is said of one protocol, but for the scores of pairs."""
        measured = None if fused is None else self.metric_set.measure(fused, item.relevance, each_query=True)
        figures = _figures(item, baseline, measured, self.metric_set, untrained, self.statistics)
        return ProtocolResult(
            protocol=item.pool.protocol,
            mean_size=item.pool.mean_size,
            own_left_out=item.pool.left_out,
            metrics=figures.metrics,
            num_queries_evaluated=len(item.judged),
            num_queries_with_relevance=int(item.judged.sum()),
            verdict=self.verdict(item, figures),
            ranking=item.ranking,
            query_rows=rows[item.pool.positions],
            num_relevant=item.relevance.num_relevant,
            first_rank=figures.model.first_rank,
            values=figures.model.values,
            bm25_values=None if baseline is None else baseline.measures.values,
            bm25=None if baseline is None else baseline.to_dict(),
            hybrid_values=None if measured is None else measured.values,
            hybrid_ranking=fused,
            hybrid=None if hybrid is None else hybrid.fusion.to_dict(),
            hybrid_verdict=None if measured is None else self.verdict(item, figures, of=measured),
        )

    def verdict(self, item: _Ranked, figures: _Figures, of: Measures | None = None) -> Verdict:
        """Judges the model, or the hybrid's measures `of`; says where queries are no real ones (see `data.texts`)."""
        verdict = _verdict(item, figures, self.metric, self.statistics, of=of)
        return replace(verdict, line=f"pseudo-queries, {verdict.line}") if self.split.startswith(PSEUDO) else verdict


def _rank(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    collection: Collection,
    query_rows: np.ndarray,
    split: str,
    settings: EvaluationSettings,
    options: dict[str, Any],
) -> list[_Ranked]:
    if len(query_QD) != len(query_rows) or len(document_ND) != len(collection.document_ids):
        raise ValueError(
            f"{len(query_QD)} query vectors for {len(query_rows)} queries, "
            f"{len(document_ND)} document vectors for {len(collection.document_ids)} documents."
        )
    if len(np.unique(query_rows)) != len(query_rows):
        raise ValueError("A query occurs more than once among query_rows; it would count more than once.")
    relevance = Relevance.of(collection.split(split), query_rows)
    ranked = []
    own = own_documents(collection, np.asarray(query_rows), split, settings.exclude_self)
    for pool in build_pools(collection, query_rows, settings.protocols, own=own):
        part = relevance if len(pool.positions) == len(query_rows) else relevance.take(pool.positions)
        if not (part.num_relevant > 0).any():
            raise UserError(
                f"None of the {len(pool.positions)} queries of {collection.name} (split '{split}', {pool.protocol}) "
                "has a relevant document: nothing can be measured."
            )
        ranking = pool.rank(query_QD, document_ND, k=settings.k, max_memory=settings.memory, **options)
        ranked.append(_Ranked(pool=pool, relevance=part, ranking=ranking))
    return ranked


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """What the table of a protocol shows, and the values of each query [P] that it is made of."""

    model: Measures
    bm25: Lexical | None
    chance: dict[str, np.ndarray]
    metrics: dict[str, dict[str, float | None]]


def _figures(
    item: _Ranked,
    lexical: Lexical | None,
    hybrid: Measures | None,
    metric_set: MetricSet,
    untrained: Mapping[str, float],
    statistics: dict[str, Any],
) -> _Figures:
    relevance, judged = item.relevance, item.judged
    model = metric_set.measure(item.ranking, relevance, each_query=True)
    chance = _chance(item, metric_set)
    ends = _ends(model, judged, statistics)
    hybrid_ends = {} if hybrid is None else _ends(hybrid, judged, statistics)
    metrics = {}
    for name, value in model.means.items():
        low, high = ends.get(name, (None, None))
        metrics[name] = {
            "value": value,
            "low": low,
            "high": high,
            "chance": float(chance[name][judged].mean()) if name in chance else None,
            "bm25": None if lexical is None else lexical.measures.means[name],
            "untrained": untrained.get(name),
        }
        if hybrid is not None:
            low, high = hybrid_ends.get(name, (None, None))
            metrics[name] |= {"hybrid": hybrid.means[name], "hybrid_low": low, "hybrid_high": high}
    return _Figures(model=model, bm25=lexical, chance=chance, metrics=metrics)


def _ends(
    measures: Measures, judged: np.ndarray, statistics: dict[str, Any]
) -> dict[str, tuple[float | None, float | None]]:
    """Returns the interval of each metric that has values by query."""
    names = list(measures.values)
    interval = bootstrap_interval(np.stack([measures.values[name][judged] for name in names], axis=1), **statistics)
    return {name: (float(interval.low[at]), float(interval.high[at])) for at, name in enumerate(names)}


def _chance(item: _Ranked, metric_set: MetricSet) -> dict[str, np.ndarray]:
    """Returns the expectation under a random order of each metric that has one, by query [P]."""
    relevance = item.relevance
    relevant, gain = item.pool.within(relevance)
    order = RandomOrder(item.pool.sizes, relevant, gain, relevance.ideal, relevance.num_relevant, depth=metric_set.k)
    chance = dict(zip(METRICS, expected_metrics(order).T, strict=True))
    for name, metric in metric_set.own.items():
        values = chance_of(name, metric, order)
        if values is not None:
            chance[name] = values
    return chance


def _verdict(
    item: _Ranked, figures: _Figures, metric: str, statistics: dict[str, Any], of: Measures | None = None
) -> Verdict:
    """Judges the objective's metric, or MRR@10 where that has no values by query that could be compared.

    It is the model's verdict, or the hybrid's where `of` gives its measures.
    """
    judged, values = item.judged, (of or figures.model).values
    name = metric if metric in values else "mrr_10"
    result = judge(
        values[name][judged],
        figures.chance[name][judged] if name in figures.chance else None,
        None if figures.bm25 is None else figures.bm25.measures.values[name][judged],
        metric=name,
        protocol=item.pool.protocol,
        pool=pool_words(item.pool.protocol, item.pool.mean_size),
        rival=figures.bm25.name if figures.bm25 is not None else "BM25",
        what="hybrid" if of is not None else "",
        **statistics,
    )
    if name == metric:
        return result
    return replace(result, line=f"{result.line}; {metric} has no values by query to judge")
