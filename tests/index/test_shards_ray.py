"""Encoding, index building by shards and evaluation over two nodes of a Ray cluster, held against one machine."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from twotower.cli.evaluate import command
from twotower.core.errors import UserError
from twotower.data.beir import load as load_beir
from twotower.index.exact.index import ExactIndex
from twotower.index.shards_ray import _search_part, merge, search_on_ray
from twotower.index.vectors import normalise
from twotower.model import checkpoint
from twotower.model.encoding import encode
from twotower.model.shards import Plan, complete, encode_shards, open_shards
from twotower.model.shards_ray import encode_on_ray
from twotower.runs.find import find_checkpoint

OLD = Path(__file__).resolve().parents[1] / "old_run"
EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}


def copied(vectors):
    """Every document four times, in other shards: what ends at rank 10 is a choice among copies."""
    return np.tile(vectors[:750], (4, 1))


def nearly_copied(vectors):
    """As `copied`, but the copies differ by a bit here and there: float32 products can't tell which is better."""
    up = np.random.default_rng(0).random((3000, vectors.shape[1])) < 0.1
    return np.where(up, np.nextafter(copied(vectors), np.float32(2)), copied(vectors)).astype(np.float32)


def of_few_scores(vectors):
    """Signs of eight numbers, so that hundreds of documents share every score."""
    return np.where(np.arange(vectors.shape[1]) < 8, np.sign(vectors), 0).astype(np.float32)


@pytest.mark.parametrize("change", [np.copy, np.float16, copied, nearly_copied, of_few_scores])
@pytest.mark.parametrize("at_once", [50, 1])
def test_merged_hits_are_those_of_one_index_to_the_last_bit(vectors, queries, tmp_path, change, at_once):
    vectors, queries = change(vectors)[:2998], queries if at_once > 1 else queries[:10]

    def hits(first, last):
        index = ExactIndex(device="cpu")
        folder = tmp_path / f"{first}-{last}"
        folder.mkdir()
        index.build(vectors[first:last], [f"d{row}" for row in range(first, last)], folder)
        parts = [index.search(queries[start : start + at_once], 10) for start in range(0, len(queries), at_once)]
        scores, rows = (np.concatenate(side) for side in zip(*parts, strict=True))
        return scores, np.where(rows >= 0, rows + first, -1)

    expected = hits(0, 2998)
    bounds = [*range(0, 2998, 333), 2998]  # the last shard holds one document
    found = merge([hits(first, last) for first, last in pairwise(bounds)], 10)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])
    wide_QN = normalise(queries).astype(np.float64) @ normalise(vectors).astype(np.float64).T
    true_QN = np.minimum(wide_QN.astype(np.float32), 1)
    np.testing.assert_array_equal(found[1], np.argsort(-true_QN, axis=1, kind="stable")[:, :10])


def test_indexes_of_other_vectors_or_settings_are_not_searched(tmp_path):
    """What one task of the cluster does, here in this process."""
    plans = [Plan(source=OLD / "collection", folder=tmp_path / kind, shard_rows=40) for kind in ("mlp", "gru")]
    for plan, kind in zip(plans, ("mlp", "gru"), strict=True):
        model = checkpoint.load(find_checkpoint(OLD / kind))
        complete(model, plan, encode_shards(model, plan))
    queries = [np.concatenate(open_shards(plan.folder)[0]).astype(np.float32)[:5] for plan in plans]
    share = {"k": 3, "out": tmp_path / "indexes", "rank": 0, "tasks": 1}
    first = _search_part(queries[0], vectors=plans[0].folder, settings=EXACT, **share)
    again = _search_part(queries[0], vectors=plans[0].folder, settings=EXACT, **share)
    np.testing.assert_array_equal(first[0], again[0])
    with pytest.raises(UserError, match=r"shard-00000 was made of other vectors or with other settings"):
        _search_part(queries[1], vectors=plans[1].folder, settings=EXACT, **share)
    flat = {"faiss_flat": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "Flat"}}
    with pytest.raises(UserError, match=r"shard-00000 was made of other vectors or with other settings"):
        _search_part(queries[0], vectors=plans[0].folder, settings=flat, **share)
    (tmp_path / "indexes" / "shard-00000" / "done").write_text("exact\n")
    with pytest.raises(UserError, match="choose another out or remove it"):
        _search_part(queries[0], vectors=plans[0].folder, settings=EXACT, **share)


