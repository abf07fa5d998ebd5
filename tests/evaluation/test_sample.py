"""Documents drawn for the figures of epochs: what is kept, and that figures are those of a smaller collection."""

from __future__ import annotations

import json

import numpy as np

from tests.started import TRAIN, started
from twotower.evaluation.evaluate import evaluate_means
from twotower.evaluation.sample import draw_sample
from twotower.evaluation.settings import EvaluationSettings


def test_all_that_is_judged_or_a_candidate_is_kept(random_collection, unit):
    collection, queries = random_collection(), np.arange(5, 15)
    whole = draw_sample(collection, "dev", queries, documents=200, seed=0)
    assert whole.rows is None
    assert whole.collection is collection
    sample = draw_sample(collection, "dev", queries, documents=150, seed=0)
    assert len(sample.rows) == len(sample.collection.document_ids) == 150
    assert sample.collection.texts == [collection.texts[row] for row in sample.rows]
    judged = collection.split("dev")
    assert np.isin(judged.document[np.isin(judged.query, queries)], sample.rows).all()
    listed = collection.candidates
    assert np.isin(listed.document[np.isin(listed.query, queries)], sample.rows).all()
    again = draw_sample(collection, "dev", queries, documents=150, seed=0)
    np.testing.assert_array_equal(again.rows, sample.rows)
    other = draw_sample(collection, "dev", queries, documents=150, seed=1)
    assert not np.array_equal(other.rows, sample.rows)


def test_figures_are_those_of_ranking_the_sample(random_collection, unit):
    collection, queries = random_collection(), np.arange(5, 15)
    sample = draw_sample(collection, "dev", queries, documents=150, seed=0)
    query_QD, document_ND = unit(10), unit(200, seed=1)
    means, rankings = evaluate_means(
        query_QD, document_ND[sample.rows], sample.collection, queries, "dev", EvaluationSettings()
    )
    scores_QS = query_QD @ document_ND[sample.rows].T
    judged = collection.split("dev")
    reciprocal = []
    for at, query in enumerate(queries):
        relevant = judged.document[(judged.query == query) & (judged.grade > 0)]
        if len(relevant):
            best = scores_QS[at, np.isin(sample.rows, relevant)].max()
            rank = 1 + (scores_QS[at] > best).sum()
            reciprocal.append(1 / rank if rank <= 10 else 0.0)
    assert np.isclose(means["full"]["mrr_10"], np.mean(reciprocal), atol=1e-6)
    assert rankings["full"].rows.max() < 150


def test_a_run_notes_the_sample_and_ends_with_exact_figures(tiny_beir, tmp_path):
    """The last epoch's weights are the best here: its exact figures stand in `evaluation`, the sampled in `history`."""
    command = [
        *(TRAIN, "data=beir", f"data.path={tiny_beir}", "embedding=random"),
        *("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "pretrain=none", "index=none"),
        *("evaluation.hybrid=null", "callbacks.evaluate.max_documents=30", "callbacks.evaluate.max_queries=3"),
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    done = started(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    documents = sum(1 for line in (tiny_beir / "corpus.jsonl").read_text().splitlines() if line)
    assert record["epoch_sample"]["queries"] == 3
    assert 30 <= record["epoch_sample"]["documents"] < documents == record["epoch_sample"]["of"]
    assert record["evaluation"]["full"]["pool"]["mean_size"] == documents
