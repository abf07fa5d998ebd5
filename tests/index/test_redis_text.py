"""Redis ranks by words itself: its answers against bm25s, the one-call command against redis-py's own builder."""

from __future__ import annotations

import bm25s
import numpy as np
import pytest
import redis
from redis.commands.search.hybrid_query import (
    CombinationMethods,
    CombineResultsMethod,
    HybridPostProcessingConfig,
    HybridQuery,
    HybridSearchQuery,
    HybridVsimQuery,
    VectorSearchMethods,
)

from twotower.core.errors import UserError
from twotower.index.redis.index import RedisIndex
from twotower.index.redis.text import fused, hybrid_command, query_of, read_hybrid, stored

WORDS = np.array([f"word{number}" for number in range(300)])


def texts_of(count, seed=0):
    generator, rare = np.random.default_rng(seed), 1 / np.arange(1, 301)
    return [" ".join(generator.choice(WORDS, generator.integers(5, 20), p=rare / rare.sum())) for _ in range(count)]


def build(vectors, texts, folder, **settings):
    index = RedisIndex(**{"algorithm": "FLAT", "index_name": "mine", **settings})
    index.read_texts(lambda rows: [texts[row] for row in rows])
    folder.mkdir(exist_ok=True)
    index.build(vectors, [f"d{row}" for row in range(len(vectors))], folder)
    return index


def test_words_are_ranked_as_bm25_ranks_them(vectors, redis_url, tmp_path):
    texts = texts_of(400)
    index = build(vectors[:400], texts, tmp_path / "a", language=None, batch_size=64)
    index.publish()
    reference = bm25s.BM25(method="lucene", k1=1.2, b=0.75)  # what Redis computes with
    reference.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
    opened = RedisIndex(index_name="mine")
    opened.load(tmp_path / "a")
    assert opened.holds_text
    for query in ("word5 word40", "word200", "word1 word17 word150"):
        scores_K, rows_K = opened.search_text(query, 10)
        expected_N = reference.get_scores(query.split())
        assert np.all(np.diff(scores_K) <= 0)
        assert np.corrcoef(scores_K, expected_N[rows_K])[0, 1] > 0.95
        best = [row for row in np.argsort(-expected_N)[:10].tolist() if expected_N[row] > 0]
        assert len(rows_K) == len(best)
        assert len(set(rows_K.tolist()) & set(best)) >= 0.8 * len(best)
    assert redis.Redis.from_url(redis_url).hget(f"doc:{index.version}:d7", "text").decode() == texts[7]


def test_stems_stop_words_and_odd_queries(vectors, redis_url, tmp_path):
    texts = [
        "Inverts the matrices",
        "a running process; foo_bar 123",
        "Größe einer Datei",
        "我爱北京天安门",
        "तालिका में पंक्तियाँ",
    ]
    index = build(vectors[:5], texts, tmp_path / "a")
    rows = {
        "invert a matrix": [0],
        "runs": [1],
        "foo_bar": [1],
        "123": [1],
        "größe": [2],
        "北京": [3],
        "पंक्तियाँ": [4],
    }
    for query, expected in rows.items():
        assert index.search_text(query, 5)[1].tolist() == expected, query
    for query in ("the of and", "?!*@{}()|-", "xyzzy"):
        assert not len(index.search_text(query, 5)[1]), query
    plain = build(vectors[:5], texts, tmp_path / "b", language=None, index_name="other")
    assert not len(plain.search_text("invert", 5)[1])
    assert plain.search_text("inverts", 5)[1].tolist() == [0]


def test_both_are_two_queries_fused_by_rank_where_the_server_has_no_such_command(vectors, redis_url, tmp_path):
    texts = texts_of(400)
    index = build(vectors[:400], texts, tmp_path / "a")
    query_D = vectors[3].astype(np.float32)
    scores_K, rows_K = index.search_both("word40 word5", query_D, 10)
    dense, lexical = index.search(query_D, 100)[1][0], index.search_text("word40 word5", 100)[1]
    place = [{int(row): rank for rank, row in enumerate(part, start=1)} for part in (dense, lexical)]
    gains = {row: sum(1 / (60 + part[row]) for part in place if row in part) for row in set().union(*place)}
    best = sorted(gains, key=lambda row: (-np.float32(gains[row]), row))[:10]
    assert rows_K.tolist() == best
    np.testing.assert_allclose(scores_K, [gains[row] for row in best], rtol=1e-5)
    assert index.by_words.in_one_call is False
    np.testing.assert_array_equal(index.search_both("the", query_D, 5)[1], dense[:5])


def test_the_one_call_is_what_redis_py_would_send():
    query_D = np.arange(4, dtype=np.float32)
    ours = hybrid_command("{mine}:1", "@text:(a1|b2)", query_D, 10, 200, 800)
    vector = HybridVsimQuery("@vector", "$query", VectorSearchMethods.KNN, {"K": 200, "EF_RUNTIME": 800})
    theirs = HybridQuery(HybridSearchQuery("@text:(a1|b2)", scorer="BM25STD"), vector).get_args()
    theirs += CombineResultsMethod(CombinationMethods.RRF, CONSTANT=60, WINDOW=200).get_args()
    after = HybridPostProcessingConfig().load("@row", "@__score")
    after.limit(0, 10)
    assert ours[:2] == ["FT.HYBRID", "{mine}:1"]
    assert [str(item) for item in ours[2:-4]] == [str(item) for item in [*theirs, *after.build_args()]]
    assert ours[-4:] == ["PARAMS", 2, "query", query_D.tobytes()]


def test_answers_of_the_one_call_are_read_as_redis_py_reads_them(vectors, redis_url, tmp_path, monkeypatch):
    hits = [[b"row", b"7", b"__score", b"0.03"], [b"__score", b"0.016", b"row", b"2"]]
    answer = [b"total_results", 2, b"results", hits, b"warnings", [], b"execution_time", b"0.4"]
    scores_K, rows_K = read_hybrid(answer)
    assert rows_K.tolist() == [7, 2]
    assert redis.Redis.from_url(redis_url).ft("i")._parse_hybrid_search(answer).results[0]["row"] == b"7"
    index = build(vectors[:20], texts_of(20), tmp_path / "a")
    monkeypatch.setattr(index.by_words, "_one_call", lambda command: answer)
    assert index.search_both("word1", vectors[0], 2)[1].tolist() == [7, 2]
    np.testing.assert_allclose(scores_K, [0.03, 0.016])


def test_fusing_counts_ranks_of_both():
    scores_K, rows_K = fused(np.array([5, 6, 7]), np.array([7, 5]), 3)
    assert rows_K.tolist() == [5, 7, 6]
    np.testing.assert_allclose(scores_K, [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62], rtol=1e-6)


def test_an_index_without_texts_says_so(vectors, redis_url, tmp_path):
    index = build(vectors[:20], texts_of(20), tmp_path / "a", text=False)
    with pytest.raises(UserError, match=r"holds no texts \(index\.redis\.text\)"):
        index.search_text("word1", 3)
    assert not redis.Redis.from_url(redis_url).hexists(f"doc:{index.version}:d0", "text")
    with pytest.raises(UserError, match=r"index\.redis\.language=englisch.*english"):
        RedisIndex(language="englisch")


def test_queries_are_words_alone():
    assert query_of("How do I (invert) a-matrix?") == "@text:(how|do|i|invert|matrix)"
    assert query_of("the of") is None
    assert stored("plain text, as it is.") == "plain text, as it is."
