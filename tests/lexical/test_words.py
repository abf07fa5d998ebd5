"""What BM25 counts as words: runs of word characters in most text, Unicode's words where that rule falls apart."""

from __future__ import annotations

import re
import unicodedata

import pytest

from twotower.lexical.bm25 import Bm25
from twotower.lexical.words import falls_apart, words_of
from twotower.text.segment import BLOCKS, CLUSTERS
from twotower.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't use snake_case in np.linalg.inv", ["don", "t", "use", "snake_case", "in", "np", "linalg", "inv"]),
        ("Vitamin C, type 2", ["vitamin", "c", "type", "2"]),
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


def test_every_script_without_blanks_is_read_by_letters_and_pairs():
    """A script that the tokenizer cuts into letters and BM25 does not would make any model look better than BM25."""
    single = re.compile(f"[{BLOCKS}{CLUSTERS}]")
    cutter, letters = Tokenizer.train(["a"], {"segmentation": "unicode"}), [chr(code) for code in range(0x250, 0x20000)]
    letters = [char for char in letters if unicodedata.category(char) == "Lo"]
    pairs = cutter.token_spans(" ".join(char + char for char in letters))
    apart = {word for word, _, _ in pairs if len(word) == 1}
    assert len(apart) > 5000
    assert [char for char in letters if char in apart and not single.match(char)] == []
    assert words_of("\ua000\ua001") == ["\ua000", "\ua000\ua001", "\ua001"]  # Yi
    assert words_of("\ua995\ua9ab") == ["\ua995", "\ua995\ua9ab", "\ua9ab"]  # Javanese


@pytest.mark.parametrize("text", ["Übergröße naïve", "Ελληνικά και русский", "“quoted” — 3½ €"])
def test_other_text_is_cut_into_runs_of_word_characters(text):
    assert not falls_apart([text])
    assert words_of(text) == re.findall(r"(?u)\b\w+\b", text.lower())


def test_bm25_finds_text_without_blanks():
    documents = ["我想学习如何求矩阵的逆", "今天天气很好", "how to invert a matrix", "ខ្ញុំចង់រៀន"]
    bm25 = Bm25.build(documents)
    scores_QN = bm25.scores(["矩阵的逆", "天气", "invert the matrix", "ចង់រៀន"])
    assert scores_QN.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (scores_QN.max(axis=1) > 0).all()
