"""Intervals and tests against scipy, against enumeration, and against what they promise."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from twotower.evaluation import statistics
from twotower.evaluation.statistics import bootstrap_interval, holm, paired_bootstrap, randomisation_test


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).beta(0.5, 0.5, 400)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    mine = bootstrap_interval(values, resamples=20_000)
    assert mine.mean == pytest.approx(values.mean())
    assert mine.low == pytest.approx(theirs.low, abs=2e-3)
    assert mine.high == pytest.approx(theirs.high, abs=2e-3)


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    table = rng.random((150, 400))  # 400 experiments of 150 queries, true mean .5
    interval = bootstrap_interval(table, resamples=600)
    covered = ((interval.low <= 0.5) & (interval.high >= 0.5)).mean()
    assert 0.91 <= covered <= 0.98


def test_blocks_and_columns_change_nothing(monkeypatch):
    table = np.random.default_rng(0).random((50, 3))
    whole = bootstrap_interval(table)
    for column in range(3):
        single = bootstrap_interval(table[:, column])
        assert single == pytest.approx(tuple(part[column] for part in whole))
    monkeypatch.setattr(statistics, "_BLOCK_BYTES", 24 * 50 * 7)
    np.testing.assert_allclose(np.array(bootstrap_interval(table)), np.array(whole))


def test_seed_decides_the_draws():
    values = np.random.default_rng(0).random(30)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_pairing_removes_what_queries_have_in_common():
    rng = np.random.default_rng(0)
    first = rng.random(300)
    gap = paired_bootstrap(first + 0.01 + rng.normal(0, 0.01, 300), first)
    assert gap.mean == pytest.approx(0.01, abs=0.003)
    assert 0 < gap.low < gap.high < 0.02


def test_randomisation_counts_every_flip_when_there_are_few():
    first, second = np.array([0.5, 0.9, 0.2, 0.7, 0.4, 0.3]), np.array([0.4, 0.5, 0.3, 0.1, 0.4, 0.2])
    gaps = first - second
    flips = [abs(np.dot(signs, gaps)) for signs in itertools.product([1, -1], repeat=6)]
    expected = np.mean(np.array(flips) >= abs(gaps.sum()) - 1e-12)
    assert randomisation_test(first, second) == pytest.approx(expected)


def test_randomisation_agrees_with_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.random((60, 2)), rng.random((60, 2)) - [0.05, 0.1]
    mine = randomisation_test(first, second, permutations=20_000)
    for column in range(2):
        theirs = stats.permutation_test(
            (first[:, column], second[:, column]),
            lambda one, two: np.mean(one - two),
            permutation_type="samples",
            n_resamples=20_000,
            rng=1,
        ).pvalue
        assert mine[column] == pytest.approx(theirs, abs=0.015)


def test_randomisation_is_right_as_often_as_it_says():
    rng = np.random.default_rng(0)
    first, second = rng.random((40, 1000)), rng.random((40, 1000))
    p = randomisation_test(first, second, permutations=500)
    assert 0.03 <= (p <= 0.05).mean() <= 0.07


def test_no_difference_is_no_evidence():
    assert randomisation_test(np.ones(100), np.ones(100)) == 1.0


def test_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.5]), [1.0, 1.0])
    assert holm([]).tolist() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(np.zeros(0)), "No queries"),
        (lambda: bootstrap_interval(np.array([1.0, np.nan])), "finite"),
        (lambda: bootstrap_interval(np.ones(3), level=95), "level=95"),
        (lambda: paired_bootstrap(np.ones(3), np.ones(4)), "same queries"),
        (lambda: randomisation_test(np.ones(3), np.ones((3, 2))), "same queries"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_needs_no_torch():
    code = "import sys, twotower.evaluation.statistics, twotower.evaluation.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
