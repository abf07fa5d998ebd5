import json
import os
import shutil

import numpy as np
import pytest

from twotower.config.compose import compose
from twotower.core.errors import UserError
from twotower.index.exact.index import ExactIndex
from twotower.index.export import check, export, make_indexes, open_index
from twotower.index.pace import exact_ms

IDS = [f"doc {number}" for number in range(3000)]
EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
FLAT = {"faiss_flat": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "Flat"}}
REDIS = {"redis": {"_target_": "twotower.index.redis.RedisIndex", "algorithm": "FLAT", "index_name": "mine"}}


def write(config, vectors, run_dir, identity, **more):
    return export(config, vectors, IDS[: len(vectors)], identity=identity, run_dir=run_dir, **more)


def test_several_indexes_at_once_with_their_manifests(vectors, queries, identity, redis_url, tmp_path):
    stages = []
    config = {**EXACT, **FLAT, **REDIS}
    made = write(config, vectors, tmp_path, identity(), query_QD=queries, progress=lambda *call: stages.append(call[0]))
    assert sorted(made) == ["exact", "faiss_flat", "redis"]
    for name, facts in made.items():
        assert json.loads((tmp_path / "index" / name / "manifest.json").read_text()) == facts
        assert facts["recall_at_10"] == 1.0
        assert facts["recall_measured_on"] == {"source": "queries", "queries": 50, "depth": 10}
        assert facts["model"]["sha256"] == "a" * 64
        assert (facts["metric"], facts["normalised"], facts["count"], facts["dim"]) == ("cosine", True, 3000, 32)
        assert facts["bytes"] > 3000 * 32 * 4
        index, _ = open_index(tmp_path / "index" / name, identity())
        assert index.search(vectors[9], 1)[1][0, 0] == 9
    assert any(stage.startswith("redis: upload") for stage in stages)


def test_none_builds_nothing(vectors, identity, tmp_path):
    assert write(compose(["none"]), vectors, tmp_path, identity()) == {}
    assert write(None, vectors, tmp_path, identity()) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"checkpoint_sha256": "b" * 64}, "another model"),
        ({"vocabulary_hash": "w"}, "another vocabulary"),
        ({"documents_hash": "e"}, "other documents"),
        ({"count": 2999}, "other documents"),
    ],
)
def test_index_of_something_else_is_refused(change, says, vectors, identity, tmp_path):
    write(EXACT, vectors, tmp_path, identity())
    with pytest.raises(UserError, match=says):
        open_index(tmp_path / "index" / "exact", identity(**change))


def test_changed_files_are_refused_even_at_equal_size(vectors, identity, tmp_path):
    write(EXACT, vectors, tmp_path, identity())
    path = tmp_path / "index" / "exact" / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="changed after it was built"):
        open_index(path.parent, identity())
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match="cut short"):
        open_index(path.parent, identity())
    path.unlink()
    with pytest.raises(UserError, match=r"lacks its file vectors\.npy"):
        open_index(path.parent, identity())


