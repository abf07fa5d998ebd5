import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.index import auto
from twotower.index.auto import AutoIndex
from twotower.index.candidates import candidates
from twotower.index.exact import on_numpy as exact_numpy
from twotower.index.export import export, open_index
from twotower.index.recall import make_probe, measure

IDS = [f"doc {number}" for number in range(3000)]


@pytest.fixture
def slow(monkeypatch):
    """Sets what one query is measured to take, by the kind of index and the vectors in it."""

    def given(**milliseconds):
        def measured(index, query_QD):
            kind = index.kind if index.kind == "exact" else "IVF" if "IVF" in index.factory else "HNSW"
            return milliseconds[kind]

        monkeypatch.setattr(auto, "one_query_ms", measured)
        monkeypatch.setattr(auto, "exact_ms", lambda vectors, query_QD: 3 * milliseconds["exact"])

    return given


def build(vectors, folder, **settings):
    index = AutoIndex(**{"memory_gb": 1.0, "trial_rows": 1000, **settings})
    index.build(vectors, IDS, folder, probe=make_probe(vectors))
    return index


def test_exact_is_taken_while_it_is_quick_enough(vectors, slow, tmp_path):
    slow(exact=2.0)  # on 1000 of 3000 vectors: 6 ms on all
    index = build(vectors, tmp_path, latency_ms=6.1)
    assert index.describe()["settings"]["chosen"] == "exact"
    assert "about 6.00 ms; taken" in " ".join(index.describe()["notes"])


def test_a_graph_is_taken_where_exact_is_too_slow(vectors, slow, tmp_path):
    slow(exact=2.0, HNSW=1.0)
    index = build(vectors, tmp_path, latency_ms=5.9)
    notes = " ".join(index.describe()["notes"])
    assert index.describe()["settings"]["chosen"] == "HNSW16"
    assert "exact: 0.00 GB, about 6.00 ms, too slow" in notes
    assert "within the budgets" in notes


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(1, "6.00"), (2, "3.00"), (4, "2.00"), (64, "2.00")],  # all vectors are work for three threads, the sample for one
)
def test_threads_that_only_all_vectors_are_worth_count(cores, expected, vectors, slow, tmp_path, monkeypatch):
    monkeypatch.setattr(exact_numpy, "WORK_PER_THREAD", 1 + 1000 * 32)
    monkeypatch.setattr(exact_numpy, "thread_count", lambda: cores)
    monkeypatch.setattr("twotower.index.exact.index._gpu_found", lambda: False)
    slow(exact=2.0)
    index = build(vectors, tmp_path, latency_ms=1000)
    assert f"about {expected} ms; taken" in " ".join(index.describe()["notes"])


def test_a_graph_slower_than_exact_is_not_taken(vectors, slow, tmp_path):
    slow(exact=2.0, HNSW=3.0, IVF=4.0)
    index = build(vectors, tmp_path, latency_ms=5.9)
    notes = " ".join(index.describe()["notes"])
    assert "about 7.22 ms, slower than exact" in notes
    assert "Nothing keeps to both budgets; exact, the quickest, is taken." in notes
    assert index.describe()["settings"]["chosen"] == "exact"


def test_a_graph_that_turns_out_slower_gives_way_to_exact(vectors, slow, tmp_path, monkeypatch):
    slow(exact=2.0, HNSW=1.0)
    monkeypatch.setattr(auto, "exact_ms", lambda vectors, query_QD: 0.8)
    index = build(vectors, tmp_path, latency_ms=5.9)
    assert index.describe()["settings"]["chosen"] == "exact"
    assert "Built, HNSW16 takes 1.00 ms a query and exact 0.80: exact is taken." in index.describe()["notes"]
    assert {path.name for path in tmp_path.iterdir()} == {"auto.json", "vectors.npy"}
    opened = AutoIndex()
    opened.load(tmp_path)
    np.testing.assert_array_equal(opened.search(vectors[:20], 1)[1][:, 0], np.arange(20))


