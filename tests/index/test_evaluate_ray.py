"""`twotower evaluate --ray`: the figures of one machine, or one clear line. Real nodes: test_shards_ray.py."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fake_ray import Ray
from twotower.cli.evaluate import command
from twotower.core.errors import UserError
from twotower.evaluation.keys import id_order
from twotower.evaluation.ranking import rank_full
from twotower.index.evaluate_ray import rank_hits
from twotower.index.exact.index import ExactIndex
from twotower.index.shards_ray import _index_of, merge
from twotower.index.vectors import normalise
from twotower.model import checkpoint
from twotower.model.shards import Plan, complete, encode_shards
from twotower.runs.find import find_checkpoint

OLD = Path(__file__).resolve().parents[1] / "old_run"
COLLECTION = OLD / "collection"


def evaluate(*arguments, run="mlp"):
    given = ["--run", find_checkpoint(OLD / run), "--data", COLLECTION, "--json", *arguments]
    result = CliRunner().invoke(command, [str(item) for item in given], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def ray(monkeypatch):
    made = Ray()
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


def encoded(folder, run="mlp", **options):
    plan = Plan(**{"source": COLLECTION, "folder": folder, "dtype": "float32", "shard_rows": 40, **options})
    model = checkpoint.load(find_checkpoint(OLD / run))
    complete(model, plan, encode_shards(model, plan))
    return folder


@pytest.mark.parametrize("index", ["exact", "faiss_flat"])
def test_figures_and_ranking_are_one_machines(ray, tmp_path, index):
    alone = evaluate("--trec-run", tmp_path / "alone")
    cluster = ["--ray", "local", "--devices", "2", "--out", tmp_path / "out", "--index", index]
    shared = evaluate(*cluster, "--trec-run", tmp_path / "shared")
    assert shared["evaluation"] == alone["evaluation"]
    assert (tmp_path / "shared").read_text() == (tmp_path / "alone").read_text()
    assert shared["ranked_on_ray"]["shards"] == 16
    assert ray.open == 0


def test_candidates_own_documents_and_copies_are_as_on_one_machine(ray, tmp_path):
    """Three queries that are documents, copies of every document, and candidates for a rerank pool."""
    data = tmp_path / "data"
    shutil.copytree(COLLECTION, data)
    rows = [json.loads(line) for line in (data / "corpus.jsonl").read_text().splitlines()]
    asked = [json.loads(line) for line in (data / "queries.jsonl").read_text().splitlines()]
    judged = [line.split("\t")[:2] for line in (data / "qrels" / "dev.tsv").read_text().splitlines()[1:]]
    texts = {key: f"{row['title']} {row['text']}" for (key, _), row in zip(judged[:6:2], rows, strict=False)}
    asked = [{**row, "text": texts.get(row["_id"], row["text"])} for row in asked]
    copies = [{**row, "_id": f"{'ba'[at % 2]}{row['_id']}"} for at, row in enumerate(rows)]
    for name, lines in (("corpus", rows + copies), ("queries", asked)):
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    pairs = [f"{query}\t{key}\t0" for query, right in judged for key in (right, rows[0]["_id"], copies[1]["_id"])]
    (data / "candidates.tsv").write_text("\n".join(["query-id\tcorpus-id\tlabel", *dict.fromkeys(pairs)]) + "\n")
    alone = evaluate("--data", data)["evaluation"]
    shared = evaluate("--data", data, "--ray", "local", "--devices", "3", "--out", tmp_path / "out")["evaluation"]
    assert shared == alone
    assert alone["rerank"]["num_queries_evaluated"] > 10
    assert alone["full"]["own_documents_left_out"] >= 2


def test_what_is_finished_is_used_again_and_what_was_not_is_done(ray, tmp_path):
    ray.lost = {1}
    cluster = ["--ray", "local", "--devices", "2", "--shard-rows", "20", "--out", tmp_path / "out"]
    with pytest.raises(UserError, match=r"A Ray worker was lost \(The node died\.\); started again, .* is kept"):
        evaluate(*cluster)
    assert ray.open == 0
    half = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    assert len(half) == 3
    ray.lost = {5}  # after two that encode and one that searches
    with pytest.raises(UserError, match="A Ray worker was lost"):
        evaluate(*cluster)
    more = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    assert len(more) == 6 + 3
    assert more.items() >= half.items()
    figures = evaluate(*cluster)["evaluation"]
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    assert whole.items() >= more.items()
    assert figures == evaluate()["evaluation"]
    asked = ray.asked
    evaluate(*cluster)
    assert ray.asked == asked + 2  # nothing is encoded again


def test_given_vectors_are_searched(ray, tmp_path):
    folder = encoded(tmp_path / "vectors")
    shared = evaluate("--ray", "local", "--out", tmp_path / "out", "--vectors", folder)
    assert shared["evaluation"] == evaluate()["evaluation"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["indexes"]
    half = encoded(tmp_path / "half", dtype="float16")
    given = ["--run", find_checkpoint(OLD / "mlp"), "--data", COLLECTION, "--ray", "local", "--out", tmp_path / "16"]
    shown = CliRunner().invoke(command, [str(item) for item in (*given, "--vectors", half)], catch_exceptions=False)
    assert "exact over 3 shards" in shown.output
    assert "rounded to float16" in shown.output


def test_vectors_of_something_else_are_refused(tmp_path):
    given = ["--ray", "local", "--out", tmp_path / "out", "--vectors"]
    with pytest.raises(UserError, match="does not hold a complete set of vectors"):
        evaluate(*given, tmp_path / "absent")
    with pytest.raises(UserError, match=r"vectors of another model \(.*gru"):
        evaluate(*given, encoded(tmp_path / "gru", run="gru"))
    lines = (COLLECTION / "corpus.jsonl").read_text().splitlines()
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(lines[::-1]))
    with pytest.raises(UserError, match=r"of other documents than .*, or in another order: row 0 is"):
        evaluate(*given, encoded(tmp_path / "backwards", source=other))
    other.write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match=r"holds \d+ vectors; .* has \d+"):
        evaluate(*given, encoded(tmp_path / "fewer", source=other))
    rows = [json.loads(line) for line in lines]
    ids = [row["_id"] for row in rows]
    other.write_text("\n".join(json.dumps({**row, "_id": key}) for row, key in zip(rows[::-1], ids, strict=True)))
    with pytest.raises(UserError, match=r"row \d+ is no vector of what .* holds of document"):
        evaluate(*given, encoded(tmp_path / "texts", source=other))
    with pytest.raises(UserError, match="vectors of the side query"):
        evaluate(*given, encoded(tmp_path / "side", source=COLLECTION / "corpus.jsonl", side="query"))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_documents_is_not_gone_on_with(ray, tmp_path):
    evaluate("--ray", "local", "--out", tmp_path / "out")
    data = tmp_path / "data"
    shutil.copytree(COLLECTION, data)
    corpus = (data / "corpus.jsonl").read_text().replace("the", "teh")
    (data / "corpus.jsonl").write_text(corpus)
    with pytest.raises(UserError, match=r"vectors of something else \(source documents-.* instead of documents-"):
        evaluate("--ray", "local", "--out", tmp_path / "out", "--data", data)
    with pytest.raises(UserError, match=r"vectors of something else \(checkpoint"):
        evaluate("--ray", "local", "--out", tmp_path / "out", run="gru")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "2"], "--devices is for an evaluation on a cluster: give --ray ADDRESS too"),
        (["--index", "exact"], "--index is for an evaluation on a cluster"),
        (["--vectors", "DIR"], "--vectors is for an evaluation on a cluster"),
        (["--shard-rows", "9"], "--shard-rows is for an evaluation on a cluster"),
        (["--out", "DIR"], "--out is for an evaluation on a cluster"),
        (["--ray", "auto"], "--ray needs --out DIR, a folder that all machines see"),
        (
            ["--ray", "auto", "--out", "o", "--vectors", "v", "--shard-rows", "9"],
            "in shards already: leave --shard-rows",
        ),
        (["--ray", "auto", "--out", "o", "--devices", "0"], "--devices"),
        (["--ray", "auto", "--out", "o", "--shard-rows", "0"], "--shard-rows"),
        (["--ray", "auto", "--out", "o", "--index", "exat"], "No index=exat; there are: auto, e.*Did you mean 'exact'"),
        (["--ray", "auto", "--out", "o", "--index", "redis"], "index=redis is kept outside the folders of shards"),
        (["--ray", "auto", "--out", "o", "--index", "none"], "names 0 indexes"),
        (["--ray", "auto", "--out", "o", "--split", "dve"], "no split 'dve'.*Did you mean 'dev'"),
        (["--ray", "auto", "--out", "o", "--mteb", "SciFact"], "leave --data.*and --ray out"),
        (["--ray", "auto", "--out", "o"], "--ray needs a package that is not installed: pip install ray"),
    ],
)
def test_what_does_not_go_is_one_line(monkeypatch, tmp_path, arguments, message):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        evaluate(*arguments)
    assert not list(tmp_path.iterdir())


def test_a_tower_that_reads_padding_is_not_cut_into_shards(monkeypatch, tmp_path):
    monkeypatch.setattr("twotower.index.evaluate_ray.reads_padding", lambda tower: True)
    with pytest.raises(UserError, match=r"pooling=pad_step reads padding.*without --ray"):
        evaluate("--ray", "local", "--out", tmp_path / "out")


@pytest.mark.parametrize("copies", [1, 80, 750])
def test_hits_are_ranked_as_all_documents_are(vectors, queries, tmp_path, copies):
    """With 80 copies of each document they go on beyond what is asked for first; copies are told apart by id."""
    documents = np.tile(normalise(vectors[: 3000 // copies]), (copies, 1))
    order = id_order([f"d{row}" for row in range(len(documents))])
    indexes = []
    for start, stop in pairwise([*range(0, len(documents), 700), len(documents)]):
        index = ExactIndex(device="cpu")
        (tmp_path / str(start)).mkdir()
        index.build(documents[start:stop], [f"d{row}" for row in range(start, stop)], tmp_path / str(start))
        indexes.append((start, index))
    widths = []

    def search(query_QD, k):
        widths.append(k)
        answers = [(start, *index.search(query_QD, k)) for start, index in indexes]
        return merge([(scores, np.where(rows >= 0, rows + start, -1)) for start, scores, rows in answers], k)

    asked = normalise(queries)
    expected = rank_full(asked, documents, order=order, k=100)
    ranking = rank_hits(search, asked, documents, order=order, k=100, max_memory=2**31, chunk=None, device=None)
    np.testing.assert_array_equal(ranking.rows, expected.rows)
    np.testing.assert_array_equal(ranking.scores, expected.scores)
    np.testing.assert_array_equal(ranking.pool_size, expected.pool_size)
    assert (len(widths) > 1) == (copies > 1)


def test_an_index_that_gives_fewer_hits_leaves_ranks_empty(vectors, queries):
    rows = np.tile(np.r_[5, 3, np.full(126, -1)], (len(queries), 1))
    hits = np.where(rows >= 0, 0.5, -np.inf), rows
    options = {"order": np.arange(len(vectors)), "k": 100, "max_memory": 2**31}
    ranking = rank_hits(lambda query_QD, k: hits, normalise(queries), normalise(vectors), **options)
    assert ranking.rows.shape == (len(queries), 100)
    assert (ranking.rows[:, 2:] == -1).all()
    assert set(ranking.rows[:, :2].ravel()) == {3, 5}


def test_an_index_of_the_first_numbers_holds_these(vectors, queries, tmp_path):
    """`index.exact.dims` was cut from the queries alone, and every search ended in an error."""
    settings = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu", "dims": 8}}
    ids = [f"d{row}" for row in range(len(vectors))]
    index = _index_of(vectors, ids, {"settings": settings}, tmp_path / "shard-00000")
    expected = rank_full(normalise(queries[:, :8]), normalise(vectors[:, :8]), k=10)
    np.testing.assert_array_equal(index.search(queries, 10)[1], expected.rows)
