"""The lexical yardstick: BM25 over title and text, plain and over stems; the stronger of the two is the one to beat.

Rankings are cached by collection, queries, protocol and stemmer, so a sweep computes them once.

Shapes: Q queries, N documents, K ranks, P queries of a pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from twotower.core.cache import cached_folder, content_key
from twotower.core.progress import bar
from twotower.core.reading import read_array
from twotower.data.collection import Collection
from twotower.evaluation.measures import Measures, MetricSet
from twotower.evaluation.own_document import without_own
from twotower.evaluation.pools import Pool
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.relevance import Relevance
from twotower.lexical.bm25 import K1, B, Bm25, variant
from twotower.lexical.scores import WordScores

_VERSION = 4


@dataclass(frozen=True, kw_only=True)
class Lexical:
    """The stronger BM25 of one protocol.

    Attributes:
        stem: language of its stems, None for plain words.
        measures: what the metrics say about it.
        others: the deciding metric of each variant that was tried, by "plain" and "stemmed".
        parameters: its k1 and b.
    """

    stem: str | None
    measures: Measures
    others: dict[str, float]
    parameters: dict[str, float]

    @property
    def name(self) -> str:
        """How it is called: "BM25", or "BM25 stemmed"."""
        return "BM25 stemmed" if self.stem else "BM25"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for run.json."""
        return {"variant": variant(self.stem), "stem": self.stem, **self.others, **self.parameters}


def stronger(
    rankings: Sequence[Ranking],
    stems: Sequence[str | None],
    metric_set: MetricSet,
    relevance: Relevance,
    metric: str,
    *,
    parameters: Mapping[str, float],
) -> Lexical:
    """Measures rankings of one protocol and returns the best, the first of equals.

    Args:
        rankings: one for each of `stems`.
        stems: languages of stems, None for plain words.
        metric_set: measures a ranking.
        relevance: what is relevant to the queries.
        metric: the metric that decides.
        parameters: k1 and b of all of them, for the record.
    """
    measured = [metric_set.measure(ranking, relevance, each_query=True) for ranking in rankings]
    others = {variant(stem): item.means[metric] for stem, item in zip(stems, measured, strict=True)}
    best = max(range(len(measured)), key=lambda at: (measured[at].means[metric], -at))
    return Lexical(stem=stems[best], measures=measured[best], others=others, parameters=dict(parameters))


def bm25_rankings(
    collection: Collection,
    query_rows: np.ndarray,
    pools: list[Pool],
    *,
    k: int,
    stem: str | None = None,
    k1: float = K1,
    b: float = B,
) -> list[Ranking]:
    """Returns BM25's ranking of each pool, from the cache where it has been computed before.

    In the full pool a document without any of the query's words is not retrieved (its rank stays empty); candidates
    are all ranked. Ties are broken by document id.

    Args:
        collection: the collection.
        query_rows: rows of the queries under evaluation [Q].
        pools: what to rank, from `pools.build_pools` for the same queries.
        k: ranks to keep.
        stem: language whose stems stand for words; None for plain words.
        k1: BM25's.
        b: BM25's.
    """
    built: list[Bm25] = []  # opened at most once, and not at all when every ranking is cached

    def ranking(pool: Pool) -> Ranking:
        def build(folder: Path) -> None:
            if not built:
                built.append(bm25_of(collection, stem=stem, k1=k1, b=b))
            texts = [collection.query_texts[row] for row in query_rows[pool.positions]]
            if pool.own is None or pool.offsets is not None:
                made = _rank(built[0], texts, pool, k)
            else:
                made = without_own(_rank(built[0], texts, pool, k + pool.own.shape[1]), pool.own, k)
            np.save(folder / "rows.npy", made.rows.astype(np.int32))
            np.save(folder / "scores.npy", made.scores)

        rows = np.asarray(query_rows, dtype=np.int64)
        own = [] if pool.own is None else ["own left out", pool.own]
        more = [*own, *([] if stem is None else [stem]), k1, b]
        key = content_key("bm25", _VERSION, bm25s.__version__, collection.fingerprint, rows, pool.protocol, k, *more)
        folder = cached_folder("bm25", key, build)
        shape = (len(query_rows[pool.positions]), None)
        rows_QK = read_array(folder / "rows.npy", dtype="int32", shape=shape).astype(np.int64)
        scores_QK = read_array(folder / "scores.npy", dtype="float32", shape=rows_QK.shape)
        return Ranking(rows=rows_QK, scores=scores_QK, pool_size=pool.sizes)

    return [ranking(pool) for pool in pools]


def bm25_of(collection: Collection, **kind: Any) -> Bm25:
    """Returns the BM25 over a collection's documents, built once for each of the kinds that `Bm25.build` makes."""
    return Bm25.cached(collection.document_texts, collection.fingerprint, **kind)


def _rank(bm25: Bm25, texts: list[str], pool: Pool, k: int) -> Ranking:
    count, depth = len(texts), min(k, pool.num_documents)
    scores = WordScores(bm25)
    rows = np.full((count, depth), -1, dtype=np.int64)
    best = np.full((count, depth), -np.inf, dtype=np.float32)
    pool_scores = np.zeros(0 if pool.candidates is None else len(pool.candidates), dtype=np.float32)
    with bar("BM25 ranks the queries") as progress:
        for at, text in enumerate(texts):
            scores.read(bm25.words(text))
            if pool.offsets is not None and pool.candidates is not None:
                own = slice(int(pool.offsets[at]), int(pool.offsets[at + 1]))
                pool_scores[own] = scores.scores_N[pool.candidates[own]]
            else:
                values, ranked = scores.best(depth, pool.order)
                best[at, : len(values)], rows[at, : len(ranked)] = values, ranked
            progress((at + 1) / count)
    if pool.offsets is not None:
        return pool.sort(pool_scores, k=k)
    return Ranking(rows=rows, scores=best, pool_size=pool.sizes)
