import json
import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.index.export import export
from twotower.index.faiss.effort import CANDIDATES, Level, candidates_for, read_levels, value_for
from twotower.index.faiss.factory import fit, make, read_file, reserve, search_parameter, sized
from twotower.index.faiss.index import FaissIndex
from twotower.index.faiss.search import rescore
from twotower.index.recall import make_probe, measure

IDS = [""] * 3000


@pytest.mark.parametrize(
    ("factory", "count", "fitted", "notes"),
    [
        ("Flat", 5, "Flat", 0),
        ("IVF1024,Flat", 1_000_000, "IVF1024,Flat", 0),
        ("IVF1024,Flat", 3900, "IVF100,Flat", 1),
        ("IVF1024_HNSW32,SQ8", 390, "IVF10_HNSW32,SQ8", 1),
        ("IVF4096,PQ32", 10, "IVF1,Flat", 2),
        ("IVF4096,PQ32", 200, "IVF5,PQ32x6", 2),
        ("IVF4,PQ32x4fs", 10, "IVF1,Flat", 2),
        ("IVF4,PQ{dim/4}x4fs", 10, "IVF1,Flat", 2),
        ("IVF4,PQ{dim/4}x4fs", 200, "IVF4,PQ{dim/4}x4fs", 0),
        ("OPQ16,IVF4,PQ16x4", 200, "IVF4,PQ16x4", 1),
        ("OPQ16_64,IVF4,PQ16", 300, "OPQ16_64,IVF4,PQ16", 0),
        ("HNSW32_PQ16", 300_000, "HNSW32_PQ16", 0),
    ],
)
def test_factory_is_fitted_to_the_number_of_vectors(factory, count, fitted, notes):
    assert fit(factory, count)[0] == fitted
    assert len(fit(factory, count)[1]) == notes


@pytest.mark.parametrize(
    "factory", ["SQ8", "PQ16x4", "IVF64,SQ8", "OPQ8,IVF16,PQ8x4", "PCA16,HNSW16", "IVF64_HNSW16,Flat", "IVF4096,PQ8"]
)
@pytest.mark.parametrize("count", [2, 40, 3000])
def test_any_factory_string_builds_at_any_size(factory, count, vectors, tmp_path):
    index = FaissIndex(factory=factory, rerank=50)
    probe = make_probe(vectors[:count], size=20)
    if factory.startswith("PCA") and count < 16:
        with pytest.raises(UserError, match="cannot be trained on"):
            index.build(vectors[:count], IDS[:count], tmp_path, probe=probe)
        return
    index.build(vectors[:count], IDS[:count], tmp_path, probe=probe)
    scores, rows = index.search(vectors[:5], 3)
    found = rows >= 0
    expected = np.einsum("qd,qkd->qk", vectors[: len(rows)], vectors[rows])
    np.testing.assert_allclose(scores[found], expected[found], atol=1e-5)


def test_a_share_of_the_width_stands_for_a_number():
    assert [sized("IVF8,PQ{dim/4}x4fs", dim) for dim in (512, 50, 7)] == [
        "IVF8,PQ128x4fs", "IVF8,PQ10x4fs", "IVF8,PQ1x4fs"
    ]  # fmt: skip
    assert sized("HNSW32", 512) == "HNSW32"
    for dim in range(1, 70):
        make("IVF8,PQ{dim/4}x4fs", dim, "x")
    with pytest.raises(UserError, match=r"factory=IVF8,PQ\{dim\}: FAISS says"):
        make("IVF8,PQ{dim}", 32, "x")


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("HNWS32", "could not parse"),
        ("IVF64,PQ7", "PQ8, PQ16, PQ32"),
        ("IDMap,Flat", "leave IDMap out"),
        ("LSH", "FAISS says"),
        ("", "FAISS says"),
    ],
)
def test_factory_that_cannot_work_fails_before_training(factory, says):
    with pytest.raises(UserError, match=says):
        FaissIndex(name="mine", factory=factory).check(dim=32)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nprobe", 0),
        ("ef_search", -1),
        ("ef_construction", 0),
        ("target_recall", 1.5),
        ("rerank", -1),
        ("train_size", 0),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    with pytest.raises(UserError, match=rf"index\.mine\.{key}={value}"):
        FaissIndex(name="mine", **{key: value})


