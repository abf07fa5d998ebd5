"""A user's own torchmetrics.Metric beside ours: fed with ranks, honest about what was not found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics import Metric
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG, RetrievalPrecision

from twotower.config.trust import UntrustedError, admit
from twotower.core.errors import UserError
from twotower.evaluation.evaluate import evaluate_means, evaluate_vectors
from twotower.evaluation.own_metrics import build_metrics
from twotower.evaluation.report import evaluation_tables
from twotower.evaluation.settings import EvaluationSettings

TORCHMETRICS = {
    "their_mrr": {"_target_": "torchmetrics.retrieval.RetrievalMRR", "top_k": 10},
    "their_recall": {"_target_": "torchmetrics.retrieval.RetrievalRecall", "top_k": 20},
    "their_ndcg": {"_target_": "torchmetrics.retrieval.RetrievalNormalizedDCG", "top_k": 10},
    "precision_10": {"_target_": "torchmetrics.retrieval.RetrievalPrecision", "top_k": 10},
    "success_5": {"_target_": "torchmetrics.retrieval.RetrievalHitRate", "top_k": 5},
}


class Coverage(Metric):
    """Share of the documents that anybody's first ten hold: a figure of the whole ranking, with no value by query."""

    higher_is_better = True

    def __init__(self, documents: int) -> None:
        super().__init__()
        self.documents = documents
        self.add_state("seen", default=torch.zeros(documents), dist_reduce_fx="max")

    def update(self, rows_QK):
        self.seen[rows_QK[:, :10].reshape(-1).clamp(min=0)] = 1

    def compute(self):
        return self.seen.mean()


