"""Training queries that are kept from training, so that something can be fitted on them honestly.

A model that was trained on a query, or on another query of the same document, ranks it better than it will rank any
new one. Queries are therefore taken together with all others that share a relevant document with them.

Shapes: J judgements with grade above 0, G groups.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from twotower.data.collection import Judgements

SHARE = 0.05
"""At most this share of the training queries is kept from training."""
FEWEST = 60
"""Fewer queries than this are not worth keeping from training: none is. On wikiqa 43 gave BM25 .125 or 2.8 times the
model's weight, by the luck of a setting."""


def held_out_queries(judgements: Judgements, most: int, *, seed: int) -> np.ndarray:
    """Chooses queries of a split by chance, in groups that share no relevant document with any other query.

    Args:
        judgements: those of the training split.
        most: at most so many queries, and at most `SHARE` of them all.
        seed: of the choice.

    Returns:
        Query rows, ascending, int32; none where fewer than `FEWEST` would come together.
    """
    rows = judgements.queries
    limit = min(most, int(SHARE * len(rows)))
    if limit < FEWEST:
        return rows[:0]
    query_J, document_J = judgements.query[judgements.positive], judgements.document[judgements.positive]
    place_J = np.searchsorted(rows, query_J)
    known, column_J = np.unique(document_J, return_inverse=True)
    links = sparse.coo_matrix((np.ones(len(place_J), np.int8), (place_J, len(rows) + column_J)),
                              shape=(len(rows) + len(known),) * 2)  # fmt: skip
    group_Q = sparse.csgraph.connected_components(links, directed=False)[1][: len(rows)]
    sizes_G = np.bincount(group_Q)
    order_G = np.random.default_rng([seed, 20]).permutation(np.flatnonzero(sizes_G))
    order_G = order_G[sizes_G[order_G] <= max(1, limit // 10)]  # one large group says little about the rest
    chosen_G = order_G[np.cumsum(sizes_G[order_G]) <= limit]
    kept = rows[np.isin(group_Q, chosen_G)]
    return kept if len(kept) >= FEWEST else rows[:0]