def test_lists_visited_are_never_left_at_one(vectors, tmp_path):
    for number, probe in enumerate((None, make_probe(vectors))):
        folder = tmp_path / str(number)
        folder.mkdir()
        index = FaissIndex(factory="IVF64,Flat")
        index.build(vectors, IDS, folder, probe=probe)
        assert index.describe()["settings"]["nprobe"] > 1
        assert measure(index, vectors, make_probe(vectors)) > 0.9


def test_tuning_visits_only_as_many_lists_as_the_target_needs(vectors, queries, tmp_path):
    values = []
    for target in (0.3, 0.999):
        folder = tmp_path / str(target)
        folder.mkdir()
        index = FaissIndex(factory="IVF64,Flat", target_recall=target)
        index.build(vectors, IDS, folder, probe=make_probe(vectors, queries))
        values.append(index.describe()["settings"]["nprobe"])
    assert values[0] < values[1]


def test_fixed_settings_are_kept(vectors, tmp_path):
    index = FaissIndex(factory="HNSW16", ef_search=77)
    index.build(vectors, IDS, tmp_path, probe=make_probe(vectors))
    again = FaissIndex(factory="HNSW16")
    again.load(tmp_path)
    assert again.describe()["settings"] == {"efSearch": 77}
    assert again._index.hnsw.efSearch == 77


def test_as_many_hits_are_found_as_there_are_documents_to_find(vectors, queries, tmp_path):
    index = FaissIndex(factory="IVF64,Flat", nprobe=1)
    index.build(vectors, IDS, tmp_path)
    scores, rows = index.search(queries, 500)
    assert (rows >= 0).all()
    scores, rows = index.search(queries[:5], 3010)
    assert (np.isneginf(scores) == (rows == -1)).all()
    assert ((rows == -1).sum(axis=1) == 10).all()
    assert all(len(set(row[row >= 0].tolist())) == 3000 for row in rows)


