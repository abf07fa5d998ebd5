"""Word vectors from a file: word2vec text or binary, or GloVe text.

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from twotower.core.errors import UserError
from twotower.core.validators import check_choice

FORMATS = ("text", "binary")


def open_file(settings: Mapping[str, Any]) -> tuple[Path, int, bool, bool]:
    """Reads the head of a file of word vectors.

    Args:
        settings: path, dim, and format (text or binary; None: seen from the content).

    Returns:
        Its path, its dimension, whether there is a header line, and whether it is binary.

    Raises:
        UserError: when the file is missing, does not begin as such a file does, or has another dimension.
    """
    if not settings["path"]:
        raise UserError("embedding=file needs embedding.path=FILE (word2vec text or binary, or GloVe text).")
    path = Path(settings["path"]).expanduser()
    if settings["format"] is not None:
        check_choice("embedding.format", settings["format"], FORMATS)
    try:
        with open(path, "rb") as file:
            head = file.read(65536)
    except OSError as error:
        raise UserError(f"embedding.path={path} cannot be read: {error.strerror or error}.") from error
    dim, header = _dimension(path, head)
    if dim != settings["dim"]:
        raise UserError(f"embedding.dim={settings['dim']} does not fit {path}, whose vectors have {dim}; set {dim}.")
    binary = settings["format"] == "binary" or (settings["format"] is None and header and _is_binary(head))
    if binary and not header:
        raise UserError(f"{path}:1: a word2vec binary file starts with a line '<words> <dimension>'.")
    return path, dim, header, binary


def file_vectors(settings: Mapping[str, Any], words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vectors of a vocabulary's words; a word that stands there twice counts the first time.

    Args:
        settings: path, dim, and format (text or binary; None: seen from the content).
        words: the vocabulary, in index order.

    Returns:
        Indices int64 [K] of the words found, and their vectors float32 [K, D].

    Raises:
        UserError: when the file is missing, is malformed (with the line or record number) or has another dimension.
    """
    path, dim, header, binary = open_file(settings)
    index = {word: number for number, word in reversed(list(enumerate(words)))}
    read = _read_binary if binary else _read_text
    found: dict[int, np.ndarray] = {}
    for word, vector in read(path, index, dim, header):
        found.setdefault(index[word], vector)
    indices_K = np.array(sorted(found), dtype=np.int64)
    vectors_KD = np.array([found[number] for number in sorted(found)], dtype=np.float32).reshape(-1, dim)
    return indices_K, vectors_KD


def _dimension(path: Path, head: bytes) -> tuple[int, bool]:
    """Returns the dimension, and whether there is a header line."""
    first = head.split(b"\n", 1)[0].split()
    if len(first) == 2 and all(part.isdigit() for part in first) and int(first[1]) > 0:
        return int(first[1]), True
    if len(first) < 2:
        _complain(path, 1, "expected '<words> <dimension>' or a word and its numbers")
    return len(first) - 1, False


def _is_binary(head: bytes) -> bool:
    """Tells binary from text by the second line: in a text file its last field is a number."""
    fields = head.split(b"\n", 2)[1].split() if b"\n" in head else []
    try:
        float(fields[-1])
    except (IndexError, ValueError):
        return bool(fields)
    return False


def _read_text(path: Path, index: Mapping[str, int], dim: int, header: bool) -> Iterator[tuple[str, np.ndarray]]:
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if (number == 1 and header) or not line.strip():
                continue
            fields = line.rstrip().rsplit(" ", dim)
            if len(fields) != dim + 1:
                _complain(path, number, f"expected a word and {dim} numbers, found {len(fields) - 1} numbers")
            if fields[0] in index:
                try:
                    vector = np.array(fields[1:], dtype=np.float32)
                except ValueError:
                    _complain(path, number, f"expected a word and {dim} numbers, found something else")
                if not np.isfinite(vector).all():
                    _complain(path, number, "a number is not finite")
                yield fields[0], vector


def _read_binary(path: Path, index: Mapping[str, int], dim: int, header: bool) -> Iterator[tuple[str, np.ndarray]]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = data.find(b"\n") + 1
        for number in range(1, int(data[:position].split()[0]) + 1):
            space = data.find(b" ", position)
            end = space + 1 + 4 * dim
            if space < 0 or end > len(data):
                raise UserError(f"{path}: record {number} is cut short; expected a word and {dim} float32 numbers.")
            word = data[position:space].decode("utf-8", "replace").lstrip("\n")
            if word in index:
                vector = np.frombuffer(data[space + 1 : end], dtype="<f4")
                if not np.isfinite(vector).all():
                    raise UserError(f"{path}: record {number} has a number that is not finite.")
                yield word, vector
            position = end


def _complain(path: Path, number: int, reason: str) -> NoReturn:
    raise UserError(f"{path}:{number}: {reason}.")
