"""Searching by words, or by words and vector, where the index itself does: Redis with a text field."""

from __future__ import annotations

import time

from twotower.data.documents import DocumentStore
from twotower.index.base import Index
from twotower.search.query import QueryModel
from twotower.search.results import Hit, Results, Timings


def search_served(
    text: str, k: int, mode: str, *, model: QueryModel, index: Index, documents: DocumentStore
) -> Results:
    """Asks the index's own server for the k best documents.

    Its words, stems and BM25 are the server's, its fusion that of ranks: neither is what the run measured.

    Args:
        text: the query.
        k: how many.
        mode: "lexical" or "hybrid".
        model: what reads the query.
        index: an opened index that holds texts.
        documents: the store its rows point into.

    Raises:
        UserError: when the server can't answer.
    """
    now = time.perf_counter
    begun = now()
    words, unknown, ids = model.tokenizer.read(text)
    read = now()
    both = mode == "hybrid" and len(unknown) < len(words)
    query_1D = index.cut(model.encode(ids[: model.max_query_length])) if both else None
    encoded = now()
    wanted = min(k, documents.count)
    if query_1D is None:
        scores_K, rows_K = index.search_text(text, wanted)
    else:
        scores_K, rows_K = index.search_both(text, query_1D[0], wanted)
    searched = now()
    hits = documents.fetch(rows_K.tolist())
    fetched = now()
    stages = (read - begun, encoded - read, searched - encoded, fetched - searched)
    scored = enumerate(zip(scores_K.tolist(), hits, strict=True), start=1)
    alone = mode == "hybrid" and not both
    notice = "no word of it is known to the model: found by the server's BM25 alone" if alone else ""
    return Results(
        query=text,
        words=words,
        unknown=unknown,
        hits=[Hit(rank, score, item.doc_id, item.title, item.text) for rank, (score, item) in scored],
        notice=notice if hits else "No document has any of these words. Try others.",
        random=None,
        timings=Timings(*(1000 * seconds for seconds in stages)),
        index=index.name,
        mode="hybrid" if both else "lexical",
        scale=f"scores are {'reciprocal ranks: model + ' if both else ''}{index.kind}'s own BM25, not measured",
    )
