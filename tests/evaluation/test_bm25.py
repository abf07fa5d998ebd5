"""BM25 against bm25s itself, and against its known figures on real collections."""

from __future__ import annotations

from dataclasses import replace

import bm25s
import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data import beir
from twotower.evaluation.bm25 import bm25_rankings
from twotower.evaluation.measures import MetricSet
from twotower.evaluation.pools import build_pools
from twotower.evaluation.relevance import Relevance
from twotower.evaluation.settings import Bm25Settings, EvaluationSettings
from twotower.lexical.bm25 import Bm25
from twotower.lexical.word_ids import WordIds


@pytest.mark.parametrize("own", [{"k1": 0.9, "b": 0.4}, {"k1": 1.5, "b": 0.75}])
def test_scores_are_those_of_bm25s(random_collection, own):
    collection = random_collection()
    scorer = Bm25.build(collection.document_texts(), **own)
    mine = (scorer.count_words(collection.query_texts) @ scorer.matrix).toarray()
    model, reading = bm25s.BM25(**own), {"stopwords": "en", "token_pattern": r"\b\w+\b", "show_progress": False}
    model.index(bm25s.tokenize(collection.document_texts(), **reading), show_progress=False)
    tokens = bm25s.tokenize(collection.query_texts, return_ids=False, **reading)
    assert mine.max() > 0
    for row, words in zip(mine, tokens, strict=True):
        np.testing.assert_allclose(row, model.get_scores(words), rtol=1e-5)


def test_both_protocols(random_collection, monkeypatch, tmp_path):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    collection, rows = random_collection(), np.arange(5, 35)
    pools = build_pools(collection, rows)
    full, rerank = bm25_rankings(collection, rows, pools, k=20)
    scorer = Bm25.build(collection.document_texts())
    scores = (scorer.count_words(collection.query_texts) @ scorer.matrix).toarray()[5:35]
    ids = np.array(collection.document_ids)
    for at, row in enumerate(scores):
        best = sorted(range(200), key=lambda d, row=row: (-row[d], ids[d]))
        assert full.rows[at][full.rows[at] >= 0].tolist() == [d for d in best[:20] if row[d] > 0]
        pool = pools[1]
        mine = set(pool.candidates[pool.offsets[at] : pool.offsets[at + 1]].tolist())
        assert rerank.rows[at][rerank.rows[at] >= 0].tolist() == [d for d in best if d in mine]


def test_a_second_call_reads_the_cache_and_other_data_does_not(random_collection, monkeypatch, tmp_path):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    collection, rows = random_collection(), np.arange(10)
    first = bm25_rankings(collection, rows, build_pools(collection, rows), k=20)
    built = []
    read = WordIds.read
    monkeypatch.setattr(WordIds, "read", lambda texts: built.append(len(texts)) or read(texts))
    second = bm25_rankings(collection, rows, build_pools(collection, rows), k=20)
    assert not built
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)
    other = replace(collection, texts=["changed", *collection.texts[1:]])
    bm25_rankings(other, rows, build_pools(other, rows), k=20)
    assert built == [200]


@pytest.mark.parametrize("texts", [[""] * 200, ["the and of"] * 200])
def test_texts_without_words(random_collection, texts, monkeypatch, tmp_path):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    collection = replace(random_collection(), texts=texts)
    full, rerank = bm25_rankings(collection, np.arange(40), build_pools(collection, np.arange(40)), k=5)
    assert (full.rows == -1).all()
    assert (rerank.rows[:, 0] >= 0).all()


@pytest.mark.parametrize(("name", "expected"), [("tldr", 0.406), ("squad-mini", 0.798)])
def test_known_figures_of_bm25s_with_its_own_k1_and_b(shared_data, name, expected):
    collection = beir.load(path=shared_data(name))
    rows = np.unique(collection.split("dev").query)
    ranking = bm25_rankings(collection, rows, build_pools(collection, rows, "full"), k=10, k1=1.5, b=0.75)[0]
    measures = MetricSet({}, k=10).measure(ranking, Relevance.of(collection.split("dev"), rows), each_query=False)
    assert measures.means["mrr_10"] == pytest.approx(expected, abs=0.003)


def test_what_true_and_false_stand_for():
    assert EvaluationSettings(bm25=True).bm25 == Bm25Settings(k1=1.5, b=0.75)
    assert EvaluationSettings(bm25=False).bm25 is None
    assert EvaluationSettings(bm25={"k1": 0.9, "b": 0.4}).bm25 == Bm25Settings(k1=0.9, b=0.4)


@pytest.mark.parametrize("wrong", [{"k1": -1}, {"b": 1.5}, {"k": 2}, 3, "yes"])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UserError, match=r"evaluation\.bm25"):
        EvaluationSettings(bm25=wrong)
