from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.evaluation.pools import build_pools
from twotower.evaluation.settings import EvaluationSettings


def test_auto_takes_rerank_where_candidates_exist(garden):
    full, rerank = build_pools(garden, np.array([3, 1, 0]))
    assert (full.protocol, full.mean_size, full.positions.tolist()) == ("full", 5.0, [0, 1, 2])
    assert (rerank.protocol, rerank.mean_size, rerank.positions.tolist()) == ("rerank", 2.5, [1, 2])
    assert rerank.candidates.tolist() == [2, 0, 1, 3, 4]
    assert [pool.protocol for pool in build_pools(garden, np.array([3]))] == ["full"]
    assert [pool.protocol for pool in build_pools(replace(garden, candidates=None), np.arange(4))] == ["full"]


def test_rerank_ranks_only_the_candidates_of_each_query(garden, unit):
    pool = build_pools(garden, np.array([3, 1, 0]), ["rerank"])[0]
    ranking = pool.rank(unit(3), unit(5, seed=1), k=100, max_memory=2**21)
    assert [sorted(row[row >= 0].tolist()) for row in ranking.rows] == [[0, 2], [1, 3, 4]]


@pytest.mark.parametrize(
    ("protocols", "message"),
    [("ful", "Did you mean 'full'"), (["full", "top"], "top is unknown"), ([], "must be auto")],
)
def test_bad_protocols_are_named(protocols, message):
    with pytest.raises(UserError, match=message):
        EvaluationSettings(protocols=protocols)


def test_rerank_without_candidates_is_refused_when_asked_for(garden):
    with pytest.raises(UserError, match="no candidate lists"):
        build_pools(garden, np.array([3]), "rerank")
