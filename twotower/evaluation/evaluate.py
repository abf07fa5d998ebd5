"""From vectors to a result that can be believed: rank, measure, set beside chance and BM25, judge.

`evaluate_means` gives the bare means, cheap enough for every epoch; `evaluate_vectors` everything.

Shapes: Q queries under evaluation, D dimensions, N documents, P queries of a protocol, K ranks, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from twotower.core.errors import UserError, nearest
from twotower.data.collection import Collection
from twotower.evaluation.bm25 import bm25_rankings
from twotower.evaluation.budget import parse_size
from twotower.evaluation.chance import expected_metrics
from twotower.evaluation.metrics import query_metrics
from twotower.evaluation.names import METRICS
from twotower.evaluation.pair_scores import random_scores, relevant_scores
from twotower.evaluation.pools import Pool, build_pools
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.results import Evaluation, ProtocolResult
from twotower.evaluation.statistics import bootstrap_interval
from twotower.evaluation.verdict import judge, pool_words


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """One protocol's ranking and the figures of its queries [P]."""

    pool: Pool
    relevance: Relevance
    ranking: Ranking
    values: np.ndarray
    first_rank: np.ndarray

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
    *,
    protocols: str | Sequence[str] = "auto",
    k: int = 100,
    max_memory: str | int = "2GiB",
    chunk: int | None = None,
    device: str | torch.device | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, Ranking]]:
    """Returns each protocol's means over queries with relevant documents, and its ranking.

    Args:
        query_QD: vectors of the queries in `query_rows`, in that order.
        document_ND: vectors of all documents of the collection.
        collection: the collection.
        query_rows: distinct rows of the queries under evaluation [Q].
        split: the split whose judgements count.
        protocols: "full", "rerank", a list, or "auto" (rerank where candidates exist).
        k: depth of the ranking; MRR and MAP see no further.
        max_memory: memory for ranking above the vectors, such as "2GiB".
        chunk: documents in one block; None chooses. It never changes a figure.
        device: where to rank; None is the CPU.

    Raises:
        UserError: for a bad setting, or a split in which none of the queries has a relevant document.
    """
    measured = _measure(
        query_QD, document_ND, collection, query_rows, split, protocols, k, parse_size(max_memory), chunk, device
    )
    means = {
        item.pool.protocol: dict(zip(METRICS, item.values[item.judged].mean(axis=0).tolist(), strict=True))
        for item in measured
    }
    return means, {item.pool.protocol: item.ranking for item in measured}


