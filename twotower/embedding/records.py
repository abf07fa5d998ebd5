"""The records of a file of word vectors, one after the other, each checked to be in step.

A binary record has no mark where it ends, so a word that holds a blank, or numbers of another width, would shift all
that follows. Blocks are cut at the first blank and checked as a whole; where that gives anything that is no word or no
vector, the place of the blank is sought by what can stand after it, and a file that stays unclear is refused.

Shapes: R records of a block, D dimension.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from twotower.core.errors import UserError
from twotower.core.packed import READ_ERRORS
from twotower.embedding.opening import BLANKS, VectorFile

log = logging.getLogger(__name__)

Record = tuple[int, str, bytes | np.ndarray]
BLOCK = 1 << 24
LONGEST_WORD = 1000
LARGEST, SMALLEST = 1e6, 1e-12
"""Numbers of word vectors lie between these (or are 0); bytes read out of step rarely all do."""
CUT_WORD = 40
"""word2vec cuts words after so many bytes and more, in the middle of a letter too: such words are passed over."""
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
WIDTHS = ("<f4", "<f8", ">f4", ">f8")
"""Types of numbers that are tried; any two bytes make a number of half precision, so that one can't be told."""


def read_records(file: VectorFile) -> Iterator[Record]:
    """Yields each line or record: its number, its word, and its vector (of a text file as bytes, see `to_vector`).

    Raises:
        UserError: for a malformed line or record, naming it.
    """
    with file.open() as data:
        yield from (_binary if file.binary else _text)(file, data)


def to_vector(file: VectorFile, number: int, value: bytes | np.ndarray) -> np.ndarray:
    """Returns a record's vector, float32 [D].

    Raises:
        UserError: when a number is not finite, is absurdly large, or is no number.
    """
    if isinstance(value, np.ndarray):
        return value.astype(np.float32)
    try:
        vector_D = np.array(value.split(), dtype=np.float64)
    except ValueError:
        complain(file.path, number, f"expected a word and {file.dim} numbers, found something else")
    if not np.isfinite(vector_D).all():
        complain(file.path, number, "a number is not finite")
    if np.abs(vector_D).max() > LARGEST:
        complain(file.path, number, f"a number is absurd ({vector_D[np.abs(vector_D).argmax()]:.3g})")
    return vector_D.astype(np.float32)


def complain(path: Path, number: int, reason: str) -> NoReturn:
    """Raises the error that names file and line."""
    raise UserError(f"{path}:{number}: {reason}.")


def _text(file: VectorFile, data: IO[bytes]) -> Iterator[Record]:
    count = passed = 0
    try:
        for number, line in enumerate(data, start=1 if file.promised is None else 2):
            if not line.strip():
                continue
            fields = line.rstrip().rsplit(None, file.dim)
            if len(fields) != file.dim + 1:
                numbers = max(len(fields) - 1, 0)
                complain(file.path, number, f"expected a word and {file.dim} numbers, found {numbers} numbers")
            count += 1
            word = _word(fields[0].strip(BLANKS))
            if word is None:
                if len(fields[0]) < CUT_WORD:
                    complain(file.path, number, "the word is not UTF-8; convert the file to UTF-8")
                passed += 1
                continue
            yield number, word, b" ".join(fields[1:])
    except READ_ERRORS as error:
        raise UserError(f"{file.path} cannot be read to its end: {error}.") from error
    _report(file, count, passed)


def _report(file: VectorFile, count: int, passed: int) -> None:
    if passed:
        log.warning("%s: %d words are cut in the middle of a letter and left out.", file.path, passed)
    if file.promised is not None and count != file.promised:
        why = "is it cut short?" if count < file.promised else "is the header that of another file?"
        log.warning("%s: the header promises %s words, the file holds %s; %s", file.path, f"{file.promised:,}",
                    f"{count:,}", why)  # fmt: skip


