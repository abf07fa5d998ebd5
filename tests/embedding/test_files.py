from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import struct
import zipfile
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
    indices, vectors = file_vectors(WORDS, **settings(tmp_path / "vectors"))
    assert indices.tolist() == [2, 3, 4]
    np.testing.assert_allclose(vectors, VECTORS[[1, 0, 2]], atol=1e-6)


def test_binary_with_a_line_break_after_each_vector(tmp_path: Path) -> None:
    rows = [name.encode() + b" " + struct.pack("<5f", *vector) for name, vector in zip(NAMES, VECTORS, strict=True)]
    (tmp_path / "v.bin").write_bytes(b"4 5\n" + b"\n".join(rows) + b"\n")
    indices, vectors = file_vectors(WORDS, **settings(tmp_path / "v.bin", format="binary"))
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
        (b"", r"is empty"),
        (b"git 1 2 3 2.9e26 5\n", r"vectors:1: a number is absurd \(2\.9e\+26\)"),
        (b"2 4\ngit 1 2 3 4 5\nlog 1 2 3 4 5\n", r"header promises vectors of 4 numbers, its lines hold 5"),
        (b"caf\xe9 1 2 3 4 5\n", r"vectors:1: the word is not UTF-8"),
        (b"one,two\nthree,four\n", r"does not look like word vectors"),
        (b"0.1 0.2\n", r"does not look like word vectors"),
        (b"2 5\n", r"does not look like word vectors|has a header line and no vector"),
        (b"2 5\ngit " + struct.pack("<5f", 1, 2, 3, 4, 5) + b"log \x00\x00", r"record 2 of the 2 .* is cut short"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(UserError, match=message):
        file_vectors(WORDS, **settings(tmp_path / "vectors"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        file_vectors(WORDS, **settings(tmp_path / "nothing"))


WIDE = np.random.default_rng(1).standard_normal((300, 12))
PHRASES = [f"w{number}" if number % 3 else f"New York {number} x" for number in range(300)]
PLAIN = ["[PAD]", "[UNK]", *(name for name in PHRASES if " " not in name)]


def binary(
    path: Path, names: list[str], vectors: np.ndarray, dtype: str = "<f4", *, header: str = "", end: bytes = b""
) -> Path:
    rows = [name.encode() + b" " + vector.astype(dtype).tobytes() for name, vector in zip(names, vectors, strict=True)]
    path.write_bytes(
        (header or f"{len(names)} {vectors.shape[1]}").encode() + b"\n" + b"".join(row + end for row in rows)
    )
    return path


def wide(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return file_vectors(PLAIN, path=str(path), dim=12)


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_binary_stays_in_step_with_words_that_hold_blanks_and_numbers_of_any_width(
    tmp_path: Path, dtype: str, end: bytes
) -> None:
    indices, vectors = wide(binary(tmp_path / "v.bin", PHRASES, WIDE, dtype, end=end))
    assert indices.tolist() == list(range(2, len(PLAIN)))
    expected = WIDE[[number for number in range(300) if number % 3]].astype(dtype)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_binary_of_another_dimension_or_of_half_precision_is_refused(tmp_path: Path) -> None:
    path = binary(tmp_path / "v.bin", PHRASES, WIDE, header="300 11")
    with pytest.raises(UserError, match=r"no word and vector|more than one way"):
        file_vectors(PLAIN, path=str(path), dim=11)
    with pytest.raises(UserError, match=r"no word and vector|more than one way"):
        wide(binary(tmp_path / "v.bin", PHRASES, WIDE, "<f2"))


def test_binary_read_in_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = binary(tmp_path / "v.bin", PHRASES, WIDE)
    whole = wide(path)[1]
    monkeypatch.setattr("twotower.embedding.records.BLOCK", 5000)
    np.testing.assert_array_equal(wide(path)[1], whole)


@pytest.mark.parametrize(
    ("header", "change", "message"),
    [
        ("400 12", lambda raw: raw, "record 301 of the 400"),
        ("299 12", lambda raw: raw, "bytes are left over"),
        ("300 11", lambda raw: raw, "set 11"),
        ("300 12", lambda raw: raw + b"more", "bytes are left over"),
        ("300 12", lambda raw: raw[:-20], "record 300 of the 300 .* cut short"),
        (
            "300 12",
            lambda raw: raw.replace(WIDE[9].astype("<f4").tobytes(), WIDE[9].astype("<f4").tobytes()[1:]),
            "no word",
        ),
        ("300 12", lambda raw: raw.replace(b"w1 ", b"\xff1 "), "record 1 or one of the two"),
        (
            "300 12",
            lambda raw: raw.replace(WIDE[4].astype("<f4").tobytes(), b"\xff\x7f\x7f\x7f" * 12),
            "record 3 or one of the two",
        ),
    ],
)
def test_binary_out_of_step_is_refused(tmp_path: Path, header: str, change: object, message: str) -> None:
    path = binary(tmp_path / "v.bin", PHRASES, WIDE, header=header)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        wide(path)


@pytest.mark.parametrize("head", ["", "4 5\n", " 4\t5 \r\n", "\ufeff4 5\n", "\ufeff"])
@pytest.mark.parametrize("blank", [" ", "  ", "\t", " \t "])
def test_text_with_any_blanks_and_a_byte_order_mark(tmp_path: Path, head: str, blank: str) -> None:
    lines = [blank.join([name, *map(str, vector.tolist())]) for name, vector in zip(NAMES, VECTORS, strict=True)]
    (tmp_path / "v.vec").write_bytes((head + " \r\n".join(lines) + "\r\n").encode())
    indices, vectors = file_vectors(WORDS, **settings(tmp_path / "v.vec"))
    assert indices.tolist() == [2, 3, 4]
    np.testing.assert_allclose(vectors, VECTORS[[1, 0, 2]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_packed_files(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "plain", kind)
    raw = (tmp_path / "plain").read_bytes()
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("glove.5d.txt", raw)
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.6d.txt", b"git 1 2 3 4 5 6")
        archive.writestr("glove.5d.txt", raw)
    with zipfile.ZipFile(tmp_path / "wiki.zip", "w") as archive:  # as fastText's archives are
        for name, content in (("wiki.en.bin", b"\xba\x16\x4f\x2f"), ("wiki.en.vec", raw), ("README.md", b"read me")):
            archive.writestr(name, content)
    for name, pack in (("v.gz", gzip.compress), ("v.bz2", bz2.compress), ("v.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(raw))
    (tmp_path / "v.lzma").write_bytes(lzma.compress(raw, format=lzma.FORMAT_ALONE))
    for name in ("v.gz", "v.bz2", "v.xz", "v.lzma", "v.zip", "many.zip", "wiki.zip"):
        indices, vectors = file_vectors(WORDS, **settings(tmp_path / name))
        assert indices.tolist() == [2, 3, 4]
        np.testing.assert_allclose(vectors, VECTORS[[1, 0, 2]], atol=1e-6)


def test_a_packed_file_that_is_cut_and_an_archive_of_others(tmp_path: Path) -> None:
    write(tmp_path / "plain", "text")
    (tmp_path / "v.gz").write_bytes(gzip.compress((tmp_path / "plain").read_bytes())[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        file_vectors(WORDS, **settings(tmp_path / "v.gz"))
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("a.txt", b"git 1 2 3 4 5")
        archive.writestr("b.txt", b"git 1 2 3 4 5")
    with pytest.raises(UserError, match=r"holds 2 files.*a\.txt, b\.txt"):
        file_vectors(WORDS, **settings(tmp_path / "v.zip"))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\xba\x16\x4f\x2f" + bytes(200), "fastText's own model"),
        (b"\x80\x04" + bytes(200), "a pickle"),
        (b"\x93NUMPY" + bytes(200), "numpy array"),
        (b"", "is empty"),
        (b"PK\x05\x06" + bytes(18), "zip archive without a file"),
        (gzip.compress(gzip.compress(b"git 1 2 3 4 5", mtime=0), mtime=0), "packed twice"),
        (b"git".ljust(257, b"\0") + b"ustar  \0".ljust(255, b"\0") + b"git 1 2 3 4 5\n", "archive of tar"),
        ("git 1 2 3 4 5\n".encode("utf-16"), "UTF-16 text"),
        ("git 1 2 3 4 5\nlogo 1 2 3 4 5\n".encode("utf-16-le"), "UTF-16 text"),
        ("git 1 2 3 4 5\nlogo 1 2 3 4 5\n".encode("utf-16-be"), "UTF-16 text"),
        ("git 1 2 3 4 5\n".encode("utf-32"), "UTF-32 text"),
        (b"git 1 2 3 4 5\rlog 1 2 3 4 5\r", "a carriage return alone"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 9\n", "Git LFS"),
        (b"<!DOCTYPE html><p>404", "a web page"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, start: bytes, message: str) -> None:
    (tmp_path / "v.bin").write_bytes(start)
    with pytest.raises(UserError, match=message):
        file_vectors(WORDS, **settings(tmp_path / "v.bin"))


def test_the_dimension_comes_from_lines_that_are_vectors(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(". . . 1 2 3 4 5\n1 1/2 1 2 3 4 5\ngit 5 4 3 2 1\n")
    indices, vectors = file_vectors(WORDS, **settings(tmp_path / "v.txt"))
    assert (indices.tolist(), vectors.tolist()) == ([2], [[5, 4, 3, 2, 1]])
    with pytest.raises(UserError, match="vectors have 5; set 5"):
        file_vectors(WORDS, **settings(tmp_path / "v.txt", dim=7))


def test_the_other_case_stands_in_and_the_same_case_goes_first(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(
        "GIT 9 9 9 9 9\nLog 1 2 3 4 5\nlog 5 4 3 2 1\nNai\u0308ve 1 1 1 1 1\n", encoding="utf-8"
    )
    indices, vectors = file_vectors(WORDS, **settings(tmp_path / "v.txt"))
    assert indices.tolist() == [2, 3, 4]
    assert vectors.tolist() == [[9] * 5, [5, 4, 3, 2, 1], [1] * 5]


def test_no_word_known_stops_and_few_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "v.txt").write_text("mot 1 2 3 4 5\nchien 1 2 3 4 5\n")
    with pytest.raises(UserError, match=r"no vector for any of the 6 words .*mot, chien .*git, log"):
        file_vectors(WORDS, **settings(tmp_path / "v.txt"))
    (tmp_path / "v.txt").write_text("git 1 2 3 4 5\nchien 1 2 3 4 5\n")
    with caplog.at_level(logging.WARNING):
        build({"kind": "file", "remove_top": 0, "own": 0, **settings(tmp_path / "v.txt")}, WORDS, None, 0)
    assert "So few: vectors of another language" in caplog.text


@pytest.mark.parametrize(("promised", "why"), [(8, "is it cut short"), (2, "header that of another file")])
def test_a_header_that_promises_another_count_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, promised: int, why: str
) -> None:
    write(tmp_path / "v.vec", "text")
    text = (tmp_path / "v.vec").read_text().replace("4 5\n", f"{promised} 5\n", 1)
    (tmp_path / "v.vec").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert file_vectors(WORDS, **settings(tmp_path / "v.vec"))[0].tolist() == [2, 3, 4]
    assert why in caplog.text


def test_stems_take_the_vector_of_their_most_frequent_word(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text("this 1 0\nOperations 2 0\noperate 3 0\nthi 4 0\noper 5 0\nmatrices 6 0\n")
    words = ["[PAD]", "[UNK]", "this", "oper", "matric", "thi", "unseen"]
    indices, vectors = file_vectors(words, path=str(path), dim=2, stem="english")
    stems = dict(zip(indices.tolist(), vectors[:, 0].tolist(), strict=True))
    assert stems == {2: 1.0, 3: 2.0, 4: 6.0, 5: 4.0}  # whole words of the file, by their stem; the first of a stem
    assert file_vectors(words, path=str(path), dim=2)[0].tolist() == [2, 3, 5]  # without stems: words as they stand
