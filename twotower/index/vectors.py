"""Document vectors as the index builders read them: any row-sliceable matrix, in bounded blocks, never held twice.

Legend: N documents, D dimension, B rows of one block, Q queries, K ranks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from twotower.errors import UserError
from twotower.index.resume import note_rows, rows_done

log = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 20
"""Bytes of float32 a block may take; what a build needs beyond the index itself is a few of these."""

NOTE_BYTES = 1 << 30
"""Bytes after which a long write makes sure of what it has, so that it can be stopped and go on."""

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, rows done, rows in all)."""


class Vectors(Protocol):
    """What a builder needs of a matrix [N, D]: its shape and row slices. Arrays, memmaps and `Shards` have both."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The pair (N, D)."""

    def __getitem__(self, rows: slice) -> Any:
        """Rows `rows` as an array."""


class Shards:
    """Several matrices of one width read as one, row after row, without joining them in memory."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        widths = {part.shape[1] for part in parts}
        if len(widths) != 1:
            raise UserError(f"Vector shards must share one dimension; found {sorted(widths) or 'no shards'}.")
        self._parts = list(parts)
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), widths.pop())

    @classmethod
    def open(cls, paths: Sequence[str | Path]) -> Shards:
        """Memory-maps .npy files in the order given."""
        return cls([np.load(path, mmap_mode="r") for path in paths])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise UserError("Vector shards are read in steps of 1.")
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        base = self._starts
        taken = [self._parts[i][max(0, start - base[i]) : stop - base[i]] for i in range(first, last)]
        if not taken:
            return np.empty((0, self.shape[1]), np.float32)
        return taken[0] if len(taken) == 1 else np.concatenate(taken)


def normalise(vectors_BD: np.ndarray) -> np.ndarray:
    """Returns float32 rows of length 1; a row of zeros stays zeros, so its similarity to everything is 0."""
    rows_BD = np.array(vectors_BD, dtype=np.float32, order="C", copy=True)
    norms_B1 = np.sqrt(np.einsum("bd,bd->b", rows_BD, rows_BD, dtype=np.float64))[:, None]
    rows_BD /= np.where(norms_B1 > 0, norms_B1, 1.0).astype(np.float32)
    return rows_BD


def blocks(vectors: Vectors, *, rows: int | None = None, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first row, normalised float32 block) over all rows, or those from `start` on.

    Raises:
        UserError: for a vector that is not finite, naming its row.
    """
    count, dim = vectors.shape
    rows = rows or max(1, BLOCK_BYTES // (4 * max(1, dim)))
    for first in range(start, count, rows):
        block_BD = normalise(vectors[first : first + rows])
        bad = ~np.isfinite(block_BD).all(axis=1)
        if bad.any():
            row = first + int(bad.argmax())
            raise UserError(f"Document vector {row} is not finite; the model diverged, so no index is written.")
        yield first, block_BD


def take(vectors: Vectors, rows_B: np.ndarray) -> np.ndarray:
    """Returns the normalised float32 vectors at some rows [B, D], in that order, reading only those rows."""
    if isinstance(vectors, np.ndarray):
        return normalise(vectors[rows_B])
    order = np.argsort(rows_B, kind="stable")
    out_BD = np.empty((len(rows_B), vectors.shape[1]), np.float32)
    for position in order:
        row = int(rows_B[position])
        out_BD[position] = np.asarray(vectors[row : row + 1])[0]
    return normalise(out_BD)


def sample_rows(count: int, size: int, seed: int) -> np.ndarray:
    """Returns at most `size` different row numbers of `count`, ascending, the same for the same seed."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(count, size=min(size, count), replace=False)).astype(np.int64)


def new_array_file(path: str | Path, *, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    """Creates a .npy file of zeros to fill through its memory map; the disk must have room for all of it.

    Raises:
        OSError: when it has not. Without this the kernel would kill the process (SIGBUS) at a page it can't store.
    """
    array: np.memmap = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with open(path, "r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
    return array


def write_npy(
    path: Path, vectors: Vectors, *, dtype: str = "float32", progress: Progress | None = None, stage: str = "copy"
) -> None:
    """Writes normalised vectors to a .npy file block by block; goes on where an interrupted write of them ended."""
    count, dim = vectors.shape
    done = rows_done(path)
    if done:
        out = np.lib.format.open_memmap(path, mode="r+")
        log.info("%s: going on at row %d of %d", path.name, done, count)
    else:
        out = new_array_file(path, dtype=dtype, shape=(count, dim))
    noted = done
    for start, block_BD in blocks(vectors, start=done):
        stop = start + len(block_BD)
        out[start:stop] = block_BD
        if progress:
            progress(stage, stop, count)
        if (stop - noted) * dim * 4 >= NOTE_BYTES and stop < count:
            out.flush()
            note_rows(path, stop)
            noted = stop
    out.flush()
    note_rows(path, None)


def best_first(scores_QC: np.ndarray, rows_QC: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Orders hits by score descending, equal scores by row ascending, and returns exactly k columns.

    Missing hits (row -1) come last with score -inf; similarities are cut to [-1, 1], which only removes rounding.
    """
    scores_QC = np.minimum(np.maximum(scores_QC, np.float32(-1)), np.float32(1)).astype(np.float32, copy=False)
    if scores_QC.shape[1] == k and (rows_QC >= 0).all() and (scores_QC[:, :-1] > scores_QC[:, 1:]).all():
        return scores_QC, rows_QC  # in order already, as libraries mostly return them
    scores_QC = np.where(rows_QC < 0, np.float32(-np.inf), scores_QC)
    short = k - scores_QC.shape[1]
    if short > 0:
        scores_QC = np.pad(scores_QC, ((0, 0), (0, short)), constant_values=-np.inf)
        rows_QC = np.pad(rows_QC, ((0, 0), (0, short)), constant_values=-1)
    order_QC = np.lexsort((rows_QC, -scores_QC), axis=1)[:, :k]
    scores_QK = np.take_along_axis(scores_QC, order_QC, axis=1)
    return scores_QK, np.take_along_axis(rows_QC, order_QC, axis=1).astype(np.int64)