class FirstRank(Metric):
    """Mean rank of the first relevant document, capped at 101: less is better, and chance is known."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("ranks", default=[], dist_reduce_fx="cat")

    def update(self, grades_QK, query_Q):
        hits = grades_QK > 0
        first = torch.where(hits.any(dim=1), hits.int().argmax(dim=1) + 1, 101)
        self.ranks.append(first[torch.argsort(query_Q)].double())

    def compute(self):
        return torch.cat(self.ranks).mean()

    def per_query(self):
        values = torch.cat(self.ranks)
        return torch.arange(len(values)), values

    def chance(self, order):
        return order.pool_Q / 2


class Unclear(FirstRank):
    """Without chance, and more is better."""

    higher_is_better = True
    chance = None


@pytest.fixture
def vectors(unit):
    return unit(40), unit(200, seed=1)


def both(collection, vectors, metrics, **options):
    given = (*vectors, collection, np.arange(40), "dev")
    settings = EvaluationSettings(metrics=metrics, **options)
    return evaluate_means(*given, settings)[0], evaluate_vectors(*given, settings)


def test_torchmetrics_own_agree_with_ours_where_they_mean_the_same(random_collection, vectors):
    means, result = both(random_collection(), vectors, TORCHMETRICS)
    for protocol, figures in means.items():
        table = result.protocols[protocol].metrics
        for theirs, ours in {"their_mrr": "mrr_10", "their_recall": "recall_20", "their_ndcg": "ndcg_10"}.items():
            assert figures[theirs] == pytest.approx(figures[ours], abs=1e-6)
            for key in ("value", "low", "high", "chance", "bm25"):
                assert table[theirs][key] == pytest.approx(table[ours][key], abs=1e-6), (protocol, theirs, key)
        assert 0 <= table["precision_10"]["low"] < table["precision_10"]["high"]
        assert table["precision_10"]["chance"] > 0
    table = result.per_query_table().to_pandas()
    judged = table[(table.protocol == "full") & (table.num_relevant > 0)]
    assert judged.precision_10.mean() == pytest.approx(means["full"]["precision_10"], abs=1e-6)


def test_scores_below_zero_and_ties_change_nothing(random_collection, vectors):
    query_QD, document_ND = vectors[0], vectors[1][np.arange(200) % 20]  # every vector ten times: ties everywhere
    expected = both(random_collection(), (query_QD, document_ND), TORCHMETRICS)[0]
    negative = np.hstack([document_ND, np.full((200, 1), -5, np.float32)])
    shifted = np.hstack([query_QD, np.ones((40, 1), np.float32)])
    assert both(random_collection(), (shifted, negative), TORCHMETRICS)[0] == expected
    assert expected["full"]["their_mrr"] > 0


def test_what_lies_outside_the_candidates_was_not_found(random_collection, vectors):
    metrics = {"hit": RetrievalHitRate(top_k=50), "ndcg": RetrievalNormalizedDCG(top_k=20)}
    _, result = both(random_collection(), vectors, metrics)
    part = result.protocols["rerank"]
    judged = part.num_relevant > 0
    assert part.metrics["hit"]["value"] == pytest.approx((part.first_rank[judged] > 0).mean())
    assert 0 < part.metrics["hit"]["value"] < 1
    assert part.metrics["ndcg"]["value"] == pytest.approx(part.metrics["ndcg_20"]["value"])


def test_chance_of_precision_and_hit_rate_against_shuffles(random_collection, unit):
    collection = random_collection()
    means, result = both(collection, (unit(40), unit(200, seed=1)), TORCHMETRICS, bm25=False)
    draws = [evaluate_means(unit(40, seed=s), unit(200, seed=s + 99), collection, np.arange(40), "dev",
                            EvaluationSettings(metrics=TORCHMETRICS))[0] for s in range(2, 62)]  # fmt: skip
    for protocol in means:
        for name in ("precision_10", "success_5"):
            values = np.array([draw[protocol][name] for draw in draws])
            error = values.std() / np.sqrt(len(values))
            assert abs(values.mean() - result.protocols[protocol].metrics[name]["chance"]) < 4.5 * error


def test_a_metric_without_values_by_query_is_shown_and_not_judged(random_collection, vectors):
    own = {"coverage": Coverage(200)}
    means, result = both(random_collection(), vectors, own, objective="full/coverage", protocols="full")
    part = result.protocols["full"]
    assert 0 < means["full"]["coverage"] == part.metrics["coverage"]["value"] <= 1
    assert part.metrics["coverage"]["low"] is part.metrics["coverage"]["chance"] is None
    assert part.metrics["coverage"]["bm25"] > 0
    assert part.verdict.metric == "mrr_10"
    assert "coverage has no values by query to judge" in part.verdict.line
    assert result.means()["full/coverage"] == means["full"]["coverage"]
    assert "coverage" in str(evaluation_tables(result)[0].renderables[1].columns[0]._cells)


def test_own_values_by_query_give_interval_chance_and_verdict(random_collection, vectors):
    _, result = both(random_collection(), vectors, {"first": FirstRank()}, protocols="full")
    figures = result.protocols["full"].metrics["first"]
    assert figures["low"] < figures["value"] < figures["high"]
    assert figures["chance"] == 100
    with pytest.raises(UserError, match=r"full/first: less is better in FirstRank"):
        both(random_collection(), vectors, {"first": FirstRank()}, objective="full/first")


def test_unknown_chance_is_said(random_collection, vectors):
    options = {"protocols": "full", "objective": "full/unclear"}
    _, result = both(random_collection(), vectors, {"unclear": Unclear()}, **options)
    assert "chance not known" in result.protocols["full"].verdict.line
    _, result = both(random_collection(), vectors, {"unclear": Unclear()}, bm25=False, **options)
    assert result.protocols["full"].verdict.label == "NOT JUDGED"


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"mrr": {"_target_": "torchmetrics.retrieval.RetrievalMRR"}}, r"evaluation\.metrics\.mrr: the name"),
        ({"query": RetrievalMRR()}, "none of ours"),
        ({"P@10": RetrievalMRR()}, "small letters"),
        ({"mine": {"_target_": "torch.nn.Identity"}}, "Identity is not a torchmetrics.Metric"),
        ({"mine": 3}, "must be a mapping with _target_"),
        ({"mine": RetrievalPrecision(top_k=200)}, r"top_k=200 looks further than the ranking \(evaluation.k=100\)"),
    ],
)
def test_what_can_not_be_used_is_named(metrics, message):
    with pytest.raises(UserError, match=message):
        build_metrics(metrics, k=100)


def test_a_metric_that_fails_is_named(random_collection, vectors):
    with pytest.raises(UserError, match=r"evaluation\.metrics\.coverage can't be computed"):
        both(random_collection(), vectors, {"coverage": Coverage(5)})


def test_a_model_from_elsewhere_may_name_torchmetrics_only():
    admit({"p": TORCHMETRICS["precision_10"]}, source="x.pt", place="evaluation.metrics")
    with pytest.raises(UntrustedError, match="--trust mine"):
        admit({"p": {"_target_": "mine.Metric"}}, source="x.pt", place="evaluation.metrics")
