from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from twotower.core.errors import UserError
from twotower.embedding.build import build
from twotower.embedding.files import file_vectors

WORDS = ["[PAD]", "[UNK]", "git", "log", "naïve", "absent"]
VECTORS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
NAMES = ["log", "git", "naïve", "other"]


def settings(path: Path, **change: object) -> dict:
    return {"path": str(path), "dim": 5, "format": None, **change}


def write(path: Path, kind: str) -> None:
    """With gensim's own writer where it has one."""
    vectors = KeyedVectors(5)
    vectors.add_vectors(NAMES, VECTORS)
    vectors.save_word2vec_format(str(path), binary=kind == "binary", write_header=kind != "glove")


@pytest.mark.parametrize("kind", ["binary", "text", "glove"])
def test_reads_what_gensim_writes(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "vectors", kind)
    indices, vectors = file_vectors(settings(tmp_path / "vectors"), WORDS)
    assert indices.tolist() == [2, 3, 4]
    np.testing.assert_allclose(vectors, VECTORS[[1, 0, 2]], atol=1e-6)


def test_binary_with_a_line_break_after_each_vector(tmp_path: Path) -> None:
    rows = [name.encode() + b" " + struct.pack("<5f", *vector) for name, vector in zip(NAMES, VECTORS, strict=True)]
    (tmp_path / "v.bin").write_bytes(b"4 5\n" + b"\n".join(rows) + b"\n")
    indices, vectors = file_vectors(settings(tmp_path / "v.bin", format="binary"), WORDS)
    assert indices.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(vectors, VECTORS[[1, 0, 2]])


def test_words_the_file_lacks_are_random_of_like_length(tmp_path: Path) -> None:
    write(tmp_path / "vectors", "text")
    matrix = build({"kind": "file", "remove_top": 0, "own": 0, **settings(tmp_path / "vectors")}, WORDS, None, 0)
    assert matrix[5].any()
    assert not matrix[0].any()
    assert np.sqrt(np.square(matrix[2:5]).sum(1).mean()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        matrix[2] / np.linalg.norm(matrix[2]), VECTORS[1] / np.linalg.norm(VECTORS[1]), atol=1e-5
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"git 1 2 3 4 5\nlog 1 2 3\n", r"vectors:2: expected a word and 5 numbers, found 3"),
        (b"2 5\ngit 1 2 3 4 5\nlog 1 2 3 x 5\n", r"vectors:3: expected a word and 5 numbers"),
        (b"git 1 2 nan 4 5\n", r"vectors:1: a number is not finite"),
        (b"git 1 2 3\n", r"embedding\.dim=5 does not fit .* set 3"),
        (b"", r"vectors:1: expected"),
        (b"2 5\ngit " + struct.pack("<5f", 1, 2, 3, 4, 5) + b"log \x00\x00", r"record 2 is cut short"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(UserError, match=message):
        file_vectors(settings(tmp_path / "vectors"), WORDS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        file_vectors(settings(tmp_path / "nothing"), WORDS)
