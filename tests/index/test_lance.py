"""LanceDB's embedded engine as an index: right answers, one build after the other under an alias, hybrid search."""

from __future__ import annotations

import json

import numpy as np
import pytest

lancedb = pytest.importorskip("lancedb", reason="lancedb isn't installed")

from twotower.core.errors import UserError  # noqa: E402  (after the skip)
from twotower.index.export import export, open_index  # noqa: E402
from twotower.index.lance import LanceIndex, resolve_alias  # noqa: E402
from twotower.index.recall import make_probe, measure  # noqa: E402

IDENTITY = {
    "model": {"checkpoint": "m.pt", "sha256": "a" * 64},
    "vocabulary": {"hash": "v"},
    "documents": {"hash": "d", "count": 0},
}


def config(**settings):
    return {"lance": {"_target_": "twotower.index.lance.LanceIndex", **settings}}


def built(index, vectors, folder, probe=None):
    folder.mkdir(parents=True, exist_ok=True)
    index.build(vectors, [f"d{row}" for row in range(len(vectors))], folder, probe=probe)
    return index


def test_flat_agrees_with_numpy(vectors, queries, truth, tmp_path):
    scores, rows = built(LanceIndex(algorithm="FLAT"), vectors, tmp_path / "i").search(queries, 20)
    np.testing.assert_allclose(scores, truth[0], atol=2e-6)
    close = np.isclose(scores[:, 1:], scores[:, :-1], atol=1e-6).any(axis=1)
    assert (rows[~close] == truth[1][~close]).all()


def test_the_graph_reaches_its_recall_with_true_cosines(vectors, queries, tmp_path):
    probe = make_probe(vectors, queries)
    index = built(LanceIndex(), vectors, tmp_path / "i", probe)
    assert measure(index, vectors, probe.at(10)) >= 0.95
    scores, rows = index.search(queries, 10)
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, vectors[rows]), atol=1e-5)
    chosen = np.array([5, 2, 90])
    np.testing.assert_allclose(index.vectors_at(chosen, lambda: []), vectors[chosen], atol=1e-6)


@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
def test_more_hits_than_documents_come_as_no_document(vectors, queries, tmp_path, algorithm):
    scores, rows = built(LanceIndex(algorithm=algorithm), vectors[:3], tmp_path / "i").search(queries[:2], 5)
    assert (np.sort(rows[:, :3]) == [0, 1, 2]).all()
    assert (rows[:, 3:] == -1).all()
    assert np.isneginf(scores[:, 3:]).all()


def test_a_run_s_table_is_opened_again_and_refused_for_another_model(vectors, queries, tmp_path):
    identity = {**IDENTITY, "documents": {"hash": "d", "count": len(vectors)}}
    ids = [f"d{row}" for row in range(len(vectors))]
    done = export(config(), vectors, ids, identity=identity, run_dir=tmp_path, query_QD=queries)
    assert done["lance"]["recall_at_10"] >= 0.95
    assert done["lance"]["bytes"] > vectors.nbytes
    index, facts = open_index(tmp_path / "index" / "lance", identity)
    assert (index.count, index.ef) == (len(vectors), facts["settings"]["ef_search"])
    with pytest.raises(UserError, match="another model"):
        open_index(tmp_path / "index" / "lance", {**identity, "model": {"checkpoint": "m.pt", "sha256": "b" * 64}})


def test_a_shared_database_goes_from_one_build_to_the_next_by_the_alias(vectors, queries, tmp_path):
    shared = tmp_path / "shared"
    database = lancedb.connect(str(shared))
    tables = []
    for run in ("first", "second"):
        identity = {**IDENTITY, "documents": {"hash": run, "count": len(vectors)}}
        ids = [f"{run}-{row}" for row in range(len(vectors))]
        settings = config(uri=str(shared), index_name="papers", algorithm="FLAT")
        export(settings, vectors, ids, identity=identity, run_dir=tmp_path / run)
        tables.append(resolve_alias(database, "papers"))
        hit = database.open_table(tables[-1]).search(queries[0], vector_column_name="vector").limit(1).to_list()[0]
        assert hit["doc_id"].startswith(run)
    assert tables[0] != tables[1]
    assert [name for name in database.list_tables().tables if name.startswith("papers__")] == [tables[1]]
    with pytest.raises(UserError, match="exported again since"):
        open_index(
            tmp_path / "first" / "index" / "lance", {**IDENTITY, "documents": {"hash": "first", "count": len(vectors)}}
        )


def test_a_build_that_fails_leaves_the_one_before_in_place(vectors, tmp_path):
    shared = str(tmp_path / "shared")
    identity = {**IDENTITY, "documents": {"hash": "d", "count": len(vectors)}}
    ids = [f"d{row}" for row in range(len(vectors))]
    settings = config(uri=shared, index_name="papers", algorithm="FLAT")
    export(settings, vectors, ids, identity=identity, run_dir=tmp_path / "first")
    before = resolve_alias(lancedb.connect(shared), "papers")
    broken = vectors.copy()
    broken[-1, 0] = np.nan
    index = LanceIndex(uri=shared, index_name="papers", algorithm="FLAT")
    (tmp_path / "second").mkdir()
    with pytest.raises(UserError, match="not finite"):
        index.build(broken, ids, tmp_path / "second")
    index.discard()
    database = lancedb.connect(shared)
    assert resolve_alias(database, "papers") == before
    assert [name for name in database.list_tables().tables if name.startswith("papers__")] == [before]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"algorithm": "IVF"}, "algorithm=IVF"),
        ({"m": 0}, "lance.m=0"),
        ({"target_recall": 2}, "target_recall=2"),
        ({"index_name": "a b"}, "index_name=a b"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        LanceIndex(**settings)


def test_a_foreign_file_makes_no_folder_calls_nobody_and_an_alias_is_no_filter(vectors, tmp_path, monkeypatch):
    ids = [f"d{row}" for row in range(len(vectors))]
    identity = {**IDENTITY, "documents": {"hash": "d", "count": len(vectors)}}
    export(config(algorithm="FLAT"), vectors, ids, identity=identity, run_dir=tmp_path)
    file = tmp_path / "index" / "lance" / "lance.json"
    pointer = json.loads(file.read_text())
    for place in (tmp_path / "elsewhere", f"file://{tmp_path}/elsewhere"):
        file.write_text(json.dumps({**pointer, "uri": str(place)}))
        with pytest.raises(UserError, match="There is no LanceDB at"):
            LanceIndex().load(file.parent)
        assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setattr(lancedb, "connect", lambda *_, **__: pytest.fail("it was called"))
    monkeypatch.setenv("LANCEDB_API_KEY", "secret")
    for place in ("s3://bucket/db", "db://database", "https://elsewhere.example/db", "FILE:///tmp"):
        file.write_text(json.dumps({**pointer, "uri": place}))
        with pytest.raises(UserError, match=f"names {place}, to which no index was exported.*LANCEDB_URI={place}"):
            LanceIndex().load(file.parent)
    monkeypatch.undo()
    with pytest.raises(UserError, match="no alias"):
        resolve_alias(lancedb.connect(str(tmp_path / "db")), "x' OR alias != '")