def test_copied_run_still_opens(vectors, identity, tmp_path):
    write(EXACT, vectors, tmp_path / "a", identity())
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy)
    os.utime(tmp_path / "b" / "index" / "exact" / "vectors.npy", (1, 1))
    open_index(tmp_path / "b" / "index" / "exact", identity())


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1}'])
def test_damaged_manifest_is_named(content, vectors, identity, tmp_path):
    write(EXACT, vectors, tmp_path, identity())
    (tmp_path / "index" / "exact" / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        open_index(tmp_path / "index" / "exact", identity())


def test_one_failure_leaves_the_others_and_the_index_before(vectors, identity, redis_url, tmp_path, monkeypatch):
    write({**EXACT, **FLAT, **REDIS}, vectors[:100], tmp_path, identity(100))
    before = (tmp_path / "index" / "exact" / "manifest.json").read_bytes()

    def fail(self, *given, **more):
        raise RuntimeError("boom")

    monkeypatch.setattr(ExactIndex, "build", fail)
    with pytest.raises(UserError, match=r"\[exact\] boom Written: faiss_flat, redis\.") as caught:
        write({**EXACT, **FLAT, **REDIS}, vectors[:200], tmp_path, identity(200))
    assert sorted(caught.value.written) == ["faiss_flat", "redis"]
    assert (tmp_path / "index" / "exact" / "manifest.json").read_bytes() == before
    assert sorted(item.name for item in (tmp_path / "index").iterdir()) == ["exact", "faiss_flat", "redis"]
    assert open_index(tmp_path / "index" / "redis", identity(200))[0].count == 200


def test_a_fault_that_nobody_foresaw_is_logged_with_where_it_arose(vectors, identity, tmp_path, monkeypatch, caplog):
    def fail(self, *given, **more):
        return {}["row"]

    monkeypatch.setattr(ExactIndex, "build", fail)
    with pytest.raises(UserError, match=r"\[exact\] KeyError: 'row' Written: faiss_flat\."):
        write({**EXACT, **FLAT}, vectors[:100], tmp_path, identity(100))
    assert "in fail" in caplog.text
    assert 'return {}["row"]' in caplog.text


def test_what_a_failed_build_leaves_outside_is_said(vectors, identity, tmp_path, monkeypatch, caplog):
    def fail(self, *given, **more):
        raise RuntimeError("boom")

    def away(self):
        raise OSError("the server is away")

    monkeypatch.setattr(ExactIndex, "build", fail)
    monkeypatch.setattr(ExactIndex, "discard", away)
    with pytest.raises(UserError, match=r"\[exact\] boom"):
        write(EXACT, vectors[:100], tmp_path, identity(100))
    assert "index.exact: what it left outside its folder stays there (the server is away)." in caplog.text


def test_failure_after_the_upload_leaves_redis_as_it_was(vectors, identity, redis_url, tmp_path, monkeypatch):
    write(REDIS, vectors[:100], tmp_path, identity(100))
    monkeypatch.setattr("twotower.index.export.measure", lambda *given: 1 / 0)
    with pytest.raises(UserError, match="redis"):
        write(REDIS, vectors[:200], tmp_path, identity(200))
    index, _ = open_index(tmp_path / "index" / "redis", identity(100))
    assert index.count == 100
    monkeypatch.undo()
    monkeypatch.setenv("REDIS_URL", redis_url)
    write(REDIS, vectors[:200], tmp_path, identity(200))


def test_manifest_holds_no_password(vectors, identity, redis_url, tmp_path, monkeypatch):
    url = redis_url.replace("unix://", "unix://:s3cret@")
    import redis

    client = redis.Redis.from_url(redis_url)
    client.execute_command("ACL", "SETUSER", "default", "on", ">s3cret", "~*", "&*", "+@all")
    try:
        monkeypatch.setenv("REDIS_URL", url)
        write(REDIS, vectors[:10], tmp_path, identity(10))
    finally:
        client.execute_command("ACL", "SETUSER", "default", "nopass")
    text = "".join(path.read_text(errors="replace") for path in (tmp_path / "index" / "redis").iterdir())
    assert "s3cret" not in text


def test_equal_documents_do_not_lower_recall(identity, vectors, tmp_path):
    same = np.repeat(vectors[:100], 30, axis=0)
    assert write(FLAT, same, tmp_path, identity())["faiss_flat"]["recall_at_10"] == 1.0


def test_misspelt_settings_are_named_before_training():
    with pytest.raises(UserError, match=r"index\.faiss_hnsw\.ef_serach.*Did you mean 'ef_search'"):
        make_indexes({"faiss_hnsw": {"_target_": "twotower.index.faiss.FaissIndex", "ef_serach": 3}})
    with pytest.raises(UserError, match="is not an index"):
        make_indexes({"faiss_hnsw": 3})
    with pytest.raises(UserError, match="not allowed"):
        make_indexes({"x": {"_target_": "os.system"}})
    with pytest.raises(UserError, match="PQ8, PQ16"):
        check({"a": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "PQ7"}}, dim=32)


def test_every_choice_composes_and_makes_its_index(redis_url):
    names = ["exact", "faiss_flat", "faiss_gpu", "faiss_hnsw", "faiss_ivfpq", "redis"]
    assert list(make_indexes(compose([*names, "none"]))) == names


@pytest.mark.parametrize("override", ["ef_search=64", "faiss_hnsw.ef_search=64", "index.faiss_hnsw.ef_search=64"])
def test_overrides(override):
    assert compose(["faiss_hnsw"], [override])["faiss_hnsw"]["ef_search"] == 64


