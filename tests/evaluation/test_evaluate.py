"""The whole evaluation of a small collection, each figure worked out a second way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hydra import compose, initialize_config_dir

from twotower.core.errors import UserError
from twotower.evaluation.evaluate import evaluate_means, evaluate_vectors
from twotower.evaluation.names import METRICS
from twotower.evaluation.settings import EvaluationSettings


@pytest.fixture
def vectors(unit):
    """Vectors of four queries and five documents: query at is closest to document at."""
    document_ND = np.eye(5, 8, dtype=np.float32)
    return document_ND[[1, 2, 4, 0]] * 0.9 + document_ND[[0, 1, 3, 3]] * 0.3, document_ND


def evaluate(garden, vectors, rows=(0, 1, 2, 3), **options):
    query_QD, document_ND = vectors
    rows = np.array(rows)
    return evaluate_vectors(query_QD[rows], document_ND, garden, rows, "dev", EvaluationSettings(**options))


def test_full_and_rerank_of_a_garden(garden, vectors):
    result = evaluate(garden, vectors).to_dict()
    assert result["split"] == "dev"
    full, rerank = result["full"], result["rerank"]
    assert full["pool"] == {"kind": "corpus", "mean_size": 5.0}
    assert rerank["pool"] == {"kind": "candidates", "mean_size": 2.0}
    # q1: grades 3, 1 at ranks 1, 2. q2: rank 1. q3: nothing relevant. q4: d1 first, its soil second
    assert (full["num_queries_evaluated"], full["num_queries_with_relevance"]) == (4, 3)
    assert full["metrics"]["mrr_10"]["value"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert full["metrics"]["recall_1"]["value"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert full["metrics"]["ndcg_1"]["value"] == pytest.approx((1 + 1 + 0) / 3)
    # rerank: q1 has d10 but not d1 among its candidates, q4 has no candidates
    assert (rerank["num_queries_evaluated"], rerank["num_queries_with_relevance"]) == (3, 2)
    assert rerank["metrics"]["recall_10"]["value"] == pytest.approx((0.5 + 1) / 2)
    assert rerank["metrics"]["recall_10"]["chance"] == pytest.approx((0.5 + 1) / 2)
    assert rerank["metrics"]["mrr_10"]["chance"] == pytest.approx(((1 + 1 / 2 + 1 / 3) / 3 + 0.75) / 2)
    json.dumps(result, allow_nan=False)


def test_every_figure_has_its_neighbours(random_collection, unit):
    collection, rows = random_collection(), np.arange(40)
    query_QD, document_ND = unit(40), unit(200, seed=1)
    untrained, rankings = evaluate_means(query_QD, document_ND, collection, rows, "dev")
    result = evaluate_vectors(query_QD, document_ND, collection, rows, "dev", untrained=untrained)
    assert set(rankings) == {"full", "rerank"}
    for name, part in result.protocols.items():
        assert list(part.metrics) == list(METRICS)
        for metric, figures in part.metrics.items():
            assert figures["value"] == figures["untrained"] == untrained[name][metric]
            assert figures["low"] <= figures["value"] <= figures["high"]
            assert 0 < figures["chance"] <= 1 + 1e-12
            assert 0 <= figures["bm25"] <= 1
        assert part.verdict.label == "AT CHANCE"  # random vectors are just that
    assert result.means()["full/mrr_10"] == untrained["full"]["mrr_10"]


@pytest.mark.parametrize(("chunk", "max_memory"), [(1, "2GiB"), (33, "2GiB"), (None, "1MiB")])
def test_no_figure_depends_on_chunk_or_memory(random_collection, unit, chunk, max_memory):
    collection, rows = random_collection(), np.arange(40)
    document_ND = unit(20, seed=1)[np.arange(200) % 20]  # every vector ten times
    expected = evaluate_means(unit(40), document_ND, collection, rows, "dev")[0]
    found = evaluate_means(
        unit(40), document_ND, collection, rows, "dev", EvaluationSettings(max_memory=max_memory), chunk=chunk
    )[0]
    assert found == expected


def test_order_of_queries_and_shifted_scores_change_nothing(random_collection, unit):
    collection, rows = random_collection(), np.random.default_rng(0).permutation(40)
    query_QD, document_ND = unit(40), unit(200, seed=1)
    expected = evaluate_means(query_QD, document_ND, collection, np.arange(40), "dev")[0]
    negative = np.hstack([document_ND, np.full((200, 1), -5, np.float32)])  # every score 5 lower, so all below 0
    shifted = np.hstack([query_QD[rows], np.ones((40, 1), np.float32)])
    found = evaluate_means(shifted, negative, collection, rows, "dev")[0]
    for name in expected:
        assert found[name] == pytest.approx(expected[name])


def test_per_query_table_holds_what_the_means_are_made_of(garden, vectors, tmp_path):
    result = evaluate(garden, vectors, rows=(3, 2, 1, 0))
    parquet.write_table(result.per_query_table(), tmp_path / "per_query.parquet")
    table = parquet.read_table(tmp_path / "per_query.parquet").to_pandas()
    assert table.protocol.tolist() == ["full"] * 4 + ["rerank"] * 3
    full = table[table.protocol == "full"].set_index("query_id")
    assert full.loc["q1", "query"] == "how to prune roses"
    assert full.loc["q1", "top_ids"].tolist() == ["d10", "d1", "d2", "d3", "d4"]
    assert full.loc["q1", "top_scores"][0] == pytest.approx(0.9)
    assert full.num_relevant.to_dict() == {"q4": 1, "q3": 0, "q2": 1, "q1": 2}
    ranks = full.first_relevant_rank
    assert (ranks["q1"], ranks["q2"], ranks["q4"]) == (1, 1, 2)
    assert np.isnan(ranks["q3"])
    judged = full[full.num_relevant > 0]
    for name in METRICS:
        assert judged[name].mean() == pytest.approx(result.protocols["full"].metrics[name]["value"])
    for name in ("mrr_10", "ndcg_10"):
        assert judged[f"bm25_{name}"].mean() == pytest.approx(result.protocols["full"].metrics[name]["bm25"])
    rerank = table[table.protocol == "rerank"].set_index("query_id")
    assert rerank.loc["q3", "top_ids"].tolist() == ["d4"]
    assert rerank.pool_size.to_dict() == {"q3": 1, "q2": 2, "q1": 3}


def test_without_bm25(garden, vectors):
    result = evaluate(garden, vectors, bm25=False, protocols="full")
    assert result.protocols["full"].metrics["mrr_10"]["bm25"] is None
    assert result.per_query_table()["bm25_mrr_10"].null_count == 4
    assert "BM25 not computed" in result.protocols["full"].verdict.line


def test_verdict_is_about_the_objective(garden, vectors):
    assert evaluate(garden, vectors, objective="rerank/ndcg_5").protocols["full"].verdict.metric == "ndcg_5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "full/mrr@10"}, r"full/mrr@10 is none of .*Did you mean 'full/mrr_10'"),
        ({"k": 0}, r"evaluation\.k=0"),
        ({"max_memory": "lots"}, r"evaluation\.max_memory=lots"),
        ({"protocols": "reranks"}, "Did you mean 'rerank'"),
    ],
)
def test_bad_settings_are_named(garden, vectors, options, message):
    with pytest.raises(UserError, match=message):
        evaluate(garden, vectors, **options)


def test_nothing_to_measure_is_an_error(garden, vectors):
    with pytest.raises(UserError, match="None of the 1 queries of garden"):
        evaluate(garden, vectors, rows=(2,))
    with pytest.raises(UserError, match="no split 'test'"):
        evaluate_means(vectors[0], vectors[1], garden, np.arange(4), "test")


def test_a_query_given_twice_is_refused(garden, vectors):
    with pytest.raises(ValueError, match="more than once"):
        evaluate(garden, vectors, rows=(0, 0))


def test_ties_follow_document_ids_not_rows(garden, vectors):
    same = np.ones_like(vectors[1])
    result = evaluate(garden, (vectors[0], same))
    backwards = replace(garden, document_ids=garden.document_ids[::-1])
    assert result.per_query_table()["top_ids"][0].as_py() == ["d1", "d10", "d2", "d3", "d4"]
    table = evaluate(backwards, (vectors[0], same)).per_query_table()
    assert table["top_ids"][0].as_py() == ["d1", "d10", "d2", "d3", "d4"]


def test_the_config_group_is_what_the_settings_take(garden, vectors):
    conf = Path(__file__).resolve().parents[2] / "conf"
    with initialize_config_dir(str(conf), version_base=None):
        config = compose("evaluation/default").evaluation
    assert evaluate(garden, vectors, **config).objective == "full/mrr_10"
