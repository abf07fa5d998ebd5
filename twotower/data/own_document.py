"""Queries that are documents of the corpus themselves, as in ArguAna, Quora and duplicate detection.

Such a document would come first for its query, which says nothing of a model, and as a negative it would push a text
away from itself. It is left out of evaluation and of the negatives of training, unless it is judged relevant.

Shapes: Q queries, P pairs of a query and a document of its own.
"""

from __future__ import annotations

import numpy as np

from twotower.core.ragged import runs_of
from twotower.data.collection import Collection


def own_pairs(
    collection: Collection, query_rows: np.ndarray, split: str | None, exclude: str | bool
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the documents that queries are themselves.

    A document of a query's own id that is judged relevant stays, and so do all documents of its text under other ids
    where one of them is judged relevant: to find that text is the task then.

    Args:
        collection: the collection.
        query_rows: rows of queries [Q].
        split: whose judgements count.
        exclude: auto: documents of the query's text, whatever their id (equal ids alone collide by accident where they
            are numbers); true: the document of its own id as well; false: none.

    Returns:
        Places in `query_rows` and document rows, int64 [P] each, by place.
    """
    rows = np.asarray(query_rows, dtype=np.int64)
    if exclude is False:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    judged = collection.split(split)
    relevant = judged.query[judged.positive].astype(np.int64) << 32 | judged.document[judged.positive]
    copies = collection.copies_of_queries
    offsets, index = runs_of(copies.query_P, rows)
    place_P = np.repeat(np.arange(len(rows)), np.diff(offsets))
    document_P, own_P = copies.document_P[index], copies.own_P[index]
    # 1. the document of a query's own id
    own_Q = np.full(len(rows), -1)
    own_Q[place_P[own_P]] = document_P[own_P]
    if exclude is True:
        own_Q = collection.document_of_query_id[rows]
    own = np.flatnonzero(own_Q >= 0)
    own = own[~_among(rows[own] << 32 | own_Q[own], relevant)]
    # 2. those of its text under other ids: all of them or none
    stays_Q = np.zeros(len(rows), dtype=bool)
    stays_Q[place_P[~own_P & _among(rows[place_P] << 32 | document_P, relevant)]] = True
    goes_P = ~own_P & ~stays_Q[place_P]
    places = np.concatenate([own, place_P[goes_P]])
    order = np.argsort(places, kind="stable")
    return places[order], np.concatenate([own_Q[own], document_P[goes_P]])[order]


def _among(keys: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Says of each key whether it is one of many others, in less time than sorting them again takes."""
    return ascending[np.searchsorted(ascending, keys).clip(max=len(ascending) - 1)] == keys  # type: ignore[no-any-return]
