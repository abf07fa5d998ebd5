"""Ranking by model and BM25 together; the weight of BM25 is fitted in `weight`.

Shapes: Q queries, B queries of a block, D dimensions, N documents, K ranks, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from twotower.data.collection import Collection
from twotower.evaluation.bm25 import bm25_of
from twotower.evaluation.own_document import without_own
from twotower.evaluation.pools import Pool
from twotower.evaluation.ranking import Ranking
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.settings import Bm25Settings, HybridSettings
from twotower.evaluation.weight import fit_weight, score_blocks
from twotower.lexical.bm25 import Bm25
from twotower.lexical.fusion import Fusion
from twotower.lexical.scores import first_of


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """What a hybrid evaluation needs: BM25 over the documents, and how its scores are fused with the model's."""

    bm25: Bm25
    fusion: Fusion


def make_hybrid(
    settings: HybridSettings,
    collection: Collection,
    train_split: str | None,
    *,
    stem: str | None,
    bm25: Bm25Settings,
    held_out: np.ndarray,
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    max_memory: int,
) -> Hybrid:
    """Prepares the hybrid of a trained model: BM25's weight is fitted on training queries that were held out.

    Args:
        settings: fusion, weight and pairs.
        collection: the collection.
        train_split: the split trained on, None where there is none.
        stem: language of BM25's stems, None for plain words: as `strongest.strongest_bm25` chose.
        bm25: BM25's k1 and b in numbers.
        held_out: rows of the training queries that were kept from training [Q].
        query_QD: their vectors.
        document_ND: unit vectors of all documents.
        max_memory: bytes for a block of scores.
    """
    side, fusion = lexical_side(settings, collection, stem=stem, bm25=bm25)
    if settings.weight != "auto":
        fusion = replace(fusion, weight=float(settings.weight), note="weight given by the config")
    else:
        texts = [collection.query_texts[row] for row in held_out]
        relevance = Relevance.of(collection.split(train_split), held_out)
        fusion = fit_weight(query_QD, document_ND, side, texts, relevance, fusion, max_memory=max_memory)
    return Hybrid(bm25=side, fusion=fusion)


def lexical_side(
    settings: HybridSettings, collection: Collection, *, stem: str | None, bm25: Bm25Settings
) -> tuple[Bm25, Fusion]:
    """Returns BM25 and the fusion, its weight not fitted yet; what is built stays in the cache.

    Args:
        settings: as for `make_hybrid`, as are all others.
        collection: see there.
        stem: see there.
        bm25: see there.
    """
    fusion = Fusion(
        kind=settings.fusion,
        pairs=settings.pairs,
        exact=settings.exact if stem else 0.0,
        stem=stem,
        k1=float(bm25.k1),
        b=float(bm25.b),
    )
    return bm25_of(collection, **fusion.lexical), fusion


def hybrid_rankings(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    bm25: Bm25,
    texts: Sequence[str],
    pools: Sequence[Pool],
    fusion: Fusion,
    *,
    k: int,
    max_memory: int,
) -> list[Ranking]:
    """Ranks each pool by the fused scores; ties are broken by document id.

    Args:
        query_QD: unit vectors of the queries under evaluation.
        document_ND: unit vectors of all documents.
        bm25: over the same documents.
        texts: of the queries.
        pools: from `pools.build_pools` for the same queries.
        fusion: how scores are fused; over the whole corpus in every pool.
        k: ranks to keep.
        max_memory: bytes for a block of scores.
    """
    count = len(texts)
    depth = min(k + max(0 if pool.own is None else pool.own.shape[1] for pool in pools), len(document_ND))
    rows, best = np.full((count, depth), -1, dtype=np.int64), np.full((count, depth), -np.inf, dtype=np.float32)
    candidates = [_Candidates(pool, count) for pool in pools if pool.offsets is not None]
    blocks = score_blocks(query_QD, document_ND, bm25, texts, fusion, max_memory, title="Ranking by both")
    for start, dense_BN, lexical_BN in blocks:
        fused_BN = fusion(dense_BN, lexical_BN)
        for item in candidates:
            item.take(start, fused_BN)
        bound_B = torch.from_numpy(fused_BN).topk(depth, dim=1).values[:, -1].numpy()
        for at, (scores_N, bound) in enumerate(zip(fused_BN, bound_B, strict=True), start=start):
            rows_C = np.flatnonzero(scores_N >= bound)  # more than `depth` where scores are equal at the last rank
            best[at], rows[at] = first_of(scores_N[rows_C], rows_C, depth, pools[0].order)
    reranked = iter(candidates)
    return [
        _cut(Ranking(rows=rows, scores=best, pool_size=pool.sizes), pool, k)
        if pool.offsets is None
        else next(reranked).ranking(k)
        for pool in pools
    ]


def _cut(ranking: Ranking, pool: Pool, k: int) -> Ranking:
    """Returns the first k ranks, without each query's own document where that is left out."""
    if pool.own is not None:
        return without_own(ranking, pool.own, k)
    return Ranking(rows=ranking.rows[:, :k], scores=ranking.scores[:, :k], pool_size=ranking.pool_size)


class _Candidates:
    """Gathers the scores of a pool's candidates out of blocks of scores of all documents."""

    def __init__(self, pool: Pool, count: int) -> None:
        assert pool.offsets is not None
        assert pool.candidates is not None
        self.pool, self.offsets, self.candidates = pool, pool.offsets, pool.candidates
        self.scores_C = np.zeros(len(pool.candidates), dtype=np.float32)
        self.place_Q = np.full(count, -1)
        self.place_Q[pool.positions] = np.arange(len(pool.positions))

    def take(self, start: int, scores_BN: np.ndarray) -> None:
        for at, place in enumerate(self.place_Q[start : start + len(scores_BN)].tolist()):
            if place >= 0:
                own = slice(int(self.offsets[place]), int(self.offsets[place + 1]))
                self.scores_C[own] = scores_BN[at, self.candidates[own]]

    def ranking(self, k: int) -> Ranking:
        return self.pool.sort(self.scores_C, k=k)
