"""What a relevant pair scores and what a random one does: the scale to read similarities by.

Shapes: P queries of a pool, D dimensions, N documents, J judgements with grade above 0, C candidates.
"""

from __future__ import annotations

import numpy as np

from twotower.evaluation.pools import Pool
from twotower.evaluation.relevance import Relevance

_BLOCK = 16_384


def relevant_scores(query_PD: np.ndarray, document_ND: np.ndarray, relevance: Relevance) -> np.ndarray:
    """Returns each query's similarity to the best of its relevant documents, float32 [P]; NaN where it has none.

    Args:
        query_PD: unit vectors of the pool's queries.
        document_ND: unit vectors of all documents.
        relevance: what is relevant to these queries.
    """
    best_P = np.full(len(query_PD), -np.inf, dtype=np.float32)
    for start in range(0, len(relevance.position), _BLOCK):
        position, document = relevance.position[start : start + _BLOCK], relevance.document[start : start + _BLOCK]
        np.maximum.at(best_P, position, _dot(query_PD[position], document_ND[document]))
    return np.where(relevance.num_relevant > 0, best_P, np.float32(np.nan))


def random_scores(
    query_PD: np.ndarray, document_ND: np.ndarray, relevance: Relevance, pool: Pool, *, seed: int
) -> np.ndarray:
    """Returns each query's similarity to one random document of its pool that isn't relevant to it.

    Every such document is equally likely.

    Args:
        query_PD: unit vectors of the pool's queries.
        document_ND: unit vectors of all documents.
        relevance: what is relevant to these queries.
        pool: what they are ranked against.
        seed: seed of the draw.

    Returns:
        float32 [P]; NaN where every document of the pool is relevant.
    """
    share_P = np.random.default_rng(seed).random(len(query_PD))
    document_P = _draw_any(share_P, relevance, pool) if pool.candidates is None else _draw_own(share_P, relevance, pool)
    scores_P = _dot(query_PD, document_ND[np.maximum(document_P, 0)])
    return np.where(document_P >= 0, scores_P, np.float32(np.nan))


def _draw_any(share_P: np.ndarray, relevance: Relevance, pool: Pool) -> np.ndarray:
    """Draws among all documents: the n-th that isn't relevant lies behind every relevant one with fewer before it."""
    order = np.lexsort((relevance.document, relevance.position))
    position, document = relevance.position[order], relevance.document[order]
    others_P = pool.num_documents - relevance.num_relevant
    drawn_P = np.floor(share_P * others_P).astype(np.int64)
    first_P = np.cumsum(relevance.num_relevant) - relevance.num_relevant
    others_before_J = document - (np.arange(len(document)) - first_P[position])
    skipped_P = np.bincount(position[others_before_J <= drawn_P[position]], minlength=len(share_P))
    return np.where(others_P > 0, drawn_P + skipped_P, -1)


def _draw_own(share_P: np.ndarray, relevance: Relevance, pool: Pool) -> np.ndarray:
    """Draws among each query's own candidates."""
    assert pool.candidates is not None
    owner_C = np.repeat(np.arange(len(share_P)), pool.sizes)
    relevant_J = (relevance.position << 32) | relevance.document
    other_C = ~np.isin((owner_C << 32) | pool.candidates, relevant_J)
    candidates, others_P = pool.candidates[other_C], np.bincount(owner_C[other_C], minlength=len(share_P))
    at_P = np.cumsum(others_P) - others_P + np.floor(share_P * others_P).astype(np.int64)
    padded = np.append(candidates, -1)
    return np.where(others_P > 0, padded[np.minimum(at_P, len(candidates))], -1)


def _dot(left_ND: np.ndarray, right_ND: np.ndarray) -> np.ndarray:
    return np.einsum("pd,pd->p", left_ND, right_ND).astype(np.float32)  # type: ignore[no-any-return]
