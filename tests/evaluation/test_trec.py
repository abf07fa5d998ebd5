"""Run files as trec_eval reads them."""

from __future__ import annotations

from dataclasses import replace

import ir_measures
import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.evaluation.evaluate import evaluate_means
from twotower.evaluation.pools import build_pools
from twotower.evaluation.settings import EvaluationSettings
from twotower.evaluation.trec import read_run, write_run


@pytest.fixture
def written(random_collection, unit, tmp_path):
    """A ranking full of ties, and its file."""
    collection, rows = random_collection(), np.arange(40)
    document_ND = unit(20, seed=1)[np.arange(200) % 20]
    ranking = build_pools(collection, rows, "full")[0].rank(unit(40), document_ND, k=100, max_memory=2**31)
    write_run(tmp_path / "run.trec", ranking, collection.query_ids, collection.document_ids, tag="my model")
    return collection, ranking, document_ND, tmp_path / "run.trec"


def test_trec_eval_finds_our_figures_in_the_file(written, unit):
    collection, _, document_ND, path = written
    judgements = collection.judgements["dev"]
    qrels = [
        ir_measures.Qrel(collection.query_ids[q], collection.document_ids[d], int(g))
        for q, d, g in zip(judgements.query, judgements.document, judgements.grade, strict=True)
    ]
    measures = {"mrr": "RR", "map": "AP", "recall_100": "R@100", "ndcg_10": "nDCG@10", "ndcg_20": "nDCG@20"}
    parsed = {name: ir_measures.parse_measure(text) for name, text in measures.items()}
    theirs = ir_measures.iter_calc(list(parsed.values()), qrels, ir_measures.read_trec_run(str(path)))
    judged = {collection.query_ids[row] for row in judgements.queries}
    values = {}
    for item in theirs:
        if item.query_id in judged:
            values.setdefault(str(item.measure), []).append(item.value)
    ours = evaluate_means(
        unit(40), document_ND, collection, np.arange(40), "dev", EvaluationSettings(protocols="full")
    )[0]["full"]
    for name, measure in parsed.items():
        assert ours[name] == pytest.approx(np.sum(values[str(measure)]) / len(judged), abs=1e-6)


def test_written_and_read_again(written):
    collection, ranking, _, path = written
    rows, read = read_run(path, collection)
    assert rows.tolist() == list(range(40))
    np.testing.assert_array_equal(read.rows, ranking.rows)
    np.testing.assert_allclose(read.scores, ranking.scores, atol=1e-5)
    first = path.read_text().splitlines()[0].split()
    assert (first[0], first[1], first[3], first[5]) == ("q0", "Q0", "1", "my_model")


def test_an_id_with_a_blank_leaves_no_file(written, tmp_path):
    collection, ranking, _, _ = written
    ids = ["a document", *collection.document_ids[1:]]
    with pytest.raises(UserError, match="'a document'"):
        write_run(tmp_path / "bad.trec", ranking, collection.query_ids, ids)
    assert [path.name for path in tmp_path.iterdir()] == ["run.trec"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("q1 Q0 d1 1 0.5 x\nq1 Q0 d10 2 0.4", "line 2: 5 columns"),
        ("q1 Q0 d1 1 high x", "line 1: 'high' is not a score"),
        ("q1 Q0 d1 1 nan x", "line 1: 'nan' is not a score"),
        ("\nq1 Q0 d11 1 1 x", r"line 2: unknown document id 'd11'\. Did you mean 'd1"),
        ("q9 Q0 d1 1 1 x", "line 1: unknown query id 'q9'"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d2 2 1 x\nq1 Q0 d1 3 0 x", "'d1' for query 'q1' is listed more than once"),
        ("\n", "holds no line"),
    ],
)
def test_malformed_files_are_named_by_line(garden, tmp_path, lines, message):
    (tmp_path / "run.trec").write_text(lines)
    with pytest.raises(UserError, match=message):
        read_run(tmp_path / "run.trec", garden)
    with pytest.raises(UserError, match="Cannot read the run file"):
        read_run(tmp_path / "absent.trec", garden)


def test_an_outside_run_is_ordered_by_score_then_id(garden, tmp_path):
    (tmp_path / "run.trec").write_text("q2 Q0 d2 1 1 x\nq1 Q0 d2 1 .5 x\nq1 Q0 d10 2 .5 x\nq1 Q0 d3 3 .9 x\n")
    rows, ranking = read_run(tmp_path / "run.trec", replace(garden))
    assert rows.tolist() == [0, 1]
    assert ranking.rows.tolist() == [[3, 1, 2], [2, -1, -1]]