@pytest.mark.parametrize(
    ("names", "overrides", "says"),
    [
        (["faiss_hsnw"], [], "Did you mean 'faiss_hnsw'"),
        (["exact"], ["device"], "not key=value"),
        (["exact"], ["faiss_flat.factory=Flat"], "no such setting of exact"),
    ],
)
def test_overrides_that_make_no_sense_are_named(names, overrides, says):
    with pytest.raises(UserError, match=says):
        compose(names, overrides)


def test_the_recall_that_is_told_is_the_one_at_the_depth_asked_for():
    from twotower.index.manifest import recall_line

    facts = {"count": 5000, "recall_at_10": 0.96, "recall_at": {"10": 0.96, "100": 0.95, "1000": 0.91}}
    lines = [recall_line(facts, k) for k in (5, 10, 11, 1000, 2000)]
    assert lines[:4] == ["recall@10 0.960", "recall@10 0.960", "recall@100 0.950", "recall@1000 0.910"]
    assert lines[4] == "recall@1000 0.910, not measured for 2000"
    assert recall_line({"count": 5000, "recall_at_10": 0.96}, 1000) == "recall@10 0.960, not measured for 1000"
    assert recall_line({"count": 8, "recall_at": {"8": 1.0}}, 1000) == "recall@8 1.000"


@pytest.mark.parametrize("base", [EXACT, FLAT])
def test_an_index_may_hold_the_first_numbers_of_every_vector(base, vectors, queries, identity, tmp_path):
    ((name, settings),) = base.items()
    facts = write({name: {**settings, "dims": 8}}, vectors, tmp_path, identity(), query_QD=queries)[name]
    assert facts["dim"] == 8
    assert facts["config"]["dims"] == 8
    assert "first 8 numbers" in facts["notes"][-1]
    index, _ = open_index(tmp_path / "index" / name, identity())
    short_ND = vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True)
    short_QD = queries[:, :8] / np.linalg.norm(queries[:, :8], axis=1, keepdims=True)
    cosines_QN = short_QD @ short_ND.T
    scores_QK, rows_QK = index.search(queries, 10)  # whole queries: the index cuts them
    np.testing.assert_allclose(scores_QK, -np.sort(-cosines_QN, axis=1)[:, :10], atol=1e-5)
    np.testing.assert_allclose(index.cut(queries), short_QD, atol=1e-6)
    true_QN = queries @ vectors.T  # recall is what the cut costs: against the whole vectors
    whole = np.argsort(-true_QN, axis=1)[:, :10]
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows_QK.tolist(), whole.tolist(), strict=True)])
    assert facts["recall_at_10"] == pytest.approx(shared, abs=0.02)
    assert facts["recall_at_10"] < 1


def test_more_numbers_than_the_vectors_have_are_refused_before_training():
    with pytest.raises(UserError, match=r"index\.exact\.dims=64 asks for more than the vectors have: 32 numbers"):
        check({"exact": {**EXACT["exact"], "dims": 64}}, dim=32)


@pytest.mark.parametrize(("spent", "said"), [(1.2, True), (1.0, False)])
def test_an_index_slower_than_none_is_said(vectors, identity, tmp_path, monkeypatch, caplog, spent, said):
    monkeypatch.setattr("twotower.index.export.one_query_ms", lambda index, query_QD: spent)
    monkeypatch.setattr("twotower.index.export.exact_ms", lambda vectors, query_QD: 1.0)
    config = {
        "graph": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "HNSW16"},
        "flat": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "Flat"},
    }
    ids = [f"doc {number}" for number in range(len(vectors))]
    facts = export(config, vectors, ids, identity=identity(), run_dir=tmp_path)
    assert (facts["graph"]["query_ms"], facts["graph"]["exact_ms"]) == (spent, 1.0)
    assert ("slower than comparing everything: 1.20 ms" in " ".join(facts["graph"]["notes"])) is said
    assert ("index.graph: slower than" in caplog.text) is said
    assert "query_ms" not in facts["flat"]


def test_exact_search_is_timed_on_arrays_and_on_shards_alike(vectors):
    class Sliced:
        """Vectors that are no array."""

        shape = vectors.shape

        def __getitem__(self, rows):
            return vectors[rows]

    assert 0 < exact_ms(vectors, vectors[:5]) < 1000
    assert 0 < exact_ms(Sliced(), vectors[:5]) < 1000
