"""The two protocols: what each query is ranked against.

`full`: every document of the collection. `rerank`: the query's own candidates; queries without any are left out.

Shapes: Q queries under evaluation, P queries of a pool, C candidates, D dimensions, N documents.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from twotower.core.errors import UserError
from twotower.core.ragged import runs_of
from twotower.data.collection import Collection
from twotower.evaluation.keys import id_order
from twotower.evaluation.names import PROTOCOLS
from twotower.evaluation.own_document import without_own
from twotower.evaluation.ranking import Ranking, order_candidates, rank_candidates, rank_full
from twotower.evaluation.relevance import Relevance
from twotower.kernels.distributed import group_rank, merge_rows, split_rows, world_size

_ORDERS: weakref.WeakKeyDictionary[Collection, np.ndarray] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What the queries of one protocol are ranked against.

    Attributes:
        protocol: "full" or "rerank".
        num_documents: N.
        positions: int64 [P], which of the queries under evaluation take part.
        offsets: int64 [P + 1], where each query's candidates start; None for the whole collection.
        candidates: int64 [C], document rows; None for the whole collection.
        order: int64 [N], place of each document's id in string order, which decides ties.
        own: int64 [P, M], rows of a query's own documents, which are left out of its pool, -1 for none; None: of all.
    """

    protocol: str
    num_documents: int
    positions: np.ndarray
    order: np.ndarray
    offsets: np.ndarray | None = None
    candidates: np.ndarray | None = None
    own: np.ndarray | None = None

    @property
    def sizes(self) -> np.ndarray:
        """Number of documents each query is ranked against, int64 [P]."""
        if self.offsets is None:
            whole = np.full(len(self.positions), self.num_documents, dtype=np.int64)
            return whole if self.own is None else whole - (self.own >= 0).sum(1)
        return np.diff(self.offsets)

    @property
    def left_out(self) -> int:
        """How many queries have a document of their own that is left out."""
        return 0 if self.own is None else int((self.own >= 0).any(1).sum())

    @property
    def mean_size(self) -> float:
        """Mean number of documents a query is ranked against."""
        return float(self.sizes.mean()) if len(self.positions) else 0.0

    def within(self, relevance: Relevance) -> tuple[np.ndarray, np.ndarray]:
        """Returns (relevant documents in the pool, sum of their grades) of each query of the pool, both [P]."""
        if self.offsets is None or self.candidates is None:
            return relevance.num_relevant, relevance.gain
        return relevance.within(self.offsets, self.candidates)

    def rank(
        self,
        query_QD: np.ndarray,
        document_ND: np.ndarray,
        *,
        k: int,
        max_memory: int,
        chunk: int | None = None,
        device: str | torch.device | None = None,
        shared: bool = False,
        rank_whole: Callable[..., Ranking] = rank_full,
    ) -> Ranking:
        """Ranks the pool of each of its queries [P, k]; `query_QD` holds all queries under evaluation.

        With `shared` every process of the group ranks its share of the queries and gets the whole ranking. The whole
        collection is ranked by `rank_whole`, which takes what `rank_full` takes.
        """
        if shared and world_size() > 1:
            options = {"max_memory": max_memory, "chunk": chunk, "device": device, "rank_whole": rank_whole}
            return self._rank_shared(query_QD, document_ND, k=k, **options)
        chosen = query_QD if len(self.positions) == len(query_QD) else query_QD[self.positions]
        if self.offsets is None or self.candidates is None:
            options = {"max_memory": max_memory, "chunk": chunk, "device": device}
            if self.own is None:
                return rank_whole(chosen, document_ND, order=self.order, k=k, **options)
            deeper = rank_whole(chosen, document_ND, order=self.order, k=k + self.own.shape[1], **options)
            return replace(without_own(deeper, self.own, k), pool_size=self.sizes)
        return rank_candidates(
            chosen,
            document_ND,
            offsets=self.offsets,
            candidates=self.candidates,
            order=self.order,
            k=k,
            max_memory=max_memory,
        )

    def _rank_shared(self, query_QD: np.ndarray, document_ND: np.ndarray, *, k: int, **options: Any) -> Ranking:
        shares = split_rows(len(self.positions))
        part = self.take(shares[group_rank()]).rank(query_QD, document_ND, k=k, **options)
        depth = min(k, int(self.sizes.max(initial=0)) if self.own is None else self.num_documents)
        lacking = ((0, 0), (0, depth - part.rows.shape[1]))
        rows = np.pad(part.rows, lacking, constant_values=-1)
        scores = np.pad(part.scores, lacking, constant_values=-np.inf)
        return Ranking(rows=merge_rows(rows, shares), scores=merge_rows(scores, shares), pool_size=self.sizes)

    def take(self, chosen: np.ndarray) -> Pool:
        """Returns the pool of some of its queries only."""
        if self.offsets is None or self.candidates is None:
            own = None if self.own is None else self.own[chosen]
            return replace(self, positions=self.positions[chosen], own=own)
        counts = self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][chosen] - offsets[:-1], counts)
        return replace(self, positions=self.positions[chosen], offsets=offsets, candidates=self.candidates[index])

    def sort(self, scores: np.ndarray, *, k: int) -> Ranking:
        """Sorts scores of the candidates [C] into a ranking."""
        assert self.offsets is not None, "the full pool has no candidate list"
        assert self.candidates is not None, "the full pool has no candidate list"
        return order_candidates(scores, offsets=self.offsets, candidates=self.candidates, order=self.order, k=k)


