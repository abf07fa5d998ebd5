"""What BM25 counts as words: bm25s's own rule on most text, Unicode's where that one falls apart."""

from __future__ import annotations

import re

import pytest

from twotower.lexical.bm25 import Bm25
from twotower.lexical.words import falls_apart, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't use snake_case in np.linalg.inv", ["don", "use", "snake_case", "in", "np", "linalg", "inv"]),
        ("हिन्दी में खोज matrix", ["हिन्दी", "में", "खोज", "matrix"]),
        ("求矩阵 inv", ["求", "求矩", "矩", "矩阵", "阵", "inv"]),
        ("东abc京", ["东", "abc", "京"]),
        ("ที่นี่", ["ที่", "ที่นี่", "นี่"]),
        ("cafe\u0301 naïve", ["café", "naïve"]),
        ("عَرَبِيّ", ["عربي"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words_of(text) == expected


@pytest.mark.parametrize("text", ["Übergröße naïve", "Ελληνικά και русский", "“quoted” — 3½ €"])
def test_other_text_is_cut_as_bm25s_cuts_it(text):
    assert not falls_apart([text])
    assert words_of(text) == re.findall(r"(?u)\b\w\w+\b", text.lower())


def test_bm25_finds_text_without_blanks():
    documents = ["我想学习如何求矩阵的逆", "今天天气很好", "how to invert a matrix", "ខ្ញុំចង់រៀន"]
    bm25 = Bm25.build(documents)
    scores_QN = bm25.scores(["矩阵的逆", "天气", "invert the matrix", "ចង់រៀន"])
    assert scores_QN.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (scores_QN.max(axis=1) > 0).all()
