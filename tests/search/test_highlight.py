import re

import pytest

from twotower.search.highlight import content_words, marked, merge, snippet


def spans(text):
    return [(match[0].lower(), match.start(), match.end()) for match in re.finditer(r"\w+", text)]


def cut(piece):
    return [piece.text[a:b] for a, b in piece.spans]


def test_common_words_are_left_out_unless_there_are_no_others():
    assert content_words(["how", "do", "i", "invert", "?"]) == {"invert"}
    assert content_words(["what", "is", "it"]) == {"what", "is", "it"}


def test_words_are_marked_where_they_stand():
    piece = marked("Invert the Matrix, invert!", ["invert", "the", "matrix"], spans)
    assert cut(piece) == ["Invert", "Matrix", "invert"]
    assert "".join(text for text, _ in piece.parts()) == piece.text


def test_window_holds_the_most_different_words():
    text = "matrix " * 40 + "filler " * 60 + "to invert a matrix quickly " + "filler " * 60
    piece = snippet(text, ["invert", "matrix"], spans, width=120)
    assert {"invert", "matrix"} <= set(cut(piece))
    assert piece.text.startswith("…")
    assert piece.text.endswith("…")
    assert len(piece.text) <= 122


def test_short_text_is_whole_and_on_one_line():
    piece = snippet("one\n  two\tthree", ["two"], spans)
    assert (piece.text, cut(piece)) == ("one two three", ["two"])


@pytest.mark.parametrize("text", ["", " ", "x" * 1000, "word " * 500])
def test_odd_texts(text):
    piece = snippet(text, ["word"], spans, width=100)
    assert len(piece.text) <= 102
    assert all(part == "word" for part in cut(piece))


def test_overlapping_spans_become_one():
    assert merge([(5, 9), (0, 3), (2, 6), (9, 10)]) == [(0, 9), (9, 10)]


def test_rules_under_headings_are_left_out():
    found = snippet("Returns\n-------\nx ** 2 -- or == y\n=====\nIn Examples", ["examples"], spans)
    assert found.text == "Returns x ** 2 -- or == y In Examples"
    assert [found.text[start:end] for start, end in found.spans] == ["Examples"]
