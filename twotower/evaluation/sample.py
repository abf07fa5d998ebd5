"""A part of a collection for figures that are wanted often: some queries, what is judged for them, and other documents.

Ranked against fewer documents every query does better, so such figures say which epoch is best and nothing more.

Shapes: Q queries, N documents, S sampled documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twotower.data.collection import Candidates, Collection, Judgements


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Queries and documents that figures are measured on.

    Attributes:
        queries: rows of queries [Q].
        rows: rows of the documents [S], ascending; None for all.
        collection: of those documents; queries keep their rows.
    """

    queries: np.ndarray
    rows: np.ndarray | None
    collection: Collection


def draw_sample(collection: Collection, split: str, queries: np.ndarray, *, documents: int | None, seed: int) -> Sample:
    """Draws documents for some queries, unless the collection has no more than that.

    Args:
        collection: the whole collection.
        split: whose judgements count.
        queries: rows of the queries [Q].
        documents: at most so many, or as many as are judged or candidates for the queries; None for all.
        seed: of the draw.
    """
    count = len(collection.document_ids)
    if documents is None or count <= documents:
        return Sample(queries=queries, rows=None, collection=collection)
    judged, listed = collection.split(split), collection.candidates
    kept_N = np.zeros(count, dtype=bool)
    kept_N[judged.document[np.isin(judged.query, queries)]] = True
    if listed is not None:
        kept_N[listed.document[np.isin(listed.query, queries)]] = True
    others = np.flatnonzero(~kept_N)
    wanted = min(len(others), max(0, documents - int(kept_N.sum())))
    kept_N[np.random.default_rng([seed, 2]).choice(others, wanted, replace=False)] = True
    rows = np.flatnonzero(kept_N)
    return Sample(queries=queries, rows=rows, collection=part_of(collection, split, rows))


def part_of(collection: Collection, split: str, rows: np.ndarray) -> Collection:
    """Returns a collection of some documents with the judgements of one split and the candidates among them.

    Args:
        collection: the whole collection.
        split: the split to keep.
        rows: rows of the documents [S], ascending.
    """
    place_N = np.full(len(collection.document_ids), -1, dtype=np.int64)
    place_N[rows] = np.arange(len(rows))
    judged, listed = collection.split(split), collection.candidates
    in_N = place_N[judged.document] >= 0
    judgements = Judgements(
        query=judged.query[in_N], document=place_N[judged.document[in_N]].astype(np.int32), grade=judged.grade[in_N]
    )
    candidates = None
    if listed is not None:
        in_N = place_N[listed.document] >= 0
        candidates = Candidates(query=listed.query[in_N], document=place_N[listed.document[in_N]].astype(np.int32))
    chosen = rows.tolist()
    return Collection(
        name=collection.name,
        document_ids=[collection.document_ids[row] for row in chosen],
        titles=[collection.titles[row] for row in chosen],
        texts=[collection.texts[row] for row in chosen],
        query_ids=collection.query_ids,
        query_texts=collection.query_texts,
        judgements={split: judgements},
        candidates=candidates,
    )
