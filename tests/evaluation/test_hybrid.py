"""Model and BM25 together: the ranking against plain sums, the weight fitted on queries that were not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data.collection import Judgements
from twotower.data.held_out import held_out_queries
from twotower.evaluation.bm25 import bm25_of
from twotower.evaluation.evaluate import evaluate_vectors
from twotower.evaluation.hybrid import Hybrid, hybrid_rankings, make_hybrid
from twotower.evaluation.pools import build_pools
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.settings import Bm25Settings, HybridSettings
from twotower.evaluation.weight import WEIGHTS, choose, fit_weight
from twotower.lexical.fusion import DEFAULT_WEIGHT, Fusion


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))


def unit(count, dim, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def z(scores):
    scores = scores.astype(np.float64)
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def ranks(scores):
    places = np.empty(scores.shape, int)
    np.put_along_axis(places, np.argsort(-scores, axis=1, kind="stable"), np.arange(scores.shape[1])[None], axis=1)
    return places + 1


@pytest.mark.parametrize("kind", ["zscore", "rrf"])
@pytest.mark.parametrize("max_memory", [2**31, 48 * 200 * 3])
def test_both_protocols_rank_by_the_fused_scores(random_collection, kind, max_memory):
    collection, rows = random_collection(), np.arange(5, 35)
    queries, documents = unit(30, 8, 1), unit(200, 8, 2)
    bm25, fusion = bm25_of(collection), Fusion(kind=kind, weight=2.0)
    pools, texts = build_pools(collection, rows), [collection.query_texts[row] for row in rows]
    made = hybrid_rankings(queries, documents, bm25, texts, pools, fusion, k=20, max_memory=max_memory)
    dense, lexical = queries @ documents.T, bm25.scores(texts)
    if kind == "zscore":
        expected = z(dense) + 2 * z(lexical)
    else:
        expected = 1 / (60 + ranks(dense)) + 2 * np.where(lexical > 0, 1 / (60 + ranks(lexical)), 0)
    for at in range(30):
        best = np.sort(expected[at])[::-1][:20]
        np.testing.assert_allclose(made[0].scores[at], best, rtol=2e-3 if kind == "rrf" else 1e-4, atol=1e-5)
        np.testing.assert_allclose(
            expected[at, made[0].rows[at]], best, rtol=2e-3 if kind == "rrf" else 1e-4, atol=1e-5
        )
        own = pools[1].candidates[pools[1].offsets[at] : pools[1].offsets[at + 1]]
        assert set(made[1].rows[at][made[1].rows[at] >= 0]) == set(own)
        best = np.sort(expected[at, own])[::-1]
        np.testing.assert_allclose(expected[at, made[1].rows[at][: len(own)]], best, rtol=2e-3, atol=1e-4)


def fitted(random_collection, good):
    """Fits where one side knows the answers and the other is noise."""
    collection = random_collection()
    rows = np.arange(40)
    bm25, texts = bm25_of(collection), [collection.query_texts[row] for row in rows]
    lexical = bm25.scores(texts)
    documents, queries = unit(200, 64, 2), unit(40, 64, 3)
    target = lexical.argmax(axis=1) if good == "lexical" else np.arange(40)
    if good == "dense":
        queries = documents[target]
    relevance = Relevance.of(Judgements.of(rows, target, np.ones(40)), rows)
    return fit_weight(queries, documents, bm25, texts, relevance, Fusion(), max_memory=2**30)


def test_the_weight_goes_to_the_side_that_knows(random_collection):
    assert fitted(random_collection, "lexical").weight > DEFAULT_WEIGHT
    assert fitted(random_collection, "lexical").fitted_on == 40
    assert fitted(random_collection, "dense").weight <= DEFAULT_WEIGHT


def test_few_queries_and_equal_weights_leave_the_default(random_collection):
    collection = random_collection()
    none = np.zeros(0, np.int64)
    relevance = Relevance.of(collection.split("dev"), none)
    made = fit_weight(unit(0, 8, 0), unit(200, 8, 1), bm25_of(collection), [], relevance, Fusion(), max_memory=2**30)
    assert (made.weight, made.fitted_on) == (DEFAULT_WEIGHT, 0)
    assert "default" in made.note
    assert choose(np.ones((len(WEIGHTS), 50))) == DEFAULT_WEIGHT
    better = np.zeros((len(WEIGHTS), 50))
    better[-1] = 1
    assert choose(better) == WEIGHTS[-1]


def test_the_evaluation_shows_the_hybrid_beside_the_model(random_collection):
    collection, rows = random_collection(), np.arange(5, 35)
    queries, documents = unit(30, 8, 1), unit(200, 8, 2)
    hybrid = Hybrid(bm25=bm25_of(collection), fusion=Fusion(weight=0))  # the model alone
    made = evaluate_vectors(queries, documents, collection, rows, "dev", stem=None, hybrid=hybrid)
    for part in made:
        content = part.to_dict()
        figures = content["metrics"]["mrr_10"]
        assert figures["hybrid"] == pytest.approx(figures["value"], abs=1e-9)
        assert figures["hybrid_low"] <= figures["hybrid"] <= figures["hybrid_high"]
        assert content["hybrid"]["verdict"]["line"].startswith(f"hybrid {part.protocol} MRR@10")
        assert content["bm25"]["variant"] == "plain"
    table = made.per_query_table()
    assert table["hybrid_mrr_10"].to_pylist() == table["mrr_10"].to_pylist()


def test_the_stronger_bm25_is_the_one_shown(random_collection):
    collection, rows = random_collection(), np.arange(5, 35)
    queries, texts = (
        [" ".join(word + ending for word in text.split()) for text in given]
        for given, ending in ((collection.query_texts, "ing"), (collection.texts, "ed"))
    )
    collection = replace(collection, query_texts=queries, texts=texts)
    made = evaluate_vectors(unit(30, 8, 1), unit(200, 8, 2), collection, rows, "dev")
    for part in made:
        told = part.to_dict()["bm25"]
        assert told[told["variant"]] == max(told["plain"], told["stemmed"]) == part.metrics["mrr_10"]["bm25"]


def test_held_out_queries_share_no_document_with_the_others():
    generator = np.random.default_rng(0)
    query = np.repeat(np.arange(2000), 2)
    judgements = Judgements.of(query, generator.integers(0, 3000, 4000) // 3 * 3, np.ones(4000))
    spread = Judgements.of(np.arange(2000), np.arange(2000) // 3, np.ones(2000))
    for given in (judgements, spread):
        kept = held_out_queries(given, 500, seed=1)
        inside = np.isin(given.query, kept)
        assert not set(given.document[inside]) & set(given.document[~inside])
        assert len(kept) <= 100  # 5 %
    assert len(held_out_queries(spread, 500, seed=1)) > 90
    assert list(held_out_queries(spread, 500, seed=1)) == list(held_out_queries(spread, 500, seed=1))
    assert list(held_out_queries(spread, 500, seed=1)) != list(held_out_queries(spread, 500, seed=2))
    assert not len(held_out_queries(spread, 20, seed=1))
    assert not len(held_out_queries(Judgements.of(np.arange(2000), np.zeros(2000), np.ones(2000)), 500, seed=1))


@pytest.mark.parametrize("settings", [{"fusion": "sum", "weight": 1}, {"fusion": "rrf", "weight": -1}, {"wait": 1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(UserError, match="hybrid"):
        HybridSettings.parse(settings)


def test_the_hybrid_takes_the_bm25_that_was_chosen(random_collection):
    collection = random_collection()
    split = next(iter(collection.judgements))
    made = make_hybrid(
        HybridSettings(fusion="zscore", weight=0.5), collection, split, bm25=Bm25Settings(k1=0.9, b=0.4),
        stem="english", held_out=np.zeros(0, np.int64),
        query_QD=unit(0, 8, 0), document_ND=unit(200, 8, 1), max_memory=2**30,
    )  # fmt: skip
    assert made.fusion.weight == 0.5
    assert made.bm25.stem == made.fusion.stem == "english"
    assert (made.bm25.stored.k1, made.bm25.stored.b) == (0.9, 0.4)
    assert (made.fusion.k1, made.fusion.b) == (0.9, 0.4)