def test_a_graph_that_gave_way_leaves_nothing_where_the_build_was_killed_in_between(
    vectors, slow, tmp_path, monkeypatch
):
    slow(exact=2.0, HNSW=1.0)
    monkeypatch.setattr(auto, "exact_ms", lambda vectors, query_QD: 0.8)

    unlink = auto.Path.unlink

    def killed(path, missing_ok=False):
        if path.name == auto.SETTINGS:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(auto.Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        build(vectors, tmp_path, latency_ms=5.9)
    monkeypatch.setattr(auto.Path, "unlink", unlink)
    assert (tmp_path / auto.FAISS_FILE).is_file()
    build(vectors, tmp_path, latency_ms=5.9)
    assert {path.name for path in tmp_path.iterdir()} == {"auto.json", "vectors.npy"}


def test_memory_decides_too(vectors, tmp_path):
    sizes = [item.resident(3000, 32) / 1e9 for item in candidates(3000, 32)]
    index = build(vectors, tmp_path, memory_gb=(sizes[-1] + sorted(sizes)[1]) / 2, latency_ms=1000, trial_rows=3000)
    assert index.describe()["settings"]["chosen"].startswith("IVF")
    assert index.search(vectors[:100], 1)[1][:, 0].tolist() == list(range(100))


def test_budgets_nothing_keeps_to_are_told(vectors, tmp_path, caplog):
    index = build(vectors, tmp_path, memory_gb=1e-6)
    notes = " ".join(index.describe()["notes"])
    assert "Nothing keeps to both budgets" in notes
    assert "Nothing keeps to both budgets" in caplog.text
    assert index.describe()["settings"]["chosen"].startswith("IVF")


def test_what_was_built_is_measured_and_a_miss_is_told(vectors, slow, tmp_path):
    slow(exact=1.0)
    index = build(vectors, tmp_path, latency_ms=4.0)
    assert "recall@10 1.000, 1.00 ms a query; within" in index.describe()["notes"][-1]


@pytest.mark.parametrize("latency_ms", [1000.0, 1e-6])
def test_written_opened_and_searched_as_any_other(latency_ms, vectors, queries, identity, tmp_path):
    settings = {"memory_gb": 1.0, "latency_ms": latency_ms, "trial_rows": 1000}
    config = {"auto": {"_target_": "twotower.index.auto.AutoIndex", **settings}}
    facts = export(config, vectors, IDS, identity=identity(), run_dir=tmp_path, query_QD=queries)["auto"]
    assert facts["notes"][0].startswith("Budgets: 1.0 GB")
    index, _ = open_index(tmp_path / "index" / "auto", identity())
    assert measure(index, vectors, make_probe(vectors, queries)) == pytest.approx(facts["recall_at_10"], abs=1e-6)
    assert index.search(vectors[:50], 3)[0].max() <= 1.0


def test_interrupted_build_keeps_its_choice(vectors, identity, tmp_path, monkeypatch):
    config = {"auto": {"_target_": "twotower.index.auto.AutoIndex", "memory_gb": 1.0, "trial_rows": 1000}}

    def stop(stage, done, total):
        if stage.endswith("write"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(config, vectors, IDS, identity=identity(), run_dir=tmp_path, progress=stop)
    monkeypatch.setattr(AutoIndex, "_choose", lambda *given: pytest.fail("chosen twice"))
    facts = export(config, vectors, IDS, identity=identity(), run_dir=tmp_path)["auto"]
    assert facts["settings"]["chosen"] == "exact"


@pytest.mark.parametrize(
    ("key", "value"), [("memory_gb", 0), ("latency_ms", -1), ("target_recall", 2), ("trial_rows", 10)]
)
def test_settings_out_of_range_are_named(key, value):
    with pytest.raises(UserError, match=rf"index\.auto\.{key}={value}"):
        AutoIndex(**{key: value})


def test_damaged_note_is_named(vectors, tmp_path):
    build(vectors, tmp_path, latency_ms=1000)
    (tmp_path / "auto.json").write_text("[]")
    with pytest.raises(UserError, match="it is a list, not a dict"):
        AutoIndex().load(tmp_path)
    np.load(tmp_path / "vectors.npy")
