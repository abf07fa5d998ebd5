"""How a fusion is told to people."""

from __future__ import annotations

import pytest

from twotower.lexical.fusion import Fusion


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "model + 2 x BM25 of words"),
        ({"weight": 0.354, "pairs": 0.2}, "model + 0.354 x BM25 of words and pairs of words"),
        ({"stem": "english"}, "model + 2 x BM25 of stems"),
        ({"stem": "english", "exact": 0.3}, "model + 2 x BM25 of stems and words"),
        ({"stem": "english", "exact": 0.3, "pairs": 0.2}, "model + 2 x BM25 of stems, words and pairs of words"),
    ],
)
def test_all_that_is_added_is_named(settings, expected):
    assert Fusion(**settings).sum == expected