def build_pools(
    collection: Collection,
    query_rows: np.ndarray,
    protocols: str | Sequence[str] = "auto",
    *,
    own: np.ndarray | None = None,
) -> list[Pool]:
    """Returns the pools to evaluate.

    Args:
        collection: the collection.
        query_rows: rows of the queries under evaluation [Q].
        protocols: "full", "rerank", a list of them, or "auto": full, and rerank where candidates exist.
        own: rows of each query's own documents [Q, M], which are left out, see `own_document`.

    Raises:
        UserError: for rerank asked for where none of the queries has candidates.
    """
    automatic = protocols == "auto"
    wanted = PROTOCOLS if automatic else (protocols,) if isinstance(protocols, str) else tuple(protocols)
    pools = []
    for name in dict.fromkeys(wanted):
        pool = _full(collection, query_rows, own) if name == "full" else _rerank(collection, query_rows, own)
        if pool is not None:
            pools.append(pool)
        elif not automatic:
            raise UserError(
                f"evaluation.protocols holds rerank, but {collection.name} has no candidate lists for these queries; "
                "use evaluation.protocols=full."
            )
    return pools


def document_order(collection: Collection) -> np.ndarray:
    """Returns the place of each document's id in string order, int64 [N], worked out once per collection."""
    if collection not in _ORDERS:
        _ORDERS[collection] = id_order(collection.document_ids)
    return _ORDERS[collection]


def _full(collection: Collection, query_rows: np.ndarray, own: np.ndarray | None) -> Pool:
    return Pool(
        protocol="full",
        num_documents=len(collection.document_ids),
        positions=np.arange(len(query_rows)),
        order=document_order(collection),
        own=own,
    )


def _rerank(collection: Collection, query_rows: np.ndarray, own: np.ndarray | None) -> Pool | None:
    if collection.candidates is None:
        return None
    offsets, index = runs_of(collection.candidates.query, query_rows)
    if own is not None:
        owner = np.repeat(np.arange(len(query_rows)), np.diff(offsets))
        kept = (collection.candidates.document[index][:, None] != own[owner]).all(1)
        index = index[kept]
        offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[kept], minlength=len(query_rows)))])
    positions = np.flatnonzero(np.diff(offsets))
    if not len(positions):
        return None
    return Pool(
        protocol="rerank",
        num_documents=len(collection.document_ids),
        positions=positions,
        order=document_order(collection),
        offsets=np.concatenate([[0], offsets[1:][positions]]),
        candidates=collection.candidates.document[index].astype(np.int64),
    )
