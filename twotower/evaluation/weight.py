"""Scores of model and BM25 side by side, and BM25's weight fitted on training queries that the model never saw.

Shapes: Q queries, B queries of a block, D dimensions, N documents, W weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from twotower.core.progress import bar
from twotower.evaluation.relevance import Relevance
from twotower.kernels.linear import product
from twotower.lexical.bm25 import Bm25
from twotower.lexical.fusion import DEFAULT_WEIGHT, Fusion
from twotower.lexical.scores import WordScores

WEIGHTS = tuple(float(2 ** (power / 2)) for power in range(-6, 9))
"""Weights that are tried: 1/8 to 16 by factors of 1.41."""
BLOCK_BYTES = 1 << 27
"""Scores of either side that are held at a time: more is slower, being far from the processor."""


def fit_weight(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    bm25: Bm25,
    texts: Sequence[str],
    relevance: Relevance,
    fusion: Fusion,
    *,
    max_memory: int,
) -> Fusion:
    """Fits BM25's weight on queries that the model was not trained on.

    Every weight gets the mean reciprocal rank of the queries. Among those that can't be told from the best (the paired
    difference lies within a standard error) the one nearest to the default is taken: many queries decide, few leave the
    default in place.

    Args:
        query_QD: unit vectors of Q training queries that were kept from training.
        document_ND: unit vectors of all documents.
        bm25: over the same documents.
        texts: of the queries.
        relevance: what is relevant to them.
        fusion: the fusion whose weight is to be fitted.
        max_memory: bytes for a block of scores.
    """
    if not len(texts):  # `held_out_queries` keeps a fair number or none
        note = "the default weight: no training query was kept from training to fit it on"
        return replace(fusion, weight=DEFAULT_WEIGHT, note=note)
    reciprocal_WQ = np.zeros((len(WEIGHTS), len(texts)))
    blocks = score_blocks(query_QD, document_ND, bm25, texts, fusion, max_memory, title="Weighing BM25")
    for start, dense_BN, lexical_BN in blocks:
        part = relevance.take(np.arange(start, start + len(dense_BN)))
        reciprocal_WQ[:, start : start + len(dense_BN)] = _reciprocal(*fusion.sides(dense_BN, lexical_BN), part)
    weight = choose(reciprocal_WQ)
    return replace(
        fusion, weight=weight, fitted_on=len(texts), note=f"fitted on {len(texts)} queries kept from training"
    )


def choose(reciprocal_WQ: np.ndarray) -> float:
    """Returns, of the weights that can't be told from the best, the one nearest to the default."""
    means_W = reciprocal_WQ.mean(axis=1)
    behind_WQ = reciprocal_WQ[means_W.argmax()] - reciprocal_WQ
    error_W = behind_WQ.std(axis=1) / behind_WQ.shape[1] ** 0.5
    equal = [weight for weight, ok in zip(WEIGHTS, behind_WQ.mean(axis=1) <= error_W, strict=True) if ok]
    return min(equal, key=lambda weight: abs(np.log(weight / DEFAULT_WEIGHT)))


def _reciprocal(dense_BN: np.ndarray, lexical_BN: np.ndarray, relevance: Relevance) -> np.ndarray:
    """Returns 1 / rank of the best relevant document of each query under each weight [W, B], 0 without one.

    A document that neither side puts above a relevant one is above it under no weight, and is not looked at.
    """
    weights_W1 = np.array(WEIGHTS, dtype=np.float32)[:, None]
    reciprocal_WB = np.zeros((len(WEIGHTS), len(dense_BN)))
    starts = np.searchsorted(relevance.position, np.arange(len(dense_BN) + 1))
    for at in np.flatnonzero(np.diff(starts)).tolist():
        relevant = relevance.document[starts[at] : starts[at + 1]]
        dense_N, lexical_N = dense_BN[at], lexical_BN[at]
        above = np.flatnonzero((dense_N > dense_N[relevant[0]]) | (lexical_N > lexical_N[relevant[0]]))
        best_W1 = (dense_N[relevant] + weights_W1 * lexical_N[relevant]).max(axis=1, keepdims=True)
        reciprocal_WB[:, at] = 1 / (1 + (dense_N[above] + weights_W1 * lexical_N[above] > best_W1).sum(axis=1))
    return reciprocal_WB


def score_blocks(
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    bm25: Bm25,
    texts: Sequence[str],
    fusion: Fusion,
    max_memory: int,
    *,
    title: str,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (first query, cosines [B, N], BM25 scores [B, N]) block by block, under a bar.

    Args:
        query_QD: unit vectors of the queries.
        document_ND: unit vectors of all documents.
        bm25: over the same documents.
        texts: of the queries.
        fusion: gives the weights within BM25.
        max_memory: bytes for a block of scores.
        title: stands before the bar.
    """
    count = max(len(document_ND), 1)
    step = max(1, min(256, BLOCK_BYTES // (4 * count), max_memory // (48 * count)))
    scores = WordScores(bm25)
    documents = torch.from_numpy(np.ascontiguousarray(document_ND, dtype=np.float32))
    with bar(title) as progress:
        for start in range(0, len(texts), step):
            block = torch.from_numpy(np.ascontiguousarray(query_QD[start : start + step], dtype=np.float32))
            lexical_BN = np.empty((len(block), len(documents)), dtype=np.float32)
            for at, text in enumerate(texts[start : start + step]):
                scores.read(bm25.words(text), bm25.further(text, **fusion.within))
                lexical_BN[at] = scores.scores_N
            yield start, product(block, documents).numpy(), lexical_BN
            progress((start + len(block)) / len(texts))
