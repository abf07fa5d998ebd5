"""Queries that are documents of the corpus themselves: each would find itself first, which says nothing of a model.

ArguAna, Quora and duplicate detection take documents as queries. Such a document is left out of what its query is
ranked against, for the model, BM25 and chance alike, unless it is judged relevant.

Shapes: Q queries under evaluation, K ranks.
"""

from __future__ import annotations

import numpy as np

from twotower.data.collection import Collection, bare
from twotower.evaluation.ranking import Ranking


def own_documents(collection: Collection, query_rows: np.ndarray, split: str, exclude: str | bool) -> np.ndarray | None:
    """Returns the row of each query's own document, -1 where it has none, int64 [Q]; None where no query has one.

    Args:
        collection: the collection.
        query_rows: rows of the queries under evaluation [Q].
        split: whose judgements count: a document that is judged relevant stays.
        exclude: `auto`: the document of the query's own id if their texts are the same too (numbers as ids collide
            by accident); true: by the id alone; false: none.
    """
    if exclude is False:
        return None
    row_of = {item: row for row, item in enumerate(collection.document_ids)}
    own_Q = np.array([row_of.get(collection.query_ids[row], -1) for row in query_rows.tolist()], dtype=np.int64)
    if exclude == "auto":
        own_Q = np.array(
            [
                row if row >= 0 and _same(collection, query, row) else -1
                for query, row in zip(query_rows.tolist(), own_Q.tolist(), strict=True)
            ],
            dtype=np.int64,
        )
    judged = collection.split(split)
    pairs = judged.query[judged.positive].astype(np.int64) << 32 | judged.document[judged.positive]
    own_Q[np.isin(query_rows.astype(np.int64) << 32 | np.maximum(own_Q, 0), pairs)] = -1
    return own_Q if (own_Q >= 0).any() else None


def _same(collection: Collection, query: int, document: int) -> bool:
    asked = bare(collection.query_texts[query])
    title, text = collection.titles[document], collection.texts[document]
    return asked in (bare(text), bare(f"{title} {text}"), bare(title) if title and not text else None)


def without_own(ranking: Ranking, own_Q: np.ndarray, k: int) -> Ranking:
    """Returns a ranking of k + 1 ranks without each query's own document, cut to k ranks.

    Args:
        ranking: of one rank more than is wanted.
        own_Q: rows of the own documents, -1 for none.
        k: ranks to keep.
    """
    own_QK = (ranking.rows == own_Q[:, None]) & (own_Q[:, None] >= 0)
    last = np.argsort(own_QK, axis=1, kind="stable")  # the own document goes behind all others
    rows, scores = (np.take_along_axis(part, last, axis=1) for part in (ranking.rows, ranking.scores))
    gone = np.take_along_axis(own_QK, last, axis=1)
    rows, scores = np.where(gone, -1, rows)[:, :k], np.where(gone, -np.inf, scores)[:, :k]
    return Ranking(rows=rows, scores=scores.astype(np.float32), pool_size=ranking.pool_size)
