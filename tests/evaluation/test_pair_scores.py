"""Scores of relevant and of random pairs, each found again one query at a time."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.evaluation.evaluate import evaluate_vectors
from twotower.evaluation.pair_scores import random_scores, relevant_scores
from twotower.evaluation.pools import Pool, build_pools
from twotower.evaluation.relevance import Relevance


@pytest.fixture
def made(random_collection, unit):
    """A random collection with vectors, its pools and, for each, what is relevant."""
    collection, rows = random_collection(), np.arange(40)
    relevance = Relevance.of(collection.split("dev"), rows)
    pools = build_pools(collection, rows)
    return collection, unit(40), unit(200, seed=1), [(pool, relevance.take(pool.positions)) for pool in pools]


def relevant_of(collection, row: int) -> set[int]:
    judged = collection.split("dev")
    return set(judged.document[(judged.query == row) & (judged.grade > 0)].tolist())


def test_the_best_relevant_document_counts(made):
    collection, query_QD, document_ND, parts = made
    for pool, relevance in parts:
        found = relevant_scores(query_QD[pool.positions], document_ND, relevance)
        for row, score in zip(pool.positions, found, strict=True):
            similar = [float(query_QD[row] @ document_ND[document]) for document in relevant_of(collection, row)]
            assert score == pytest.approx(max(similar), abs=1e-6) if similar else np.isnan(score)


def test_random_documents_are_of_the_pool_never_relevant_and_equally_likely(made):
    collection, query_QD, document_ND, parts = made
    for pool, relevance in parts:
        own_PD = query_QD[pool.positions]
        draws = np.stack([random_scores(own_PD, document_ND, relevance, pool, seed=seed) for seed in range(400)])
        for place, row in enumerate(pool.positions):
            everything = range(200) if pool.candidates is None else set(pool_of(pool, place))
            others = sorted(set(everything) - relevant_of(collection, row))
            similar = document_ND[others] @ query_QD[row]
            if not others:
                assert np.isnan(draws[:, place]).all()
                continue
            nearest = np.abs(draws[:, place, None] - similar).min(axis=1)
            assert nearest.max() < 1e-6
            spread = similar.std() / np.sqrt(400)
            assert abs(draws[:, place].mean() - similar.mean()) < 5 * spread + 0.02


def pool_of(pool, place: int) -> list[int]:
    return pool.candidates[pool.offsets[place] : pool.offsets[place + 1]].tolist()


def test_the_first_and_the_last_document_can_be_drawn():
    document_ND = np.arange(4, dtype=np.float32)[:, None]  # a document's score is its row
    relevance = Relevance.build(np.array([0, 0]), np.array([1, 2]), np.ones(2), 1)
    pool = build_pools_of(4)
    drawn = {
        float(random_scores(np.ones((1, 1), np.float32), document_ND, relevance, pool, seed=seed)[0])
        for seed in range(40)
    }
    assert drawn == {0.0, 3.0}


def build_pools_of(documents: int) -> Pool:
    return Pool(protocol="full", num_documents=documents, positions=np.arange(1), order=np.arange(documents))


def test_a_query_to_which_all_documents_are_relevant_has_no_random_one():
    relevance = Relevance.build(np.array([0, 0]), np.array([0, 1]), np.ones(2), 1)
    found = random_scores(
        np.ones((1, 1), np.float32), np.ones((2, 1), np.float32), relevance, build_pools_of(2), seed=0
    )
    assert np.isnan(found).all()


def test_the_per_query_table_has_both_columns_and_the_seed_decides(made):
    collection, query_QD, document_ND, _ = made
    options = {"collection": collection, "query_rows": np.arange(40), "split": "dev"}
    results = [evaluate_vectors(query_QD, document_ND, seed=seed, **options) for seed in (0, 0, 1)]
    tables = [result.per_query_table().to_pydict() for result in results]
    for name in ("relevant_score", "random_score"):
        assert all(score is None or -1.0001 <= score <= 1.0001 for score in tables[0][name])
        assert tables[0][name] == tables[1][name]
    assert tables[0]["random_score"] != tables[2]["random_score"]
    assert tables[0]["relevant_score"] == tables[2]["relevant_score"]
    for score, many in zip(tables[0]["relevant_score"], tables[0]["num_relevant"], strict=True):
        assert (score is None) == (many == 0)
