"""Pairs of neighbouring words: what they add to BM25's scores of single words.

A document that holds "invert a matrix" answers those words better than one with "invert" and "matrix" far apart. Each
pair of adjacent words counts as a word does in BM25: idf times saturated frequency (the ordered part of Metzler and
Croft, A Markov Random Field Model for Term Dependencies, 2005, in BM25's terms).

Shapes: N documents, T words, P distinct pairs, E (pair, document) entries, Q queries, V words with an id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from twotower.core.errors import UserError
from twotower.core.ragged import to_offsets
from twotower.core.reading import read_array

FILES = ("keys", "starts", "rows", "data")
BLOCK = 8192
"""Documents whose pairs are counted together."""
RANGES = 16
"""Parts that all pairs are sorted in, one after the other."""


class Pairs:
    """Scores of the pairs that a fixed list of documents holds. Build one with `Pairs.build` or `Pairs.load`.

    Args:
        keys: int64 [P], rising: first word's id times V plus the second's.
        starts: int64 [P + 1], where each pair's entries begin.
        rows: int32 [E], documents.
        data: float32 [E], what the pair adds to each document's score.
        count: N.
        size: V.
    """

    def __init__(
        self, keys: np.ndarray, starts: np.ndarray, rows: np.ndarray, data: np.ndarray, *, count: int, size: int
    ) -> None:
        self.keys, self.starts, self.rows, self.data = map(np.asarray, (keys, starts, rows, data))
        self.count, self.size = count, size

    @classmethod
    def build(
        cls,
        ids_W: np.ndarray,
        words_T: np.ndarray,
        offsets: np.ndarray,
        *,
        size: int,
        stop_from: int,
        k1: float,
        b: float,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Pairs:
        """Counts the pairs of N documents, block by block.

        Args:
            ids_W: int64, the id of each word as texts write it.
            words_T: the words of all documents by their places in `ids_W`, one document after the other.
            offsets: int64 [N + 1], where each document begins.
            size: V.
            stop_from: ids from here on are stop words; two of them are no pair.
            k1: BM25's.
            b: BM25's.
            progress: is told the share that is done.
        """
        count, length_N = len(offsets) - 1, np.diff(offsets)
        parts = _Parts()
        for start in range(0, count, BLOCK):
            progress(start / count)
            stop = min(start + BLOCK, count)
            row_T = np.repeat(np.arange(start, stop, dtype=np.int32), length_N[start:stop])
            ids_T = ids_W[words_T[offsets[start] : offsets[stop]]]
            parts.add(*_counted(*_adjacent(ids_T, row_T, size=size, stop_from=stop_from)))
        mean = max(1.0, float(length_N.mean()) if count else 1.0)
        held_N = (k1 * (1 - b + b * length_N / mean)).astype(np.float32)
        row_E, data_E = np.zeros(parts.count, np.int32), np.zeros(parts.count, np.float32)
        keys, frequencies, done = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for key_E, row, times in parts.ranges():
            first_P = np.flatnonzero(_differs(key_E))
            keys.append(key_E[first_P])
            frequencies.append(np.diff(first_P, append=len(key_E)))
            idf_P = np.log(1 + (count - frequencies[-1] + 0.5) / (frequencies[-1] + 0.5)).astype(np.float32)
            own = slice(done, done + len(row))
            row_E[own], done = row, own.stop
            data_E[own] = np.repeat(idf_P, frequencies[-1]) * times / (times + held_N[row])
        starts = to_offsets(np.concatenate(frequencies))
        return cls(np.concatenate(keys), starts, row_E, data_E, count=count, size=size)

    def save(self, folder: Path) -> None:
        """Writes four arrays into a folder."""
        for name in FILES:
            np.save(folder / f"pairs_{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path, *, count: int, size: int) -> Pairs | None:
        """Opens what `save` wrote, mapped into memory; None where there is nothing of it.

        Raises:
            UserError: when a file is missing or damaged.
        """
        paths = [folder / f"pairs_{name}.npy" for name in FILES]
        if not any(path.exists() for path in paths):
            return None
        keys, starts, rows, data = (
            read_numbers(path, kind) for path, kind in zip(paths, ("int64", "int64", "int32", "float32"), strict=True)
        )
        check_starts(starts, (rows, data), folder)
        if len(starts) != len(keys) + 1:
            raise UserError(f"The lexical index in {folder} is cut short; build it again.")
        return cls(keys, starts, rows, data, count=count, size=size)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """What each pair gives each document, sparse [P, N]."""
        return sparse.csr_matrix((self.data, self.rows, self.starts), shape=(len(self.keys), self.count))

    def places(self, ids: np.ndarray, *, stop_from: int) -> np.ndarray:
        """Returns the places in `keys` of one text's pairs, int64; those that no document holds are left out.

        Args:
            ids: the text's words by id, -1 for one that no document has.
            stop_from: as in `build`.
        """
        key_T, _ = _adjacent(ids, np.zeros(len(ids), np.int32), size=self.size, stop_from=stop_from)
        if not len(self.keys) or not len(key_T):
            return np.zeros(0, np.int64)
        place_T = np.minimum(np.searchsorted(self.keys, key_T), len(self.keys) - 1)
        known_T: np.ndarray = place_T[self.keys[place_T] == key_T]
        return known_T

    def scores(self, ids: Sequence[np.ndarray], *, stop_from: int) -> sparse.csr_matrix:
        """Returns what their pairs add to the scores of queries, sparse [Q, N]."""
        places = [self.places(row, stop_from=stop_from) for row in ids]
        starts = to_offsets(np.fromiter(map(len, places), dtype=np.int64, count=len(places)))
        columns = np.concatenate([np.zeros(0, np.int64), *places])
        ones = np.ones(len(columns), np.float32)
        return sparse.csr_matrix((ones, columns, starts), shape=(len(ids), len(self.keys))) @ self.matrix


class _Parts:
    """Entries of blocks of documents, cut into ranges of pairs: one range after another is sorted and let go."""

    def __init__(self) -> None:
        self.count = 0
        self._bounds: np.ndarray | None = None
        self._ranges: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(RANGES)]

    def add(self, key_E: np.ndarray, row_E: np.ndarray, times_E: np.ndarray) -> None:
        """Takes the entries of a block: pairs, rising, documents, and how often."""
        if self._bounds is None:  # the first block's pairs are spread as all are
            self._bounds = key_E[np.linspace(0, len(key_E), RANGES + 1).astype(int)[1:-1]] if len(key_E) else key_E
        cuts = [0, *np.searchsorted(key_E, self._bounds).tolist(), len(key_E)]
        for kept, begin, end in zip(self._ranges, cuts, cuts[1:], strict=False):
            kept.append(tuple(item[begin:end].copy() for item in (key_E, row_E, times_E)))
        self.count += len(key_E)

    def ranges(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields the entries of each range of pairs by pair, rows rising within it; what was yielded is let go."""
        while self._ranges:
            parts = self._ranges.pop(0)
            if parts:
                key_E, row_E, times_E = map(np.concatenate, zip(*parts, strict=True))
                order_E = np.argsort(key_E, kind="stable")
                yield key_E[order_E], row_E[order_E], times_E[order_E]


