from __future__ import annotations

import numpy as np

from twotower.core.ragged import runs_of
from twotower.evaluation import relevance as module
from twotower.evaluation.pools import build_pools
from twotower.evaluation.relevance import Relevance


def test_slices_of_repeated_absent_and_unordered_values():
    offsets, index = runs_of(np.array([1, 1, 4, 6, 6, 6]), np.array([6, 5, 1, 6]))
    assert [index[offsets[at] : offsets[at + 1]].tolist() for at in range(4)] == [[3, 4, 5], [], [0, 1], [3, 4, 5]]


def test_of_keeps_relevant_judgements_of_the_chosen_queries(garden):
    found = Relevance.of(garden.judgements["dev"], np.array([3, 0, 2]))
    assert found.num_relevant.tolist() == [1, 2, 0]
    assert found.ideal.tolist() == [[2, 0], [3, 1], [0, 0]]
    assert found.gain.tolist() == [2, 4, 0]


def test_grades_at_equals_looking_up_each_pair(random_collection, monkeypatch):
    collection = random_collection()
    judgements, queries = collection.judgements["dev"], np.arange(40)
    grade = {(q, d): g for q, d, g in zip(judgements.query, judgements.document, judgements.grade, strict=True)}
    rows = np.stack([np.random.default_rng(at).permutation(200)[:60] for at in range(40)])
    rows[:, 50:] = -1
    expected = [[grade.get((q, d), 0) for d in rows[q]] for q in queries]
    assert Relevance.of(judgements, queries).grades_at(rows).tolist() == expected
    monkeypatch.setattr(module, "_BLOCK", 61)
    assert Relevance.of(judgements, queries).grades_at(rows).tolist() == expected


def test_take_equals_building_from_those_queries(random_collection):
    judgements = random_collection().judgements["dev"]
    some = np.array([7, 3, 30])
    one, two = Relevance.of(judgements, np.arange(40)).take(some), Relevance.of(judgements, some)
    for name in vars(one):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_relevant_candidates_are_counted(random_collection):
    collection = random_collection(documents=20)
    pool = build_pools(collection, np.arange(40), "rerank")[0]
    relevance = Relevance.of(collection.judgements["dev"], np.arange(40)).take(pool.positions)
    found, gain = pool.within(relevance)
    rows = np.full((len(pool.positions), int(pool.sizes.max())), -1)
    for at in range(len(rows)):
        mine = pool.candidates[pool.offsets[at] : pool.offsets[at + 1]]
        rows[at, : len(mine)] = mine
    grades = relevance.grades_at(rows)
    assert found.sum() > 0
    np.testing.assert_array_equal(found, (grades > 0).sum(axis=1))
    np.testing.assert_allclose(gain, grades.sum(axis=1))
