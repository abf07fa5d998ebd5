"""Queries that are documents of the corpus themselves: each would find itself first, which says nothing of a model.

Such documents (see `twotower.data.own_document`) are left out of what their query is ranked against, for the model,
BM25 and chance alike.

Shapes: Q queries under evaluation, K ranks, M most documents that one query is itself.
"""

from __future__ import annotations

import numpy as np

from twotower.data.collection import Collection
from twotower.data.own_document import own_pairs
from twotower.evaluation.ranking import Ranking


def own_documents(collection: Collection, query_rows: np.ndarray, split: str, exclude: str | bool) -> np.ndarray | None:
    """Returns the rows of each query's own documents, -1 where it has fewer, int64 [Q, M]; None where none has one.

    Args:
        collection: the collection.
        query_rows: rows of the queries under evaluation [Q].
        split: whose judgements count: a document that is judged relevant stays.
        exclude: auto, true or false, see `own_pairs`.
    """
    places, documents = own_pairs(collection, query_rows, split, exclude)
    if not len(places):
        return None
    counts_Q = np.bincount(places, minlength=len(query_rows))
    own_QM = np.full((len(query_rows), int(counts_Q.max())), -1, dtype=np.int64)
    starts_Q = np.cumsum(counts_Q) - counts_Q
    own_QM[places, np.arange(len(places)) - starts_Q[places]] = documents
    return own_QM


def without_own(ranking: Ranking, own_QM: np.ndarray, k: int) -> Ranking:
    """Returns a ranking of k + M ranks without each query's own documents, cut to k ranks.

    Args:
        ranking: of M ranks more than are wanted.
        own_QM: rows of the own documents, -1 for none.
        k: ranks to keep.
    """
    own_QK = np.zeros(ranking.rows.shape, dtype=bool)
    for own_Q in own_QM.T:
        own_QK |= (ranking.rows == own_Q[:, None]) & (own_Q[:, None] >= 0)
    last = np.argsort(own_QK, axis=1, kind="stable")  # own documents go behind all others
    rows, scores = (np.take_along_axis(part, last, axis=1) for part in (ranking.rows, ranking.scores))
    gone = np.take_along_axis(own_QK, last, axis=1)
    rows, scores = np.where(gone, -1, rows)[:, :k], np.where(gone, -np.inf, scores)[:, :k]
    return Ranking(rows=rows, scores=scores.astype(np.float32), pool_size=ranking.pool_size)
