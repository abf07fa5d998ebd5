"""What is kept of documents, against bm25s itself, to the last bit."""

from __future__ import annotations

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.lexical.stored import Stored

DOCUMENTS = st.lists(st.lists(st.integers(0, 40), max_size=60), min_size=1, max_size=40).filter(any)
# Hundredths: `st.floats` fails once a test has let the processor take the smallest numbers for zero, as training does.
K1, B = (st.integers(least, most).map(lambda number: number / 100) for least, most in ((1, 300), (0, 100)))


def of_bm25s(documents: list[list[int]], words: dict[str, int], k1: float, b: float) -> bm25s.BM25:
    model = bm25s.BM25(k1=k1, b=b)
    model.index(bm25s.tokenization.Tokenized(ids=documents, vocab=dict(words)), show_progress=False)
    return model


def of_ours(documents: list[list[int]], words: dict[str, int], k1: float, b: float) -> Stored:
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in documents])])
    ids_T = np.array([number for document in documents for number in document], dtype=np.int32)
    return Stored.of(ids_T, offsets, words, k1=k1, b=b)


@given(DOCUMENTS, K1, B)
def test_every_number_is_that_of_bm25s(documents, k1, b):
    words = {f"w{number}": number for number in range(41)}
    theirs, ours = of_bm25s(documents, words, k1, b).scores, of_ours(documents, words, k1, b)
    for key, mine in (("indptr", ours.starts), ("indices", ours.rows), ("data", ours.data)):
        np.testing.assert_array_equal(mine, theirs[key], err_msg=key)
    assert (ours.data.dtype, ours.rows.dtype) == (theirs["data"].dtype, theirs["indices"].dtype)


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75), (0.0, 0.0)])
def test_bm25s_searches_what_is_kept(tmp_path, k1, b):
    draw = np.random.default_rng(0)
    documents = [draw.zipf(1.3, size=draw.integers(1, 300)) % 2000 for _ in range(500)]
    words = {f"w{number}": number for number in range(2000)}
    rows = [document.tolist() for document in documents]
    of_ours(rows, words, k1, b).save(tmp_path, count=500)
    read, fresh = bm25s.BM25.load(tmp_path), of_bm25s(rows, words, k1, b)
    for query in (["w1", "w7", "w1999"], ["w3"] * 4):
        np.testing.assert_array_equal(read.get_scores(query), fresh.get_scores(query))
    assert read.retrieve([["unknown"]], k=3, show_progress=False).scores.max() == 0