def _word(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


class _Buffer:
    """The unread bytes of a stream, refilled block by block."""

    def __init__(self, data: IO[bytes]) -> None:
        self.data, self.bytes, self.ended = data, b"", False

    def fill(self, position: int, wanted: int) -> None:
        """Drops what was read and reads on until so many bytes are there, or the stream ends."""
        self.bytes = self.bytes[position:]
        parts, held = [self.bytes], len(self.bytes)
        while held < wanted and not self.ended:
            part = self.data.read(max(BLOCK, wanted - held))
            self.ended = not part
            parts.append(part)
            held += len(part)
        self.bytes = b"".join(parts)


def _binary(file: VectorFile, data: IO[bytes]) -> Iterator[Record]:
    buffer, number, passed = _Buffer(data), 0, 0
    promised = file.promised or 0
    try:
        buffer.fill(0, BLOCK)
        width = _width(file, buffer.bytes)
        reader = _Reader(file, np.dtype(width))
        while number < promised:
            cuts, end = reader.cut(buffer.bytes, promised - number, number, buffer.ended)
            for word, vector in reader.block(buffer.bytes, cuts):
                number += 1
                if word is None:
                    passed += 1
                else:
                    yield number, word, vector
            if not cuts and buffer.ended:
                raise UserError(
                    f"{file.path}: record {number + 1} of the {promised:,} that the header promises is cut short; "
                    f"expected a word and {file.dim} numbers."
                )
            buffer.fill(end, BLOCK if cuts else len(buffer.bytes) + BLOCK)
    except READ_ERRORS as error:
        raise UserError(f"{file.path} cannot be read to its end: {error}.") from error
    if buffer.bytes.strip():
        raise UserError(
            f"{file.path}: bytes are left over after the {promised:,} words that the header promises; "
            "is the header that of another file?"
        )
    _report(file, number, passed)


def _width(file: VectorFile, head: bytes) -> str:
    """Returns the type of the numbers: the first with which the first records are words and vectors."""
    for width in WIDTHS:
        reader = _Reader(file, np.dtype(width))
        try:
            cuts, _ = reader.cut(head, min(20, file.promised or 0), 0, len(head) < BLOCK)
        except UserError:
            continue
        if cuts:
            return width
    return WIDTHS[0]  # whose complaint names the record


class _Reader:
    """Cuts bytes into records, and reads them."""

    def __init__(self, file: VectorFile, dtype: np.dtype) -> None:
        self.file, self.dtype, self.size = file, dtype, file.dim * dtype.itemsize

    def cut(self, data: bytes, most: int, before: int, ended: bool) -> tuple[list[tuple[int, int]], int]:
        """Returns where each record's word begins and ends, and where the last record ends.

        Records that the next block may still lengthen are left to it.
        """
        cuts, end = self._plain(data, most)
        if not ended:
            cuts, end = self._leave_last(cuts, end)
        wrong = self._first_wrong(data, cuts)
        if wrong is None and (cuts or ended):
            return cuts, end
        # one record after the other from the first wrong one on
        cuts = cuts[: wrong or 0]
        position = cuts[-1][1] + 1 + self.size if cuts else 0
        while len(cuts) < most:
            start = self._skip_break(data, position)
            if start >= len(data) or (not ended and start + 2 * (LONGEST_WORD + self.size) > len(data)):
                break
            space = self._choose(data, start, before + len(cuts) + 1, last=before + len(cuts) + 1 == self.file.promised)
            if space is None:
                break
            cuts.append((start, space))
            position = space + 1 + self.size
        return cuts, position

    def _plain(self, data: bytes, most: int) -> tuple[list[tuple[int, int]], int]:
        cuts, position, size = [], 0, self.size
        for _ in range(most):
            start = self._skip_break(data, position)
            space = data.find(b" ", start)
            if space < 0 or space + 1 + size > len(data):
                break
            cuts.append((start, space))
            position = space + 1 + size
        return cuts, position

    def _leave_last(self, cuts: list[tuple[int, int]], end: int) -> tuple[list[tuple[int, int]], int]:
        return (cuts[:-1], cuts[-1][0]) if len(cuts) > 1 else (cuts, end)

    @staticmethod
    def _skip_break(data: bytes, position: int) -> int:
        return position + 1 if data[position : position + 1] == b"\n" else position

    def _first_wrong(self, data: bytes, cuts: list[tuple[int, int]]) -> int | None:
        """Returns the first record that is no word or no vector, or the one before it, which may have caused that."""
        if not cuts:
            return None
        good_R = self._sane(self._vectors(data, cuts))
        words = [self._is_word(data[start:space]) for start, space in cuts]
        bad = np.flatnonzero(~(good_R & np.array(words)))
        return None if not len(bad) else max(int(bad[0]) - 1, 0)

    def _vectors(self, data: bytes, cuts: list[tuple[int, int]]) -> np.ndarray:
        starts_R = np.array([space + 1 for _, space in cuts])
        bytes_RS = np.frombuffer(data, dtype=np.uint8)[starts_R[:, None] + np.arange(self.size)]
        return bytes_RS.view(self.dtype)

    @staticmethod
    def _sane(vectors_RD: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            size_RD = np.abs(vectors_RD.astype(np.float64))
            return (((size_RD <= LARGEST) & (size_RD >= SMALLEST)) | (size_RD == 0)).all(1)  # type: ignore[no-any-return]

    @staticmethod
    def _is_word(raw: bytes) -> bool:
        if not raw or len(raw) > LONGEST_WORD:
            return False
        word = _word(raw)
        if word is None:  # cut in the middle of its last letter?
            return len(raw) >= CUT_WORD and any(_word(raw[:-cut]) is not None for cut in (1, 2, 3))
        return CONTROL.search(word) is None and "\n" not in word

    def _choose(self, data: bytes, start: int, number: int, *, last: bool) -> int | None:
        """Returns the blank that ends a record's word; None where the record is cut short."""
        fitting = [space for space in self._spaces(data, start) if self._fits(data, start, space)]
        good = [space for space in fitting if self._goes_on(data, space + 1 + self.size, last, 2)]
        if len(good) == 1:
            return good[0]
        first = data.find(b" ", start)
        if not good and (first < 0 or first + 1 + self.size > len(data)):
            return None
        reason = "can be read in more than one way" if good else "or one of the two after it is no word and vector"
        raise UserError(
            f"{self.file.path}: record {number} {reason}; expected words and {self.file.dim} float32 numbers each. "
            "If it is no word2vec binary file, or holds words with blanks, write it as text "
            "(gensim's save_word2vec_format, binary=False)."
        )

    def _spaces(self, data: bytes, start: int) -> Iterator[int]:
        space = data.find(b" ", start)
        while 0 <= space <= start + LONGEST_WORD and space + 1 + self.size <= len(data):
            yield space
            space = data.find(b" ", space + 1)

    def _fits(self, data: bytes, start: int, space: int) -> bool:
        return self._is_word(data[start:space]) and bool(self._sane(self._vectors(data, [(start, space)]))[0])

    def _goes_on(self, data: bytes, position: int, last: bool, depth: int) -> bool:
        """Says whether a record, or the end of the data, can stand at a place."""
        start = self._skip_break(data, position)
        if start >= len(data) or last or not depth:
            return True
        spaces = list(self._spaces(data, start))
        if not spaces:
            return data.find(b" ", start, start + LONGEST_WORD) >= 0 or len(data) - start < LONGEST_WORD
        return any(
            self._fits(data, start, space) and self._goes_on(data, space + 1 + self.size, False, depth - 1)
            for space in spaces
        )

    def block(self, data: bytes, cuts: list[tuple[int, int]]) -> Iterator[tuple[str | None, np.ndarray]]:
        """Yields word (None: cut in the middle of a letter) and vector of each record."""
        if cuts:
            for (start, space), vector_D in zip(cuts, self._vectors(data, cuts), strict=True):
                yield _word(data[start:space]), vector_D
