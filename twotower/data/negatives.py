"""Explicit negatives for training: random, from a query's candidates, or hard ones that BM25 or the model ranks high.

A document that is relevant to the query, or identical in text to one that is, is never given. Shapes: B queries of a
batch, n negatives a query, Q queries, P the longest pool in the batch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twotower.core.cache import cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.ragged import to_offsets
from twotower.core.reading import read_array
from twotower.data.batches import Negatives, RelevantGroups
from twotower.data.collection import Collection
from twotower.data.settings import NegativeSettings
from twotower.lexical.bm25 import Bm25

TRIES = 20
"""How often a random document that turns out relevant is drawn anew before the place is left empty."""


def build(
    settings: NegativeSettings, collection: Collection, split: str | None, relevance: RelevantGroups | None = None
) -> Negatives | None:
    """Returns what draws explicit negatives as `data.negatives` says, or None for in-batch ones alone.

    Args:
        settings: the group.
        collection: where documents are drawn from.
        split: whose queries are trained on.
        relevance: what may not be given; None: worked out from the split's judgements.

    Raises:
        UserError: for a kind the data cannot give.
    """
    kind, count = settings.kind, settings.count
    if kind == "in_batch":
        return None
    relevance = relevance or RelevantGroups(collection, [split])
    if kind == "random":
        return RandomNegatives(relevance=relevance, documents=len(collection.document_ids), count=count)
    if kind == "model":
        return MinedNegatives(relevance=relevance, queries=len(collection.query_ids), count=count)
    if kind == "candidates":
        if collection.candidates is None:
            raise UserError(
                f"data.negatives.kind=candidates: {collection.name} has no candidate lists; try bm25 or random."
            )
        query, document = collection.candidates.query, collection.candidates.document
    else:
        query, document = bm25_pool(collection, split, depth=settings.depth, skip=settings.skip)
    pool = PoolNegatives(
        query=query, document=document, relevance=relevance, queries=len(collection.query_ids), count=count
    )
    if not pool.sizes[collection.split(split).queries].any():
        raise UserError(f"data.negatives.kind={kind} finds no negative for any query of split '{split}'; try random.")
    return pool


class RandomNegatives:
    """Draws documents of the whole corpus, each equally likely.

    Args:
        relevance: what may not be given.
        documents: number of documents in the corpus.
        count: negatives a query, n.
    """

    def __init__(self, *, relevance: RelevantGroups, documents: int, count: int) -> None:
        self.relevance, self.documents, self.count = relevance, documents, count

    def __call__(self, query_B: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns document rows int64 [B, n]; -1 only where nearly everything is relevant."""
        query_Bn = np.repeat(query_B[:, None], self.count, axis=1)
        chosen_Bn = generator.integers(self.documents, size=query_Bn.shape)
        for _ in range(TRIES):
            wrong_Bn = self.relevance.contains(query_Bn, chosen_Bn)
            if not wrong_Bn.any():
                return chosen_Bn
            chosen_Bn[wrong_Bn] = generator.integers(self.documents, size=int(wrong_Bn.sum()))
        return np.where(self.relevance.contains(query_Bn, chosen_Bn), -1, chosen_Bn)


class PoolNegatives:
    """Draws from a pool of documents that each query has of its own, none twice for one query in a batch.

    Args:
        query: int [C], query rows; with `document`, the pools as pairs.
        document: int [C], document rows.
        relevance: what may not be given; taken out of the pools at once.
        queries: number of queries, Q.
        count: negatives a query, n.

    Attributes:
        sizes: how many negatives the pool of each query holds, int64 [Q].
    """

    def __init__(
        self, *, query: np.ndarray, document: np.ndarray, relevance: RelevantGroups, queries: int, count: int
    ) -> None:
        kept = ~relevance.contains(query, document)
        query, document = query[kept], document[kept]
        order = np.argsort(query, kind="stable")
        self.pool, self.count = document[order].astype(np.int64), count
        self.sizes = np.bincount(query, minlength=queries)
        self.starts = to_offsets(self.sizes)[:-1]

    def __call__(self, query_B: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns document rows int64 [B, n]; -1 where the pool holds fewer than n."""
        sizes_B = self.sizes[query_B]
        width = max(int(sizes_B.max(initial=0)), self.count)
        place_P = np.arange(width)
        order_BP = generator.random((len(query_B), width))
        order_BP[place_P >= sizes_B[:, None]] = 2  # places past the end of a pool come last
        place_Bn = np.argsort(order_BP, axis=1)[:, : self.count]
        inside_Bn = place_Bn < sizes_B[:, None]
        source_Bn = np.where(inside_Bn, self.starts[query_B][:, None] + place_Bn, 0)
        return np.where(inside_Bn, self.pool[source_Bn] if len(self.pool) else -1, -1)


class MinedNegatives:
    """Draws from pools that are given anew while the model trains (`callbacks.mine`).

    Args:
        relevance: what may not be given.
        queries: number of queries, Q.
        count: negatives a query, n.
    """

    def __init__(self, *, relevance: RelevantGroups, queries: int, count: int) -> None:
        self.relevance, self.queries, self.count = relevance, queries, count
        self.pool: PoolNegatives | None = None

    def take(self, query: np.ndarray, document: np.ndarray) -> int:
        """Draws from these pools from now on, pairs int [C] of query and document rows; returns how many are left."""
        self.pool = PoolNegatives(
            query=query, document=document, relevance=self.relevance, queries=self.queries, count=self.count
        )
        return len(self.pool.pool)

    def __call__(self, query_B: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns document rows int64 [B, n]; -1 where a pool holds fewer than n, or before there is any."""
        if self.pool is None:
            return np.full((len(query_B), self.count), -1, dtype=np.int64)
        return self.pool(query_B, generator)


def bm25_pool(collection: Collection, split: str | None, *, depth: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ranks the corpus for each query of a split by BM25 and keeps ranks skip + 1 to skip + depth; cached.

    Returns:
        query rows and document rows, int32 [C] each. Documents that share no word with the query are left out.
    """
    queries = collection.split(split).queries
    key = content_key("bm25 negatives 5", collection.fingerprint, split, depth, skip)

    def fill(folder: Path) -> None:
        bm25 = Bm25.cached(collection.document_texts, collection.fingerprint)
        scores_QK, rows_QK = bm25.best([collection.query_texts[row] for row in queries], depth + skip)
        rows_QK, scores_QK = rows_QK[:, skip:], scores_QK[:, skip:]
        query_QK = np.broadcast_to(queries[:, None], rows_QK.shape)
        np.save(folder / "pairs.npy", np.stack([query_QK[scores_QK > 0], rows_QK[scores_QK > 0]]).astype(np.int32))

    pairs = read_array(cached_folder("negatives", key, fill) / "pairs.npy", dtype="int32", shape=(2, None))
    return pairs[0], pairs[1]
