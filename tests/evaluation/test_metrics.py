"""Metrics against trec_eval, and the Metric over two real processes."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.evaluation.formulas import query_metrics
from twotower.evaluation.metrics import RetrievalMetrics
from twotower.evaluation.names import METRICS, NDCG_CUTS, RECALL_CUTS
from twotower.evaluation.relevance import Relevance

TREC = {"mrr": "recip_rank", "map": "map", **{f"recall_{k}": f"recall_{k}" for k in RECALL_CUTS}}
TREC |= {f"ndcg_{k}": f"ndcg_cut_{k}" for k in NDCG_CUTS}


def random_case(rng, queries, documents, depth, most_relevant, grades):
    """Rankings without repeats (some cut short) and judgements, of which many are not in the ranking."""
    rows = np.stack([rng.permutation(documents)[:depth] for _ in range(queries)])
    rows[np.arange(rows.shape[1]) >= rng.integers(0, rows.shape[1] + 1, queries)[:, None]] = -1
    counts = rng.integers(0, most_relevant + 1, queries)
    position = np.repeat(np.arange(queries), counts)
    document = np.concatenate([rng.choice(documents, size=count, replace=False) for count in counts])
    return rows, Relevance.build(position, document.astype(int), rng.integers(1, grades + 1, len(position)), queries)


def by_trec_eval(rows, relevance):
    qrel = {str(at): {} for at in range(len(rows))}
    for position, document, grade in zip(relevance.position, relevance.document, relevance.grade, strict=True):
        qrel[str(position)][str(document)] = int(grade)
    run = {
        str(at): {str(row): float(len(ranked) - rank) for rank, row in enumerate(ranked) if row >= 0}
        for at, ranked in enumerate(rows)
    }
    cuts = {"recall." + ",".join(map(str, RECALL_CUTS)), "ndcg_cut." + ",".join(map(str, NDCG_CUTS))}
    found = pytrec_eval.RelevanceEvaluator(qrel, {"map", "recip_rank", *cuts}).evaluate(run)
    return {
        name: np.array([found.get(str(at), {}).get(theirs, 0.0) for at in range(len(rows))])
        for name, theirs in TREC.items()
    }


def ours(rows, relevance):
    parts = relevance.grades_at(rows), relevance.ideal, relevance.num_relevant
    return query_metrics(*(torch.from_numpy(part) for part in parts)).numpy()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    documents=st.integers(1, 150),
    depth=st.sampled_from([1, 5, 30, 100]),
    most_relevant=st.integers(0, 40),
    grades=st.integers(1, 5),
)
def test_equal_to_trec_eval(seed, documents, depth, most_relevant, grades):
    rng = np.random.default_rng(seed)
    rows, relevance = random_case(rng, 12, documents, depth, min(most_relevant, documents), grades)
    values = ours(rows, relevance)
    for name, expected in by_trec_eval(rows, relevance).items():
        np.testing.assert_allclose(values[:, METRICS.index(name)], expected, atol=1e-6, err_msg=name)


def test_mrr_10_looks_at_ten_ranks():
    grades = torch.zeros(2, 100)
    grades[0, 9] = grades[1, 10] = 1
    values = query_metrics(grades, torch.ones(2, 1), torch.ones(2, dtype=torch.long))
    assert values[:, METRICS.index("mrr_10")].tolist() == [0.1, 0.0]
    np.testing.assert_allclose(values[:, METRICS.index("mrr")], [1 / 10, 1 / 11])


def test_the_denominator_counts_relevant_documents_that_were_not_found():
    values = query_metrics(torch.tensor([[1.0, 0.0]]), torch.ones(1, 4), torch.tensor([4]))
    assert values[0, METRICS.index("recall_10")] == 0.25
    assert values[0, METRICS.index("map")] == 0.25


def test_no_rank_and_no_query():
    assert query_metrics(torch.zeros(3, 0), torch.ones(3, 1), torch.ones(3)).abs().sum() == 0
    assert query_metrics(torch.zeros(0, 5), torch.ones(0, 1), torch.ones(0)).shape == (0, len(METRICS))


def feed(metric, rows, relevance, queries):
    part = relevance.take(queries)
    parts = part.grades_at(rows[queries]), part.ideal, part.num_relevant, queries
    metric.update(*(torch.from_numpy(np.asarray(item)) for item in parts))


def test_means_are_over_queries_with_relevance_each_once():
    rows, relevance = random_case(np.random.default_rng(0), 20, 50, 30, 3, 2)
    metric = RetrievalMetrics()
    for queries in ([4, 1, 2], [2, 2, 3], list(range(20))):
        feed(metric, rows, relevance, np.array(queries))
    result = metric.compute()
    judged = relevance.num_relevant > 0
    assert 0 < judged.sum() < 20
    assert (result["num_queries_evaluated"], result["num_queries_with_relevance"]) == (20, judged.sum())
    expected = ours(rows, relevance)
    np.testing.assert_allclose([result[name] for name in METRICS], expected[judged].mean(axis=0))
    queries, values = metric.per_query()
    assert queries.tolist() == list(range(20))
    np.testing.assert_array_equal(values, expected)
    metric.reset()
    assert metric.compute()["num_queries_evaluated"] == 0


def _process(rank, address, shares, seed, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    rows, relevance = random_case(np.random.default_rng(seed), 7, 50, 30, 3, 2)
    metric = RetrievalMetrics()
    for queries in shares[rank]:
        feed(metric, rows, relevance, np.array(queries, dtype=np.int64))
    results[rank] = (metric.compute(), [part.tolist() for part in metric.per_query()])
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "shares",
    [
        ([[0, 2], [4, 6]], [[1, 3], [5, 0]]),  # a distributed sampler pads seven queries to eight by repeating one
        ([[0, 1, 2, 3, 4, 5, 6]], [[6]]),
    ],
)
def test_two_processes_give_the_figures_of_one(shares, tmp_path):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_process, args=(tmp_path / "meet", shares, 3, results), nprocs=2)
        results = dict(results)
    rows, relevance = random_case(np.random.default_rng(3), 7, 50, 30, 3, 2)
    metric = RetrievalMetrics()
    feed(metric, rows, relevance, np.arange(7))
    for rank in (0, 1):
        assert results[rank][0] == metric.compute()
        assert results[rank][1] == [part.tolist() for part in metric.per_query()]
