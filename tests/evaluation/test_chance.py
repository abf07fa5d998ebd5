"""Expectations against closed forms and against shuffling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.evaluation.chance import RandomOrder
from twotower.evaluation.formulas import expected_metrics, query_metrics
from twotower.evaluation.names import METRICS


def expect(pool, grades_in_pool, missing=(), depth=100):
    ideal = np.sort(np.array([*grades_in_pool, *missing], dtype=float))[::-1][None, :20]
    found, total = len(grades_in_pool), len(grades_in_pool) + len(missing)
    order = RandomOrder(
        np.array([pool]), np.array([found]), np.array([sum(grades_in_pool)]), ideal, np.array([total]), depth=depth
    )
    row = expected_metrics(order)[0]
    return dict(zip(METRICS, row, strict=True))


def test_one_relevant_of_eight():
    figures = expect(8, [1])
    assert figures["mrr"] == pytest.approx(0.3397, abs=5e-5)
    assert figures["recall_1"] == pytest.approx(0.125)
    assert figures["recall_5"] == pytest.approx(0.625)
    assert figures["recall_10"] == pytest.approx(1)
    assert figures["ndcg_10"] == pytest.approx(0.4942, abs=5e-5)


def test_one_relevant_of_many_has_harmonic_forms():
    figures = expect(5000, [1])
    assert figures["mrr_10"] == pytest.approx(sum(1 / rank for rank in range(1, 11)) / 5000)
    assert figures["mrr"] == figures["map"] == pytest.approx(sum(1 / rank for rank in range(1, 101)) / 5000)


@pytest.mark.parametrize(
    ("pool", "grades", "missing", "depth"),
    [
        (8, [1], [], 100),
        (12, [1, 1, 1], [1], 100),
        (40, [3, 1, 2, 1, 1], [3, 3], 100),
        (150, [1] * 30, [], 100),
        (60, [2] * 25, [1], 15),
        (5, [1, 2, 3, 1, 1], [], 100),
        (1, [1], [], 100),
        (4, [], [1], 100),
    ],
)
def test_equal_to_the_mean_over_shuffles(pool, grades, missing, depth):
    count, rng = 40_000, np.random.default_rng(0)
    shuffled = rng.permuted(np.tile([*grades, *[0] * (pool - len(grades))], (count, 1)), axis=1)[:, :depth]
    ideal = np.tile(np.sort([*grades, *missing])[::-1][:20].astype(float), (count, 1))
    total = np.full(count, len(grades) + len(missing))
    values = query_metrics(torch.from_numpy(shuffled), torch.from_numpy(ideal), torch.from_numpy(total)).numpy()
    expected = np.array(list(expect(pool, grades, missing, depth).values()))
    error = values.std(axis=0) / np.sqrt(count)
    assert (np.abs(values.mean(axis=0) - expected) <= 4.5 * error + 1e-12).all()


def test_queries_do_not_influence_each_other():
    pool, found = np.array([8, 100, 8, 0]), np.array([1, 5, 2, 0])
    total = np.array([1, 5, 2, 1])
    together = expected_metrics(RandomOrder(pool, found, found.astype(float), np.ones((4, 1)), total))
    for at in range(4):
        part = slice(at, at + 1)
        one = RandomOrder(pool[part], found[part], found[part].astype(float), np.ones((1, 1)), total[part])
        alone = expected_metrics(one)
        np.testing.assert_allclose(together[at], alone[0])
    assert (together[3] == 0).all()
