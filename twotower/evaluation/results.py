"""What an evaluation found, as numbers for the record, the table and the per-query file.

Shapes: P queries of a protocol, K ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twotower.data.collection import Collection
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.verdict import Verdict, pool_words

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class ProtocolResult:
    """The result of one protocol.

    Attributes:
        protocol: "full" or "rerank".
        mean_size: mean number of documents a query was ranked against.
        metrics: for every metric value, low, high, chance, bm25, untrained (None where not computed or not known).
            Means are over queries with a relevant document.
        num_queries_evaluated: all queries of the protocol.
        num_queries_with_relevance: those of them with a relevant document in the collection.
        verdict: what the objective is worth.
        ranking: the ranking itself [P, K].
        query_rows: rows of the queries in the collection [P].
        num_relevant: relevant documents of each query [P].
        first_rank: rank of the first relevant document, 0 for none within K [P].
        values: each query's value [P] of every metric that has such; 0 for queries without relevance.
        bm25_values: the same of BM25, or None.
        bm25: which BM25 that is: `variant` (plain or stemmed), `stem`, and the deciding metric of each; or None.
        hybrid_values: the same of model and BM25 together, or None.
        hybrid_ranking: that ranking [P, K], or None.
        hybrid: how the two were fused, plain data, or None.
        hybrid_verdict: what the objective of the hybrid is worth, or None.
        relevant_scores: similarity to the best relevant document, NaN for none [P], or None where not asked for.
        random_scores: similarity to one random document of the pool that isn't relevant, NaN for none [P], or None.
        own_left_out: queries whose own document, being no answer, is left out of what they are ranked against.
    """

    protocol: str
    mean_size: float
    metrics: dict[str, dict[str, float | None]]
    num_queries_evaluated: int
    num_queries_with_relevance: int
    verdict: Verdict
    ranking: Ranking = field(repr=False)
    query_rows: np.ndarray = field(repr=False)
    num_relevant: np.ndarray = field(repr=False)
    first_rank: np.ndarray = field(repr=False)
    values: dict[str, np.ndarray] = field(repr=False)
    bm25_values: dict[str, np.ndarray] | None = field(repr=False, default=None)
    bm25: dict[str, Any] | None = None
    hybrid_values: dict[str, np.ndarray] | None = field(repr=False, default=None)
    hybrid_ranking: Ranking | None = field(repr=False, default=None)
    hybrid: dict[str, Any] | None = None
    hybrid_verdict: Verdict | None = None
    relevant_scores: np.ndarray | None = field(repr=False, default=None)
    random_scores: np.ndarray | None = field(repr=False, default=None)
    own_left_out: int = 0

    @property
    def pool(self) -> str:
        """The pool in words."""
        return pool_words(self.protocol, self.mean_size)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for run.json."""
        kind = "corpus" if self.protocol == "full" else "candidates"
        further: dict[str, Any] = {} if self.bm25 is None else {"bm25": dict(self.bm25)}
        if self.hybrid is not None and self.hybrid_verdict is not None:
            further["hybrid"] = {**self.hybrid, "verdict": self.hybrid_verdict.to_dict()}
        return {
            "pool": {"kind": kind, "mean_size": self.mean_size},
            "own_documents_left_out": self.own_left_out,
            "num_queries_evaluated": self.num_queries_evaluated,
            "num_queries_with_relevance": self.num_queries_with_relevance,
            "metrics": {name: dict(figures) for name, figures in self.metrics.items()},
            "verdict": self.verdict.to_dict(),
            **further,
        }

    def table(self, collection: Collection) -> pa.Table:
        """Returns one row per query; see `Evaluation.per_query_table`."""
        columns: dict[str, Any] = {
            "protocol": pa.array([self.protocol] * len(self.query_rows), pa.string()),
            "query_id": pa.array([collection.query_ids[row] for row in self.query_rows], pa.string()),
            "query": pa.array([collection.query_texts[row] for row in self.query_rows], pa.string()),
            "pool_size": pa.array(self.ranking.pool_size, pa.int64()),
            "num_relevant": pa.array(self.num_relevant, pa.int64()),
            "first_relevant_rank": pa.array(self.first_rank, pa.int64(), mask=self.first_rank == 0),
        }
        columns |= {name: pa.array(values, pa.float64()) for name, values in self.values.items()}
        for name in ("mrr_10", "ndcg_10"):
            lacking = pa.nulls(len(self.query_rows), pa.float64())
            columns[f"bm25_{name}"] = lacking if self.bm25_values is None else pa.array(self.bm25_values[name])
            if self.hybrid_values is not None:
                columns[f"hybrid_{name}"] = pa.array(self.hybrid_values[name], pa.float64())
        for name, pairs in (("relevant_score", self.relevant_scores), ("random_score", self.random_scores)):
            lacking = pa.nulls(len(self.query_rows), pa.float32())
            columns[name] = lacking if pairs is None else pa.array(pairs, pa.float32(), mask=np.isnan(pairs))
        rows, scores = self.ranking.rows[:, :_SHOWN], self.ranking.scores[:, :_SHOWN]
        present = rows >= 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(present.sum(axis=1))]), pa.int32())
        distinct, where = np.unique(rows[present], return_inverse=True)
        names = pa.array([collection.document_ids[row] for row in distinct], pa.string())
        columns["top_ids"] = pa.ListArray.from_arrays(offsets, names.take(pa.array(where)))
        columns["top_scores"] = pa.ListArray.from_arrays(offsets, pa.array(scores[present], pa.float32()))
        return pa.table(columns)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluation: one ProtocolResult for each protocol.

    Attributes:
        split: the split of the judgements.
        collection: what was evaluated on.
        protocols: results by protocol name.
        objective: "<protocol>/<metric>", the figure a model is judged by.
        confidence: coverage of the intervals.
    """

    split: str
    collection: Collection = field(repr=False)
    protocols: Mapping[str, ProtocolResult]
    objective: str
    confidence: float = 0.95

    def __iter__(self) -> Iterator[ProtocolResult]:
        return iter(self.protocols.values())

    def means(self) -> dict[str, float]:
        """Returns every value under "<protocol>/<metric>"."""
        return {
            f"{part.protocol}/{name}": float(figures["value"] or 0.0)
            for part in self
            for name, figures in part.metrics.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the `evaluation` part of run.json: split, and one entry for each protocol."""
        return {"split": self.split, **{name: part.to_dict() for name, part in self.protocols.items()}}

    def per_query_table(self) -> pa.Table:
        """Returns one row per (protocol, query) as a pyarrow Table.

        Columns: protocol, query_id, query, pool_size, num_relevant, first_relevant_rank (null when none within the
        ranking's depth), every metric that has values by query, bm25_mrr_10, bm25_ndcg_10, hybrid_mrr_10 and
        hybrid_ndcg_10 (where there is a hybrid), relevant_score and random_score (similarity to the best relevant
        document, and to one random other of the pool), top_ids and top_scores (the ten best).
        """
        return pa.concat_tables([part.table(self.collection) for part in self])
