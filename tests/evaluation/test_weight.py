"""The ranks a weight is fitted on, against ranks read off the fused scores of all documents."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.data.collection import Judgements
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.weight import WEIGHTS, _reciprocal
from twotower.lexical.fusion import Fusion


@pytest.mark.parametrize("kind", ["zscore", "rrf"])
def test_ranks_are_those_of_the_fused_scores(kind):
    generator = np.random.default_rng(0)
    dense_BN = generator.normal(size=(12, 300)).astype(np.float32)
    lexical_BN = np.maximum(0, generator.normal(size=(12, 300)) - 1).astype(np.float32)
    queries = np.repeat(np.arange(1, 11), 3)  # the first and the last have nothing relevant
    relevance = Relevance.of(
        Judgements.of(queries, generator.integers(0, 300, len(queries)), np.ones(len(queries))), np.arange(12)
    )
    made_WB = _reciprocal(*Fusion(kind=kind).sides(dense_BN.copy(), lexical_BN.copy()), relevance)
    for at, weight in enumerate(WEIGHTS):
        fused_BN = Fusion(kind=kind, weight=weight)(dense_BN.copy(), lexical_BN.copy())
        for row in range(12):
            own = relevance.document[relevance.position == row]
            expected = 1 / (1 + (fused_BN[row] > fused_BN[row, own].max()).sum()) if len(own) else 0.0
            assert made_WB[at, row] == pytest.approx(expected)