@pytest.mark.parametrize(
    "settings",
    [
        {"factory": "HNSW8", "ef_construction": 40},
        {"factory": "IVF128,PQ12x4", "rerank": 400},
        {"factory": "IVF64,PQ{dim/2}x4fs", "rerank": 600},
    ],
)
def test_effort_grows_with_k_and_the_recall_told_is_that_at_k(settings, tmp_path):
    vectors = np.random.default_rng(3).standard_normal((6000, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    probe = make_probe(vectors, vectors[:60] + 0.2, k=1000, size=60)
    index = FaissIndex(**settings, target_recall=0.9)
    index.build(vectors, [""] * 6000, tmp_path, probe=probe)
    assert [level.k for level in index.levels] == [10, 100, 1000]
    opened = FaissIndex(**settings, target_recall=0.9)
    opened.load(tmp_path)
    for k in (10, 100, 1000):
        assert measure(opened, vectors, probe.at(k)) >= 0.89
    assert (opened.search(probe.query_QD, 1000)[1] >= 0).all()
    assert opened.search(probe.query_QD[:1], 10)[1][0].tolist() == index.search(probe.query_QD[:1], 10)[1][0].tolist()


def test_coarse_codes_score_more_hits_again_where_more_are_asked_for(tmp_path):
    vectors = np.random.default_rng(4).standard_normal((6000, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    probe = make_probe(vectors, vectors[:60] + 0.3, k=1000, size=60)
    settings = {"factory": "IVF64,PQ4x4", "rerank": 400, "target_recall": 0.9}
    index = FaissIndex(**settings)
    index.build(vectors, [""] * 6000, tmp_path, probe=probe)
    first, second, _ = index.levels
    assert first.candidates == CANDIDATES
    assert second.candidates > CANDIDATES
    opened = FaissIndex(**settings)
    opened.load(tmp_path)
    assert opened.levels == index.levels
    assert measure(opened, vectors, probe.at(100)) >= 0.89
    opened.levels = [Level(level.k, level.value) for level in index.levels]  # as indexes from before have them
    assert measure(opened, vectors, probe.at(100)) < 0.89


def test_effort_by_depth():
    levels = [Level(10, 16), Level(100, 40)]
    assert [value_for(levels, k, 4096) for k in (1, 10, 11, 100, 250)] == [16, 16, 40, 40, 100]
    assert value_for(levels, 100_000, 4096) == 4096
    assert read_levels({"value": 32}, "settings.json") == [Level(10, 32)]
    assert read_levels({"levels": [[10, 16], [100, 40, 8]]}, "s") == [Level(10, 16, CANDIDATES), Level(100, 40, 8)]
    assert [candidates_for([Level(10, 1), Level(100, 1, 8)], k) for k in (1, 11, 1000)] == [CANDIDATES, 8, 8]
    assert candidates_for([], 5) == CANDIDATES
    assert read_levels({"value": None}, "settings.json") == []
    for damaged in ({"value": "x"}, {"levels": [[1]]}, [], {"value": -1}, {"levels": [[10, True]]}):
        with pytest.raises(UserError, match=r"settings\.json is damaged"):
            read_levels(damaged, "settings.json")


def test_changes_are_logged_and_kept(vectors, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        index = FaissIndex(name="mine", factory="IVF4096,Flat")
        index.build(vectors, IDS, tmp_path)
    assert "IVF4096 shrunk to IVF76" in caplog.text
    assert "IVF76" in index.describe()["notes"][0]


def test_compressed_index_is_small_and_rerank_makes_scores_exact(vectors, queries, truth, tmp_path):
    index = FaissIndex(factory="IVF16,PQ8x4", rerank=300, nprobe=16)
    index.build(vectors, IDS, tmp_path)
    assert (tmp_path / "index.faiss").stat().st_size < 3000 * 32
    scores, rows = index.search(queries, 1)
    np.testing.assert_allclose(scores[:, 0], np.einsum("qd,qd->q", queries, vectors[rows[:, 0]]), atol=1e-6)
    assert (rows[:, 0] == truth[1][:, 0]).mean() > 0.9


def test_rescore_of_one_query_is_that_of_many(vectors, queries):
    rows = np.random.default_rng(2).integers(-1, len(vectors), (len(queries), 40))
    rows[:, 3] = -1
    many = rescore(queries, rows, vectors)
    for number, query in enumerate(queries):
        hits = rows[number] >= 0
        alone = rescore(query[None], rows[number : number + 1], vectors)
        assert alone.shape == (1, 40)
        np.testing.assert_allclose(alone[0][hits], many[number][hits], atol=1e-6)


def test_rescore_in_parts_equals_in_one_piece(vectors, queries, monkeypatch):
    rows = np.random.default_rng(0).integers(-1, 3000, (50, 30))
    whole = rescore(queries, rows, vectors)
    monkeypatch.setattr("twotower.index.faiss.search.RERANK_BYTES", 1)
    np.testing.assert_allclose(rescore(queries, rows, vectors), whole, atol=1e-6)


def test_training_writes_nothing_to_stderr(vectors, tmp_path, capfd):
    FaissIndex(factory="OPQ8,IVF64,PQ8x4").build(vectors[:500], IDS[:500], tmp_path)
    assert capfd.readouterr().err == ""


def test_index_is_memory_mapped(vectors, tmp_path):
    FaissIndex(factory="HNSW16").build(vectors, IDS, tmp_path)
    loaded = FaissIndex(factory="HNSW16")
    loaded.load(tmp_path)
    assert str(tmp_path / "index.faiss") in Path("/proc/self/maps").read_text()


def test_file_cut_short_is_named(vectors, tmp_path):
    FaissIndex().build(vectors, IDS, tmp_path)
    (tmp_path / "index.faiss").write_bytes((tmp_path / "index.faiss").read_bytes()[:500])
    with pytest.raises(UserError, match="cut short"):
        FaissIndex().load(tmp_path)


@pytest.mark.skipif(faiss.get_num_gpus() > 0, reason="this machine has a GPU")
def test_gpu_index_without_a_gpu_says_so(tmp_path):
    with pytest.raises(UserError, match=r"index\.faiss_gpu needs a GPU"):
        FaissIndex(name="faiss_gpu", gpu=True).check()


@pytest.mark.gpu
@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="needs a GPU and the gpu extra")
@pytest.mark.parametrize("factory", ["Flat", "IVF32,Flat"])
def test_gpu_index_agrees_with_exact(factory, vectors, queries, truth, tmp_path):
    index = FaissIndex(name="faiss_gpu", factory=factory, gpu=True)
    index.build(vectors, IDS, tmp_path, probe=make_probe(vectors, queries))
    assert (index.search(queries, 1)[1][:, 0] == truth[1][:, 0]).mean() > 0.95


def _search_in_child(index, query, answers):
    answers.put(index.search(query, 3)[1].tolist())


def test_forked_child_can_search(vectors, queries, tmp_path):
    """FAISS hangs in a forked child unless its threads are reset there."""
    index = FaissIndex()
    index.build(vectors, IDS, tmp_path)
    expected = index.search(queries, 3)[1].tolist()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_search_in_child, args=(index, queries, answers))
    child.start()
    try:
        assert answers.get(timeout=60) == expected
    finally:
        child.terminate()
        child.join()


def test_search_parameter_is_found_behind_transforms():
    assert search_parameter(make("OPQ8,IVF16,PQ8x4", 32, "x")) == "nprobe"
    assert search_parameter(make("PCA16,HNSW16", 32, "x")) == "efSearch"
    assert search_parameter(make("Flat", 32, "x")) is None


def test_opening_an_index_imports_no_torch(vectors, identity, tmp_path):
    """A search process is up quickly: importing torch takes longer than opening and searching an index of any size."""
    config = {"faiss_hnsw": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "HNSW16"}}
    export(config, vectors, IDS, identity=identity(), run_dir=tmp_path)
    np.save(tmp_path / "q.npy", vectors[:1])
    code = (
        "import sys, json, numpy as np; from pathlib import Path; from twotower.index.export import open_index;"
        "index, _ = open_index(Path(sys.argv[1]) / 'index' / 'faiss_hnsw', json.loads(sys.argv[2]));"
        "print(index.search(np.load(Path(sys.argv[1]) / 'q.npy'), 1)[1][0, 0], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(identity())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["0", "False"]


def test_target_out_of_reach_does_not_visit_everything(vectors, queries, tmp_path):
    index = FaissIndex(factory="IVF64,PQ8x4", rerank=12, target_recall=0.999)
    index.build(vectors, IDS, tmp_path, probe=make_probe(vectors, queries))
    facts = index.describe()
    assert "stays below target_recall=0.999" in facts["notes"][0]
    assert facts["settings"]["nprobe"] < 64
    chosen = measure(index, vectors, make_probe(vectors, queries))
    index._set("nprobe", 64)
    assert chosen >= measure(index, vectors, make_probe(vectors, queries)) - 0.03


def test_a_full_disk_is_told_in_our_words(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("Error in write_index: failed: write error in x: 3 != 9 (No space left on device)")

    monkeypatch.setattr("faiss.write_index", full)
    vectors_ND = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    with pytest.raises(UserError, match=r"Cannot write .*index\.faiss: No space left on device\. Free space"):
        FaissIndex(factory="Flat").build(vectors_ND, [str(row) for row in range(20)], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("factory", ["Flat", "HNSW8"])
def test_vectors_added_block_by_block_stay_where_they_are(factory):
    index = make(factory, 16, "name")
    held = faiss.downcast_index(getattr(index, "storage", index))
    reserve(index, 1000)
    place = int(held.codes.data())
    vectors = np.random.default_rng(0).standard_normal((1000, 16), dtype=np.float32)
    for start in range(0, 1000, 100):
        index.add(vectors[start : start + 100])
    assert index.ntotal == 1000
    assert int(held.codes.data()) == place


@pytest.mark.parametrize("wrap", ["plain", "transformed", "coarse"])
@pytest.mark.parametrize("name", ["index.faiss", "partial.faiss"])
def test_a_foreign_file_reaches_no_other(vectors, tmp_path, wrap, name):
    victim, held = tmp_path / "victim", np.ascontiguousarray(vectors[:100])
    dim = held.shape[1]
    lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, 4, faiss.METRIC_INNER_PRODUCT)
    lists.train(held)
    elsewhere = faiss.OnDiskInvertedLists(4, lists.code_size, str(victim))
    lists.replace_invlists(elsewhere)
    lists.add(held)
    index = lists
    if wrap == "transformed":
        index = faiss.IndexPreTransform(lists)
    if wrap == "coarse":
        index = faiss.IndexIVFFlat(lists, dim, len(held), faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True
    faiss.write_index(index, str(tmp_path / name))
    secret = victim.read_bytes()[::-1]
    victim.write_bytes(secret)
    with pytest.raises(UserError, match="names another file that holds its lists"):
        read_file(tmp_path / name)
    index = FaissIndex(factory="IVF4,Flat")
    use = {
        "index.faiss": lambda: index.load(tmp_path),
        "partial.faiss": lambda: index.build(vectors[:200], IDS[:200], tmp_path),
    }
    with pytest.raises(UserError, match="names another file that holds its lists"):
        use[name]()
    assert victim.read_bytes() == secret
