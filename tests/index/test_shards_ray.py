"""Encoding, index building by shards and evaluation over two nodes of a Ray cluster, held against one machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data.beir import load as load_beir
from twotower.index.exact.index import ExactIndex
from twotower.index.shards_ray import merge, search_on_ray
from twotower.model import checkpoint
from twotower.model.encoding import encode
from twotower.model.shards import Plan, complete, encode_shards, open_shards
from twotower.model.shards_ray import encode_on_ray
from twotower.runs.find import find_checkpoint

OLD = Path(__file__).resolve().parents[1] / "old_run"
EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}


def test_merged_hits_are_those_of_one_index(vectors, queries, tmp_path):
    answers = []
    for number, start in enumerate(range(0, len(vectors), 300)):
        index, part = ExactIndex(device="cpu"), vectors[start : start + 300]
        (tmp_path / str(number)).mkdir()
        index.build(part, [f"d{row}" for row in range(len(part))], tmp_path / str(number))
        scores, rows = index.search(queries, 10)
        answers.append((scores, np.where(rows >= 0, rows + start, -1)))
    whole = ExactIndex(device="cpu")
    (tmp_path / "whole").mkdir()
    whole.build(vectors, [f"d{row}" for row in range(len(vectors))], tmp_path / "whole")
    expected = whole.search(queries, 10)
    found = merge(answers, 10)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)


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
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    recorded = json.loads((OLD / "mlp" / "run.json").read_text())["evaluation"]["full"]["metrics"]["mrr_10"]["value"]
    relevant = [set(judged.document[(judged.query == row) & judged.positive].tolist()) for row in judged.queries]
    places = [[row in good for row in rows] for rows, good in zip(found[1].tolist(), relevant, strict=True)]
    mrr = np.mean([1 / (hits.index(True) + 1) if True in hits else 0 for hits in places])
    assert mrr == pytest.approx(recorded, abs=1e-6)
