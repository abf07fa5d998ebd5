"""Texts read once as numbers: the words that come out are the words that went in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twotower.lexical.word_ids import WordIds
from twotower.lexical.words import words_of

TEXTS = ["Invert the matrix", "", "the the matrix", "日本語 vitamin C"]


def rows_of(ids_T, offsets):
    return [ids_T[start:stop].tolist() for start, stop in pairwise(offsets)]


@given(st.lists(st.text(max_size=30), max_size=8))
def test_every_text_comes_back_word_by_word(texts):
    read = WordIds.read(texts)
    same = np.arange(len(read.words), dtype=np.int32)
    rows = [[read.words[number] for number in row] for row in rows_of(*read.replaced(same))]
    assert rows == [words_of(text) for text in texts]
    assert len(set(read.words)) == len(read.words)


def test_words_are_renumbered_and_left_out():
    read = WordIds.read(TEXTS)
    kept = np.array([{"the": -1, "matrix": 7}.get(word, 1) for word in read.words], dtype=np.int32)
    assert rows_of(*read.replaced(kept)) == [[1, 7], [], [7], [1] * len(words_of(TEXTS[3]))]


def test_the_cache_gives_what_was_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    made = WordIds.read(TEXTS)
    asked = []
    for _ in range(2):
        item = WordIds.cached(lambda: asked.append(1) or TEXTS, "key")
        np.testing.assert_array_equal(item.ids_T, made.ids_T)
        np.testing.assert_array_equal(item.offsets, made.offsets)
        assert item.words == made.words
    assert len(asked) == 1