def evaluate_vectors(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    collection: Collection,
    query_rows: np.ndarray,
    split: str,
    *,
    protocols: str | Sequence[str] = "auto",
    k: int = 100,
    max_memory: str | int = "2GiB",
    chunk: int | None = None,
    device: str | torch.device | None = None,
    objective: str = "full/mrr_10",
    untrained: Mapping[str, Mapping[str, float]] | None = None,
    bm25: bool = True,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluates in full: means with intervals, chance, BM25, the untrained model's figures, a verdict, per query.

    Args:
        query_QD: as in `evaluate_means`, and so are all arguments up to `device`.
        document_ND: see there.
        collection: see there.
        query_rows: see there.
        split: see there.
        protocols: see there.
        k: see there.
        max_memory: see there.
        chunk: see there.
        device: see there.
        objective: "<protocol>/<metric>"; its metric is the one each protocol's verdict is about.
        untrained: means of the untrained model by protocol and metric, from `evaluate_means`.
        bm25: compute the lexical baseline.
        confidence: coverage of the intervals.
        resamples: bootstrap draws.
        seed: seed of the draws.

    Raises:
        UserError: as `evaluate_means`, or for an unknown objective.
    """
    metric = _objective_metric(objective)
    memory = parse_size(max_memory)
    rows = np.asarray(query_rows, dtype=np.int64)
    measured = _measure(query_QD, document_ND, collection, rows, split, protocols, k, memory, chunk, device)
    pools = [item.pool for item in measured]
    lexical = bm25_rankings(collection, rows, pools, k=k, max_memory=memory) if bm25 else [None] * len(pools)
    options = {"level": confidence, "resamples": resamples, "seed": seed}
    results = {}
    for item, ranking in zip(measured, lexical, strict=True):
        name = item.pool.protocol
        earlier = (untrained or {}).get(name)
        own_PD = query_QD[item.pool.positions]
        results[name] = replace(
            _result(item, ranking, rows[item.pool.positions], metric, k, earlier, options),
            relevant_scores=relevant_scores(own_PD, document_ND, item.relevance),
            random_scores=random_scores(own_PD, document_ND, item.relevance, item.pool, seed=seed),
        )
    return Evaluation(split=split, collection=collection, protocols=results, objective=objective, confidence=confidence)


def _objective_metric(objective: str) -> str:
    protocol, _, metric = str(objective).rpartition("/")
    if metric not in METRICS or protocol not in ("", "full", "rerank"):
        known = [f"{name}/{item}" for name in ("full", "rerank") for item in METRICS]
        raise UserError(
            f"evaluation.objective={objective} is not a metric; give full/ or rerank/ and one of: "
            f"{', '.join(METRICS)}.{nearest(objective, known)}"
        )
    return metric


def _measure(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    collection: Collection,
    query_rows: np.ndarray,
    split: str,
    protocols: str | Sequence[str],
    k: int,
    max_memory: int,
    chunk: int | None,
    device: str | torch.device | None,
) -> list[_Measured]:
    if k < 1:
        raise UserError(f"evaluation.k={k}: a ranking needs at least one rank; 100 serves every metric.")
    if len(query_QD) != len(query_rows) or len(document_ND) != len(collection.document_ids):
        raise ValueError(
            f"{len(query_QD)} query vectors for {len(query_rows)} queries, "
            f"{len(document_ND)} document vectors for {len(collection.document_ids)} documents."
        )
    if len(np.unique(query_rows)) != len(query_rows):
        raise ValueError("A query occurs more than once among query_rows; it would count more than once.")
    relevance = Relevance.of(collection.split(split), query_rows)
    measured = []
    for pool in build_pools(collection, query_rows, protocols):
        part = relevance if len(pool.positions) == len(query_rows) else relevance.take(pool.positions)
        if not (part.num_relevant > 0).any():
            raise UserError(
                f"None of the {len(pool.positions)} queries of {collection.name} (split '{split}', {pool.protocol}) "
                "has a relevant document: nothing can be measured."
            )
        ranking = pool.rank(query_QD, document_ND, k=k, max_memory=max_memory, chunk=chunk, device=device)
        values, first = _values(ranking, part)
        measured.append(_Measured(pool=pool, relevance=part, ranking=ranking, values=values, first_rank=first))
    return measured


def _values(ranking: Ranking, relevance: Relevance) -> tuple[np.ndarray, np.ndarray]:
    grades = relevance.grades_at(ranking.rows)
    tensors = (torch.from_numpy(part) for part in (grades, relevance.ideal, relevance.num_relevant))
    hits = grades > 0
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0) if hits.shape[1] else np.zeros(len(hits), np.int64)
    return query_metrics(*tensors).numpy(), first


def _result(
    item: _Measured,
    lexical: Ranking | None,
    query_rows: np.ndarray,
    metric: str,
    k: int,
    untrained: Mapping[str, float] | None,
    options: dict[str, Any],
) -> ProtocolResult:
    pool, relevance, judged = item.pool, item.relevance, item.judged
    found, gain = pool.within(relevance)
    chance = expected_metrics(pool.sizes, found, gain, relevance.ideal, relevance.num_relevant, depth=k)
    bm25 = None if lexical is None else _values(lexical, relevance)[0]
    interval = bootstrap_interval(item.values[judged], **options)
    metrics: dict[str, dict[str, float | None]] = {}
    for at, name in enumerate(METRICS):
        metrics[name] = {
            "value": float(interval.mean[at]),
            "low": float(interval.low[at]),
            "high": float(interval.high[at]),
            "chance": float(chance[judged, at].mean()),
            "bm25": None if bm25 is None else float(bm25[judged, at].mean()),
            "untrained": None if untrained is None else untrained.get(name),
        }
    column = METRICS.index(metric)
    verdict = judge(
        item.values[judged, column],
        chance[judged, column],
        None if bm25 is None else bm25[judged, column],
        metric=metric,
        protocol=pool.protocol,
        pool=pool_words(pool.protocol, pool.mean_size),
        **options,
    )
    return ProtocolResult(
        protocol=pool.protocol,
        mean_size=pool.mean_size,
        metrics=metrics,
        num_queries_evaluated=len(judged),
        num_queries_with_relevance=int(judged.sum()),
        verdict=verdict,
        ranking=item.ranking,
        query_rows=query_rows,
        num_relevant=relevance.num_relevant,
        first_rank=item.first_rank,
        values=item.values,
        bm25_values=bm25,
    )
