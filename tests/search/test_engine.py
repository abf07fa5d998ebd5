import shutil
import threading
import time

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.search.engine import SearchEngine, choose_index


def test_finds_the_document_that_has_the_words(engine):
    results = engine.search("invert a square matrix", 5)
    assert [hit.rank for hit in results.hits] == [1, 2, 3, 4, 5]
    assert all(hit.doc_id.startswith("matrix-") for hit in results.hits)
    assert all(a.score >= b.score for a, b in zip(results.hits, results.hits[1:], strict=False))
    assert results.hits[0].title.startswith("Matrix")


def test_scores_are_the_cosine_of_the_towers(engine):
    from twotower.model.checkpoint import load
    from twotower.model.encoding import encode

    hit = engine.search("compress a folder", 1).hits[0]
    point, texts = load(engine.model.path), (["compress a folder"], [f"{hit.title} {hit.text}"])
    query = encode(point.model, point.tokenizer.encode(texts[0], 32), side="query")
    document = encode(point.model, point.tokenizer.encode(texts[1], 128), side="document")
    assert hit.score == pytest.approx(float((query * document).sum()), abs=1e-5)


def test_random_documents_score_below_the_first_hit(engine):
    results = engine.search("eigenvalues of a matrix", 3)
    assert results.hits[0].doc_id == "lonely"
    assert results.random.mean < results.hits[0].score
    assert results.random.mean <= results.random.highest <= 1.0
    assert results.random.documents == 42  # all but the three hits
    best = engine.search("eigenvalues of a matrix", 45).hits
    rest = [hit.score for hit in best[3:]]
    assert results.random.mean == pytest.approx(np.mean(rest), abs=1e-5)
    assert results.random.highest == pytest.approx(max(rest), abs=1e-5)
    by_chance = np.mean(rest) + np.std(rest) * np.sqrt(2 * np.log(45))
    assert results.random.best_by_chance == pytest.approx(by_chance, abs=1e-5)


def test_without_a_document_beside_the_hits_there_is_no_random_score(engine):
    assert engine.search("matrix", 45).random is None


def test_an_index_that_does_not_name_its_sample_still_gives_a_random_score(engine, monkeypatch):
    monkeypatch.setattr(engine, "sample_rows_S", None)
    assert engine.search("matrix", 3).random.documents == 45


def test_the_sample_s_rows_are_those_of_its_vectors(small, tmp_path, monkeypatch):
    from twotower.index import export

    monkeypatch.setattr(export, "SAMPLE_SIZE", 20)
    config = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
    engine = SearchEngine.open(small.make_run(tmp_path, small.collection(), config))
    assert len(set(engine.sample_rows_S.tolist())) == 20
    _, rows_SK = engine.index.search(engine.sample_SD, 1)
    assert rows_SK[:, 0].tolist() == engine.sample_rows_S.tolist()
    hits = {hit.doc_id for hit in engine.search("matrix", 10).hits}
    sampled = [item.doc_id for item in engine.documents.fetch(engine.sample_rows_S.tolist())]
    assert engine.search("matrix", 10).random.documents == sum(item not in hits for item in sampled) < 20


def test_every_stage_is_timed(engine):
    times = engine.search("sort a list", 3).timings
    stages = (times.tokenise_ms, times.encode_ms, times.search_ms, times.fetch_ms)
    assert min(stages) > 0
    assert times.total_ms == pytest.approx(sum(stages))


def test_more_hits_than_documents(engine):
    hits = engine.search("matrix", 1000).hits
    assert len(hits) == len({hit.doc_id for hit in hits}) == 45


@pytest.mark.parametrize("broken", [chr(0xDCFF), chr(0xD800)])
def test_bytes_that_are_no_text_are_passed_over(engine, broken):
    plain, given = engine.search("invert a matrix", 3), engine.search(f"invert {broken} a matrix", 3)
    assert [hit.doc_id for hit in given.hits] == [hit.doc_id for hit in plain.hits]
    given.query.encode()
    with pytest.raises(UnicodeEncodeError):
        broken.encode()


def test_unknown_words_are_named_and_a_query_of_nothing_else_finds_nothing(engine):
    some = engine.search("matrix xyzzy", 3)
    assert (some.unknown, len(some.hits)) == (["xyzzy"], 3)
    assert "xyzzy" in some.notice
    for query in ("xyzzy plugh", "???"):
        none = engine.search(query, 3)
        assert none.hits == []
        assert "cannot be searched" in none.notice


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        ("", 10, "query is empty"),
        ("  \n", 10, "query is empty"),
        ("matrix", 0, "k=0"),
        ("matrix", True, "k=True"),
        (5, 10, "text=5: a query is one text"),
        (b"matrix", 10, "a query is one text"),
    ],
)
def test_queries_that_make_no_sense_are_named(engine, query, k, message):
    with pytest.raises(UserError, match=message):
        engine.search(query, k)


def test_both_indexes_answer_alike(run_dir):
    answers = [SearchEngine.open(run_dir, name).search("stop a process", 7).hits for name in ("exact", "faiss_flat")]
    np.testing.assert_allclose([h.score for h in answers[0]], [h.score for h in answers[1]], atol=1e-6)


def test_index_that_is_not_there_is_named(run_dir, tmp_path):
    with pytest.raises(UserError, match=r"no index 'faiss_falt'.*Did you mean 'faiss_flat'"):
        SearchEngine.open(run_dir, "faiss_falt")
    with pytest.raises(UserError, match="has no index"):
        choose_index(tmp_path, None)


def test_a_damaged_manifest_among_several_names_the_way_round_it(run_dir, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(run_dir, mine)
    (mine / "index" / "exact" / "manifest.json").write_text("{")
    with pytest.raises(
        UserError, match=r"exact/manifest.json is not valid JSON.*Or choose another.*--index: faiss_flat\."
    ):
        SearchEngine.open(mine)
    assert SearchEngine.open(mine, "faiss_flat").search("matrix", 1).hits


def test_index_of_another_model_or_documents_is_refused(small, run_dir, tmp_path):
    config = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
    other = small.make_run(tmp_path / "other", small.collection(), config, seed=1)
    shutil.rmtree(other / "index")
    shutil.copytree(run_dir / "index", other / "index")
    with pytest.raises(UserError, match="another model"):
        SearchEngine.open(other)
    mine = tmp_path / "mine"
    shutil.copytree(run_dir, mine)
    (mine / "documents.db").unlink()
    with pytest.raises(UserError, match="no document store"):
        SearchEngine.open(mine)


def test_threads_share_an_engine(engine):
    from concurrent.futures import ThreadPoolExecutor

    queries = ["invert a matrix", "stop a process", "split a string"] * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: engine.search(query, 1).hits[0].doc_id.split("-")[0], queries))
    assert found == ["matrix", "process", "string"] * 20


def test_vectors_are_taken_while_nobody_searches(engine, monkeypatch):
    """The map takes them from a thread of its own; an index may write down where they lie."""
    inside, together = [], []

    def watched(call):
        def run(*arguments, **named):
            inside.append(1)
            time.sleep(0.01)
            together.append(len(inside))
            try:
                return call(*arguments, **named)
            finally:
                inside.pop()

        return run

    for name in ("search", "vectors_at"):
        monkeypatch.setattr(engine.index, name, watched(getattr(engine.index, name)))
    calls = [lambda: engine.search("matrix", 3, "dense"), lambda: engine.vectors_at(np.arange(3))]
    threads = [threading.Thread(target=call) for call in calls * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1] * 8