def _counted(key_T: np.ndarray, row_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the distinct (pair, document) of a block, rising, and how often each occurs: keys, rows, times."""
    order_T = np.argsort(key_T, kind="stable")  # rows rise within a pair
    key_T, row_T = key_T[order_T], row_T[order_T]
    at_E = np.flatnonzero(_differs(key_T) | _differs(row_T))
    times_E = np.diff(np.append(at_E, len(key_T))).astype(np.float32)
    return key_T[at_E], row_T[at_E], times_E


def _differs(values_T: np.ndarray) -> np.ndarray:
    """Returns where a value is not the one before it; the first never is."""
    new_T = np.ones(len(values_T), dtype=bool)
    np.not_equal(values_T[1:], values_T[:-1], out=new_T[1:])
    return new_T


def read_numbers(path: Path, dtype: str | Sequence[str]) -> np.ndarray:
    """Returns one of the arrays of a lexical index, mapped into memory.

    Raises:
        UserError: when it is missing or damaged.
    """
    try:
        return read_array(path, dtype=dtype, shape=(None,), mapped=True)
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; build it again with `twotower index`.") from error


def check_starts(starts: np.ndarray, entries: Sequence[np.ndarray], folder: Path) -> None:
    """Checks that places into some arrays begin at 0, never fall, and end where each array does.

    Raises:
        UserError: naming the folder they were read from.
    """
    whole = len(starts) and starts[0] == 0 and all(starts[-1] == len(item) for item in entries)
    if not whole or bool((np.diff(starts) < 0).any()):
        raise UserError(f"The lexical index in {folder} is damaged or cut short; build it again with `twotower index`.")


def _adjacent(ids_T: np.ndarray, row_T: np.ndarray, *, size: int, stop_from: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns keys and rows of the pairs of neighbours of the same text, in order."""
    before, after = ids_T[:-1], ids_T[1:]
    paired_T = (row_T[:-1] == row_T[1:]) & (before >= 0) & (after >= 0) & ((before < stop_from) | (after < stop_from))
    return before[paired_T] * size + after[paired_T], row_T[:-1][paired_T]
