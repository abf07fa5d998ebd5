"""Search by words, by vectors, and by both, against plain sums over all documents."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from twotower.config.compose import compose
from twotower.core.errors import UserError
from twotower.data.documents import DocumentStore
from twotower.index.base import Index
from twotower.index.lexical import FOLDER, write_side
from twotower.index.manifest import run_identity
from twotower.index.rebuild import rebuild
from twotower.lexical.bm25 import Bm25
from twotower.lexical.fusion import Fusion
from twotower.lexical.scores import WordScores
from twotower.model import checkpoint
from twotower.model.encoding import encode
from twotower.runs.find import find_checkpoint
from twotower.search.engine import SearchEngine

QUERIES = ["invert a square matrix", "stop the running process", "eigenvalues of a matrix", "compress a folder", "tar"]


def add_side(run_dir, *, kind="zscore", stem="english", weight=2.0, measured=None):
    loaded = checkpoint.load(find_checkpoint(run_dir))
    with DocumentStore(run_dir / "documents.db") as store:
        texts = [f"{item.title} {item.text}" if item.title else item.text for item in store]
        tokens = loaded.tokenizer.encode(texts, loaded.max_document_length)
        vectors = encode(loaded.model, tokens, side="document")
        write_side(
            run_dir, Bm25.build(texts, stem=stem), vectors, fusion=Fusion(kind=kind, weight=weight, stem=stem),
            identity=run_identity(loaded, store), objective="full/mrr_10",
            measured=measured or {"dense": 0.4, "lexical": 0.3, "hybrid": 0.5},
        )  # fmt: skip
    return texts, vectors


@pytest.fixture(params=["exact", "faiss_flat"])
def opened(run_dir, tmp_path, request):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    texts, vectors = add_side(folder)
    return SearchEngine.open(folder, request.param), texts, vectors, folder


@pytest.mark.parametrize("query", QUERIES)
def test_hybrid_scores_are_the_sums_of_z_scores_over_all_documents(opened, query):
    engine, texts, vectors, _ = opened
    results = engine.search(query, 5, "hybrid")
    cosines = vectors.astype(np.float64) @ engine.model.encode(engine.model.tokenizer.read(query)[2])[0]
    lexical = Bm25.build(texts, stem="english").scores([query])[0].astype(np.float64)
    expected = (cosines - cosines.mean()) / cosines.std() + 2 * (lexical - lexical.mean()) / lexical.std()
    ids = [item.doc_id for item in engine.documents]
    np.testing.assert_allclose([hit.score for hit in results.hits], np.sort(expected)[::-1][:5], rtol=1e-4)
    assert [expected[ids.index(hit.doc_id)] for hit in results.hits] == pytest.approx(
        np.sort(expected)[::-1][:5], rel=1e-4
    )
    assert results.mode == "hybrid"
    assert results.random.mean == 0
    assert results.random.best_by_chance == pytest.approx(expected.std() * (2 * np.log(45)) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("query", QUERIES)
def test_lexical_search_ranks_by_bm25_and_gives_only_documents_with_a_word(opened, query):
    engine, texts, _, _ = opened
    scores = Bm25.build(texts, stem="english").scores([query])[0]
    hits = engine.search(query, 45, "lexical").hits
    assert len(hits) == (scores > 0).sum()
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][: len(hits)], rtol=1e-5)


def test_the_mode_that_measured_best_is_the_default(opened, run_dir):
    engine, _, _, folder = opened
    assert engine.mode == engine.search("matrix", 3).mode == "hybrid"
    add_side(folder, measured={"dense": 0.4, "lexical": 0.6, "hybrid": 0.5})
    assert SearchEngine.open(folder).mode == "lexical"
    assert SearchEngine.open(run_dir).mode == "dense"
    with pytest.raises(UserError, match="no lexical index"):
        SearchEngine.open(run_dir).search("matrix", 3, "hybrid")
    with pytest.raises(UserError, match="dense, lexical, hybrid"):
        engine.search("matrix", 3, "both")


def test_whatever_auto_chose_gives_vectors_to_hybrid_search(opened):
    folder = opened[3]
    rebuild(folder, compose(["auto"]))
    engine, exact = SearchEngine.open(folder, "auto"), SearchEngine.open(folder, "exact")
    for query in QUERIES:
        hits = engine.search(query, 1, "hybrid").hits
        assert [hit.doc_id for hit in hits] == [hit.doc_id for hit in exact.search(query, 1, "hybrid").hits]


def test_an_index_that_gives_no_vectors_back_is_searched_by_vectors(opened, monkeypatch):
    engine = opened[0]
    monkeypatch.setattr(type(engine.index), "vectors_at", Index.vectors_at)
    assert engine.mode == engine.search("matrix", 3).mode == "dense"
    assert engine.search("matrix", 3, "lexical").hits
    with pytest.raises(UserError, match="can't give vectors back, which hybrid search needs; use dense or lexical"):
        engine.search("matrix", 3, "hybrid")


def test_reciprocal_ranks(opened):
    folder = opened[3]
    add_side(folder, kind="rrf", weight=1.0)
    engine = SearchEngine.open(folder)
    hits = engine.search("invert a square matrix", 3, "hybrid").hits
    assert hits[0].score == pytest.approx(1 / 61 + 1 / 61, rel=0.05)


def test_words_the_model_never_saw_are_found_by_bm25(opened):
    engine = opened[0]
    text = engine.documents.fetch([44])[0].text
    nothing = engine.search("xyzzy", 3)
    assert nothing.notice.startswith("No document has")
    assert nothing.random is None, "there is nothing to hold against it"
    assert engine.search(text, 1).hits[0].doc_id == "lonely"


def test_a_lexical_index_of_other_documents_is_refused(opened):
    folder = opened[3]
    path = folder / "index" / FOLDER / "lexical.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "documents": {**facts["documents"], "hash": "0" * 64}}))
    with pytest.raises(UserError, match="other documents"):
        SearchEngine.open(folder)
    path.write_text(json.dumps({**facts, "fusion": {**facts["fusion"], "weight": -1}}))
    with pytest.raises(UserError, match=r"lexical\.json: .*weight=-1 .* It is damaged; use --mode dense"):
        SearchEngine.open(folder)
    path.write_text(json.dumps(facts))
    (folder / "index" / FOLDER / "data.csc.index.npy").write_bytes(b"short")
    with pytest.raises(UserError, match="cut short"):
        SearchEngine.open(folder)


@pytest.mark.parametrize("stem", [None, "english"])
def test_the_best_by_words_are_those_of_a_full_sort(stem):
    generator = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(200)])
    rare = 1 / np.arange(1, 201)
    texts = [" ".join(generator.choice(vocabulary, 12, p=rare / rare.sum())) for _ in range(3000)]
    bm25 = Bm25.build(texts, stem=stem)
    words = WordScores(bm25)
    for number in range(30):
        query = " ".join(generator.choice(vocabulary, 1 + number % 5))
        words.read(bm25.words(query))
        full = bm25.scores([query])[0]
        np.testing.assert_allclose(words.scores_N, full, rtol=1e-5)
        assert words.spread() == pytest.approx((full.mean(), full.std()), rel=1e-4)
        for k in (1, 10, 500, 3000):
            scores, rows = words.best(k)
            order = np.lexsort((np.arange(3000), -words.scores_N))[:k]
            order = order[words.scores_N[order] > 0]
            np.testing.assert_array_equal(rows, order)
            np.testing.assert_array_equal(scores, words.scores_N[order])


def test_words_are_those_of_bm25s():
    import bm25s

    from twotower.text.stem import Stems

    texts = ["The quick foxes don't jump, a2b x Größe naïve_case!", "", "and of the", "running RUNNERS ran"]
    for stem in (None, "english"):
        stemmer = None if stem is None else Stems(stem).all
        reading = {"stopwords": "en", "stemmer": stemmer, "token_pattern": r"\b\w+\b"}
        theirs = bm25s.tokenize(texts, return_ids=False, show_progress=False, **reading)
        assert [Bm25.build(texts, stem=stem).words(text) for text in texts] == theirs


def test_what_ranks_by_words_is_loaded_when_words_are_searched(opened):
    code = (
        "import sys; from twotower.search.engine import SearchEngine; "
        f"engine = SearchEngine.open({str(opened[3])!r}, 'exact'); engine.search('invert a matrix', mode='dense'); "
        "print('bm25s' in sys.modules, 'scipy' in sys.modules); engine.search('invert a matrix', mode='lexical'); "
        "print('bm25s' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]