@pytest.mark.slow
def test_two_nodes_encode_index_and_evaluate_as_one_machine_does(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (make ray)")
    from ray.cluster_utils import Cluster

    path, collection = find_checkpoint(OLD / "mlp"), OLD / "collection"
    model, data = checkpoint.load(path), load_beir(collection)
    alone, shared = (
        Plan(source=collection, folder=tmp_path / name, dtype="float32", shard_rows=20) for name in ("alone", "shared")
    )
    complete(model, alone, encode_shards(model, alone))
    judged = data.split("dev")
    texts = [data.query_texts[row] for row in judged.queries]
    query_QD = encode(model.model, model.tokenizer.encode(texts, model.max_query_length), side="query")
    whole = ExactIndex(device="cpu")
    (tmp_path / "whole").mkdir()
    parts, ids = open_shards(alone.folder)
    whole.build(np.concatenate(parts), ids, tmp_path / "whole")
    expected = whole.search(query_QD, 10)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        complete(model, shared, encode_on_ray(path, shared, address=cluster.address, tasks=2))
        options = {"index_config": EXACT, "out": tmp_path / "indexes", "address": cluster.address}
        found = search_on_ray(shared.folder, query_QD, 10, **options)
        again = search_on_ray(shared.folder, query_QD, 10, **options)
        with pytest.raises(UserError, match="names 0 indexes"):
            search_on_ray(shared.folder, query_QD, 10, index_config={}, out=tmp_path / "none")
    finally:
        cluster.shutdown()
    assert len(list((tmp_path / "indexes").glob("shard-*/done"))) == 6
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[1], again[1])
    np.testing.assert_array_equal(found[0], expected[0])
    recorded = json.loads((OLD / "mlp" / "run.json").read_text())["evaluation"]["full"]["metrics"]["mrr_10"]["value"]
    relevant = [set(judged.document[(judged.query == row) & judged.positive].tolist()) for row in judged.queries]
    places = [[row in good for row in rows] for rows, good in zip(found[1].tolist(), relevant, strict=True)]
    mrr = np.mean([1 / (hits.index(True) + 1) if True in hits else 0 for hits in places])
    assert mrr == pytest.approx(recorded, abs=1e-6)


def ranked(path):
    """Query, Q0, document and rank of a TREC run file's lines, and their scores."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [line[:4] for line in lines], np.array([float(line[4]) for line in lines])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_evaluate_on_two_nodes_gives_the_figures_of_one_machine(tmp_path, kind):
    pytest.importorskip("ray", reason="Ray is not installed (make ray)")
    from ray.cluster_utils import Cluster

    def evaluate(name, *further):
        given = ["--run", find_checkpoint(OLD / kind), "--data", OLD / "collection", "--json"]
        given += ["--trec-run", tmp_path / name, *further]
        result = CliRunner().invoke(command, [str(item) for item in given], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    alone = evaluate("alone")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        options = ["--ray", cluster.address, "--devices", "2", "--out", tmp_path / "out"]
        shared = evaluate("shared", *options)
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
        again = evaluate("again", *options)
        given = ["--vectors", tmp_path / "out" / "vectors", "--index", "faiss_flat"]
        flat = evaluate("flat", *options, *given)
    finally:
        cluster.shutdown()
    assert shared["evaluation"] == again["evaluation"] == flat["evaluation"] == alone["evaluation"]
    alone_P4, alone_P = ranked(tmp_path / "alone")
    for name in ("shared", "again", "flat"):
        ranked_P4, scores_P = ranked(tmp_path / name)
        assert ranked_P4 == alone_P4
        # the last bits of a recurrent tower's vectors depend on the batch, which is another in a shard
        np.testing.assert_allclose(scores_P, alone_P, rtol=0, atol=1e-6 if kind == "gru" else 0)
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}.items()
    assert shared["ranked_on_ray"] == {
        "index": "exact",
        "shards": 16,
        "vectors": str(tmp_path / "out" / "vectors"),
        "dtype": "float32",
    }
