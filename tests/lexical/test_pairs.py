"""Pairs of neighbouring words: scores against a count by hand, on disk, in search, and what is damaged."""

from __future__ import annotations

from itertools import pairwise

import bm25s
import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.lexical.bm25 import STOP_WORDS, Bm25
from twotower.lexical.scores import WordScores
from twotower.lexical.words import words_of

TEXTS = [
    "Invert a matrix: how to invert a matrix quickly",
    "the matrix of a group, and inverting of signs",
    "matrix matrix invert",
    "nothing here",
    "",
]


def by_hand(texts, query, k1=0.9, b=0.4):
    """BM25 over pairs of neighbouring words of which one at least is no stop word."""

    def pairs(text):
        words = words_of(text)
        return [pair for pair in pairwise(words) if not set(pair) <= STOP_WORDS]

    lengths = np.array([len(words_of(text)) for text in texts])
    scores = np.zeros(len(texts))
    for pair in pairs(query):
        times = np.array([pairs(text).count(pair) for text in texts])
        frequency = (times > 0).sum()
        idf = np.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5)) if frequency else 0.0
        scores += idf * times / (times + k1 * (1 - b + b * lengths / lengths.mean()))
    return scores


@pytest.mark.parametrize(
    "query", ["how do I invert a matrix", "a matrix", "of the", "unknown words", "", "matrix matrix"]
)
def test_pairs_add_their_own_bm25(query):
    bm25 = Bm25.build(TEXTS, pairs=True)
    added = bm25.scores([query], pairs=0.5)[0] - bm25.scores([query])[0]
    np.testing.assert_allclose(added, 0.5 * by_hand(TEXTS, query), atol=1e-5)


def test_stems_pair_as_words_do():
    bm25 = Bm25.build(TEXTS, stem="english", pairs=True)
    same = [bm25.scores([query], pairs=1.0)[0] for query in ("inverted a matrix", "invert a matrix")]
    np.testing.assert_array_equal(*same)
    assert same[0].argmax() == 0


def test_they_come_back_from_disk_and_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    made = Bm25.build(TEXTS, pairs=True)
    made.save(tmp_path / "index")
    opened = [
        Bm25.load(tmp_path / "index", count=len(TEXTS), stem=None),
        Bm25.cached(lambda: TEXTS, "key", pairs=True),
        Bm25.cached(lambda: TEXTS, "key", pairs=True),
    ]
    for item in opened:
        np.testing.assert_array_equal(item.scores(TEXTS, pairs=0.3), made.scores(TEXTS, pairs=0.3))
    alone = Bm25.cached(lambda: TEXTS, "key")
    assert alone.pairs is None
    np.testing.assert_array_equal(alone.scores(TEXTS, pairs=0.3), made.scores(TEXTS))


def test_what_was_opened_is_written_whole_again(tmp_path):
    """A run writes its index from the cache: an index without its words would find nothing."""
    Bm25.build(TEXTS, stem="english", pairs=True).save(tmp_path / "first")
    opened = Bm25.load(tmp_path / "first", count=len(TEXTS), stem="english")
    opened.save(tmp_path / "second")
    again = Bm25.load(tmp_path / "second", count=len(TEXTS), stem="english")
    np.testing.assert_array_equal(again.scores(TEXTS, pairs=0.3), opened.scores(TEXTS, pairs=0.3))
    assert again.scores(TEXTS).max() > 0
    assert bm25s.BM25.load(tmp_path / "second").vocab_dict == opened.stored.words


@pytest.mark.parametrize("damage", ["remove", "cut", "scribble"])
def test_damaged_files_are_one_line(tmp_path, damage):
    Bm25.build(TEXTS, pairs=True).save(tmp_path)
    path = tmp_path / "pairs_rows.npy"
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        np.save(path, np.load(path)[:-1])
    else:
        path.write_bytes(b"not an array")
    with pytest.raises(UserError, match="build it again"):
        Bm25.load(tmp_path, count=len(TEXTS), stem=None)


def test_one_query_at_a_time_is_scored_as_many_are():
    bm25 = Bm25.build(TEXTS, stem="english", pairs=True, exact=True)
    words = WordScores(bm25)
    for query in ("how do I invert a matrix", "sign of the group"):
        words.read(bm25.words(query), bm25.further(query, pairs=0.2, exact=0.3))
        np.testing.assert_allclose(words.scores_N, bm25.scores([query], pairs=0.2, exact=0.3)[0], rtol=1e-5)
        words.read(bm25.words(query))
        np.testing.assert_allclose(words.scores_N, bm25.scores([query])[0], rtol=1e-5)


def test_words_as_they_are_written_count_beside_stems(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    made = Bm25.build(TEXTS, stem="english", exact=True)
    plain, query = Bm25.build(TEXTS), "inverting of the matrix"
    added = made.scores([query], exact=0.5)[0] - made.scores([query])[0]
    np.testing.assert_allclose(added, 0.5 * plain.scores([query])[0], atol=1e-6)
    assert Bm25.build(TEXTS, exact=True).exact is None, "without stems they are the words"
    made.save(tmp_path / "index")
    opened = Bm25.load(tmp_path / "index", count=len(TEXTS), stem="english")
    cached = Bm25.cached(lambda: TEXTS, "key", stem="english", exact=True)
    for item in (opened, cached):
        np.testing.assert_array_equal(item.scores([query], exact=0.5), made.scores([query], exact=0.5))


def test_no_documents_have_no_pairs():
    assert Bm25.build([], pairs=True).scores(["a word"], pairs=1.0).shape == (1, 0)
    assert Bm25.build(["", "the"], pairs=True).scores(["a word"], pairs=1.0).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(("block", "ranges"), [(1, 2), (2, 16), (100, 1)])
def test_blocks_and_ranges_change_nothing(monkeypatch, block, ranges):
    texts = [" ".join(TEXTS[at % 5] for at in (number, number // 3)) for number in range(23)] + ["", "a matrix invert"]
    whole = Bm25.build(texts, pairs=True).pairs
    monkeypatch.setattr("twotower.lexical.pairs.BLOCK", block)
    monkeypatch.setattr("twotower.lexical.pairs.RANGES", ranges)
    made = Bm25.build(texts, pairs=True)
    for name in ("keys", "starts", "rows", "data"):
        np.testing.assert_array_equal(getattr(made.pairs, name), getattr(whole, name))
    added = made.scores(["invert a matrix"], pairs=1.0)[0] - made.scores(["invert a matrix"])[0]
    np.testing.assert_allclose(added, by_hand(texts, "invert a matrix"), atol=1e-5)
