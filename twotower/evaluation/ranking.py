"""Ranks documents for queries by inner product, exactly and in bounded memory.

Two protocols: `rank_full` ranks the whole collection, `rank_candidates` each query's own candidates.

A ranking never depends on how the work was cut into blocks. Blocks of float32 products only nominate somewhat more
than k documents; those are scored again in float64, rounded to float32, and sorted with ties by document id. A bound
on the float32 error then proves that no document left out could have ranked; the few queries for which it can't (many
documents at the same score around rank k) are ranked again from float64 products of all documents.

Shapes: Q queries, D dimensions, N documents, K ranks, W nominated documents, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twotower.evaluation.keys import NOTHING, pack, unpack
from twotower.evaluation.nominate import VectorRows, nominate

_DEFAULT_MEMORY = 2**31
CACHED = 2**22
"""Bytes of float64 vectors that a processor's cache holds beside all else."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The best documents of each query.

    Attributes:
        rows: int64 [Q, K] document rows, best first; -1 where a query has fewer than K documents.
        scores: float32 [Q, K] inner products; -inf where the row is -1.
        pool_size: int64 [Q] number of documents each query was ranked against.
    """

    rows: np.ndarray
    scores: np.ndarray
    pool_size: np.ndarray


def rank_full(
    query_QD: np.ndarray | Tensor,
    document_ND: np.ndarray | Tensor | VectorRows,
    *,
    order: np.ndarray | None = None,
    k: int = 100,
    chunk: int | None = None,
    max_memory: int = _DEFAULT_MEMORY,
    device: str | torch.device | None = None,
) -> Ranking:
    """Ranks every document for every query.

    Args:
        query_QD: query vectors; any float type, computed in float32.
        document_ND: document vectors, an array in memory or memory-mapped, or a tensor; as `VectorRows` where they are
            ranked again and again, whose lengths are then taken once.
        order: int64 [N], place of each document's id in string order (`keys.id_order`); None takes row order.
        k: ranks to keep.
        chunk: documents in one block; None chooses from `max_memory`. It changes speed and memory, never the result.
        max_memory: bytes the work may use above the vectors themselves.
        device: where to multiply; None stays on the CPU or where a tensor already is.

    Raises:
        ValueError: for vectors of different width, or that are not finite.
    """
    queries = VectorRows(query_QD, "query", device)
    documents = document_ND if isinstance(document_ND, VectorRows) else VectorRows(document_ND, "document", device)
    _check(queries, documents, k)
    count, depth = len(queries), min(k, len(documents))
    pool = np.full(count, len(documents), dtype=np.int64)
    if count == 0 or depth == 0:
        return _ranking(torch.full((count, depth), NOTHING), _inverse(None, len(documents)), pool)
    width = min(len(documents), depth + max(28, depth // 4))
    coarse_QW, rows_QW = nominate(queries, documents, width=width, chunk=chunk, max_memory=max_memory)
    place = torch.arange(len(documents)) if order is None else torch.as_tensor(order, dtype=torch.int64)
    keys_QW = _rescore(queries, documents, rows_QW, place, max_memory)
    keys_QK = keys_QW.topk(depth, dim=1).values
    if width < len(documents):
        doubtful = _doubtful(coarse_QW, keys_QK, queries, documents)
        keys_QK[doubtful] = _exact(queries, documents, doubtful, place, depth, chunk, max_memory)
    return _ranking(keys_QK, _inverse(order, len(documents)), pool)


def rank_candidates(
    query_QD: np.ndarray | Tensor,
    document_ND: np.ndarray | Tensor,
    *,
    offsets: np.ndarray,
    candidates: np.ndarray,
    order: np.ndarray | None = None,
    k: int = 100,
    max_memory: int = _DEFAULT_MEMORY,
) -> Ranking:
    """Ranks each query's own candidates.

    Args:
        query_QD: query vectors.
        document_ND: document vectors.
        offsets: int64 [Q + 1]; query q's candidates are `candidates[offsets[q]:offsets[q + 1]]`, without repeats.
        candidates: int64 [C] document rows.
        order: int64 [N], place of each document's id in string order; None takes row order.
        k: ranks to keep.
        max_memory: bytes the work may use above the vectors themselves.

    Raises:
        ValueError: for vectors of different width, or that are not finite.
    """
    queries, documents = VectorRows(query_QD, "query", None), VectorRows(document_ND, "document", None)
    _check(queries, documents, k)
    rows = np.asarray(candidates, dtype=np.int64)
    pool = np.diff(offsets).astype(np.int64)
    owner = np.repeat(np.arange(len(pool)), pool)
    scores = np.empty(len(rows), dtype=np.float32)
    step = max(1, max_memory // 2 // (40 * queries.width))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        product = queries.take(owner[part]).double().mul_(documents.take(rows[part]).double())
        scores[part] = product.sum(dim=1).float().numpy()
    return order_candidates(scores, offsets=offsets, candidates=rows, order=order, k=k)


def order_candidates(
    scores: np.ndarray, *, offsets: np.ndarray, candidates: np.ndarray, order: np.ndarray | None = None, k: int = 100
) -> Ranking:
    """Sorts already scored candidates into a ranking, ties by document id; arguments as in `rank_candidates`."""
    pool = np.diff(offsets).astype(np.int64)
    owner = np.repeat(np.arange(len(pool)), pool)
    place = candidates if order is None else order[candidates]
    best = np.lexsort((place, -scores, owner))
    depth = min(k, int(pool.max(initial=0)))
    rank = np.arange(len(best)) - np.repeat(offsets[:-1], pool)
    kept = rank < depth
    rows = np.full((len(pool), depth), -1, dtype=np.int64)
    values = np.full((len(pool), depth), -np.inf, dtype=np.float32)
    rows[owner[kept], rank[kept]] = candidates[best[kept]]
    values[owner[kept], rank[kept]] = scores[best[kept]]
    return Ranking(rows=rows, scores=values, pool_size=pool)


def _check(queries: VectorRows, documents: VectorRows, k: int) -> None:
    if queries.width != documents.width:
        raise ValueError(f"Query vectors have {queries.width} dimensions, document vectors {documents.width}.")
    if k < 1:
        raise ValueError(f"k={k}: a ranking needs at least one rank.")
    queries.lengths(), documents.lengths()  # NaN would quietly win or lose every comparison


def _rescore(queries: VectorRows, documents: VectorRows, rows_QW: Tensor, place: Tensor, max_memory: int) -> Tensor:
    """Returns the exact keys [Q, W] of the nominated documents."""
    count, width = rows_QW.shape
    keys_QW = torch.empty((count, width), dtype=torch.int64)
    # few queries at a time: gathered vectors that fit the processor's cache are four times as fast as large blocks
    step = max(1, min(CACHED, max_memory // 6) // (8 * queries.width * width))
    for start in range(0, count, step):
        rows = rows_QW[start : start + step]
        vectors = documents.take(rows.reshape(-1)).double().view(len(rows), width, -1)
        scores = torch.bmm(vectors, queries.block(start, start + step).double().unsqueeze(2)).squeeze(2)
        keys_QW[start : start + step] = pack(scores.float().cpu(), place[rows])
    return keys_QW


def _doubtful(coarse_QW: Tensor, keys_QK: Tensor, queries: VectorRows, documents: VectorRows) -> Tensor:
    """Returns the rows of the queries whose k-th document is not proven better than everything not nominated."""
    unit = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}[torch.get_float32_matmul_precision()]
    relative = unit + (queries.width + 4) * 2.0**-24
    bound_Q = coarse_QW[:, -1].double() + relative * queries.lengths().double() * documents.lengths().max().double()
    return torch.nonzero(unpack(keys_QK[:, -1])[0].double() <= bound_Q).squeeze(1)


def _exact(
    queries: VectorRows,
    documents: VectorRows,
    chosen: Tensor,
    place: Tensor,
    k: int,
    chunk: int | None,
    max_memory: int,
) -> Tensor:
    """Ranks the chosen queries by float64 products with all documents; returns keys [len(chosen), k]."""
    result = torch.full((len(chosen), k), NOTHING)
    across = max(1, min(256, max_memory // 2 // (40 * k)))
    along = chunk or max(1, min(16384, max_memory // 4 // (40 * across + 12 * queries.width)))
    for first in range(0, len(chosen), across):
        block = queries.take(chosen[first : first + across]).double()
        best = result[first : first + across]
        for start in range(0, len(documents), along):
            scores = (block @ documents.block(start, start + along).double().T).float().cpu()
            keys = pack(scores, place[start : start + along].expand(len(block), -1))
            best = torch.cat([best, keys], dim=1).topk(k, dim=1).values
        result[first : first + across] = best
    return result


def _inverse(order: np.ndarray | None, count: int) -> np.ndarray:
    row_at = np.arange(count + 1)  # one more, so that place -1 (an empty rank) reads the last entry
    if order is not None:
        row_at[order] = np.arange(count)
    row_at[-1] = -1
    return row_at


def _ranking(keys_QK: Tensor, row_at: np.ndarray, pool: np.ndarray) -> Ranking:
    scores, place = unpack(keys_QK)
    return Ranking(rows=row_at[place.numpy()], scores=scores.numpy(), pool_size=pool)
