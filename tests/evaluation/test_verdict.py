from __future__ import annotations

import numpy as np
import pytest

from twotower.evaluation.verdict import judge, pool_words


def verdict(model, chance, bm25):
    return judge(model, chance, bm25, metric="mrr_10", protocol="full", pool=pool_words("full", 6796))


@pytest.mark.parametrize(
    ("model", "bm25", "label"),
    [
        (0.0, 0.4, "AT CHANCE"),
        (-0.05, 0.4, "AT CHANCE"),
        (0.2, 0.4, "BELOW BM25"),
        (0.4, 0.4, "NOT DISTINGUISHABLE FROM BM25"),
        (0.5, 0.4, "BETTER THAN BM25"),
        (0.5, None, "ABOVE CHANCE"),
    ],
)
def test_labels(model, bm25, label):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3, (2, 900))
    noise -= noise.mean(axis=1, keepdims=True)
    lexical = None if bm25 is None else bm25 + noise[1]
    found = verdict(0.01 + model + noise[0], np.full(900, 0.01), lexical)
    assert found.label == label
    assert found.low <= found.difference <= found.high
    assert label in found.line
    assert found.line.endswith("(full corpus of 6,796)")
    assert "\n" not in found.line
    assert found.to_dict()["metric"] == "mrr_10"


def test_the_users_result_is_called_chance():
    """48 queries, one relevant of eight, best of five random checkpoints: their best figure was .41."""
    rng = np.random.default_rng(0)
    runs = 1 / rng.integers(1, 9, (5, 48))
    best = runs[runs.mean(axis=1).argmax()]
    found = judge(best, np.full(48, 0.3397), None, metric="mrr", protocol="rerank", pool=pool_words("rerank", 8.12))
    assert best.mean() > 0.36
    assert found.label == "AT CHANCE"
    assert found.line.endswith("(rerank, 8.1 candidates a query)")


def test_one_query_proves_nothing_below_itself():
    assert verdict(np.array([1.0]), np.array([1.0]), np.array([1.0])).label == "AT CHANCE"
