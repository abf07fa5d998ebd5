"""Queries that are documents of the corpus themselves, as in ArguAna, Quora and duplicate detection.

Such a document would come first for its query, which says nothing of a model, and as a negative it would push a text
away from itself. It is left out of evaluation and of the negatives of training, unless it is judged relevant.

Shapes: Q queries, P pairs of a query and a document of its own.
"""

from __future__ import annotations

import numpy as np

from twotower.data.collection import Collection, bare


def own_pairs(
    collection: Collection, query_rows: np.ndarray, split: str, exclude: str | bool
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
    places: list[int] = []
    documents: list[int] = []
    if exclude is not False:
        judged = collection.split(split)
        pairs = zip(judged.query[judged.positive].tolist(), judged.document[judged.positive].tolist(), strict=True)
        relevant = set(pairs)
        row_of = {item: row for row, item in enumerate(collection.document_ids)}
        for place, row in enumerate(np.asarray(query_rows).tolist()):
            own = row_of.get(collection.query_ids[row], -1)
            copies = collection.documents_of_queries.get(bare(collection.query_texts[row]), [])
            others = [item for item in copies if item != own]
            if any((row, item) in relevant for item in others):
                others = []
            if own >= 0 and (exclude is True or own in copies) and (row, own) not in relevant:
                others = [own, *others]
            places += [place] * len(others)
            documents += others
    return np.array(places, dtype=np.int64), np.array(documents, dtype=np.int64)
