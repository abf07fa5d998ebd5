"""Document vectors as the index builders read them: any row-sliceable matrix, in bounded blocks, never held twice.

Legend: N documents, D dimension, B rows of one block, Q queries, K ranks.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from operator import gt
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from twotower.core.errors import UserError
from twotower.core.finite import all_finite
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
    """Returns float32 rows of length 1; a row of zeros stays zeros, so its similarity to everything is 0.

    A row that is not finite keeps NaN in it, for `blocks`, `take` and `Index.search` to refuse.
    """
    with np.errstate(invalid="ignore"):
        if len(vectors_BD) == 1:  # a query: what counts for one row is how many steps there are
            row_D = np.asarray(vectors_BD[0], dtype=np.float32)
            wide_D = row_D.astype(np.float64)
            return (row_D / np.float32(float(wide_D @ wide_D) ** 0.5 or 1.0))[None]
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
        _refuse_broken(block_BD, np.arange(first, first + len(block_BD)))
        yield first, block_BD


def _refuse_broken(block_BD: np.ndarray, rows_B: np.ndarray) -> None:
    if not all_finite(block_BD):
        row = rows_B[int((~np.isfinite(block_BD).all(axis=1)).argmax())]
        raise UserError(f"Document vector {row} is not finite; the model diverged, so no index is written.")


def leading(vectors: Vectors, dims: int | None) -> Vectors:
    """Returns the first numbers of every vector, of length 1, in memory; the vectors as they are for None."""
    if dims is None:
        return vectors
    cut_ND = np.empty((int(vectors.shape[0]), dims), np.float32)
    rows = max(1, BLOCK_BYTES // (4 * int(vectors.shape[1])))
    for start in range(0, len(cut_ND), rows):
        cut_ND[start : start + rows] = normalise(np.asarray(vectors[start : start + rows])[:, :dims])
    return cut_ND


def take(vectors: Vectors, rows_B: np.ndarray) -> np.ndarray:
    """Returns the normalised float32 vectors at some rows [B, D], in that order, reading only those rows.

    Raises:
        UserError: for a vector that is not finite, naming its row.
    """
    if isinstance(vectors, np.ndarray):
        unit_BD = normalise(vectors[rows_B])
        _refuse_broken(unit_BD, rows_B)
        return unit_BD
    order = np.argsort(rows_B, kind="stable")
    out_BD = np.empty((len(rows_B), vectors.shape[1]), np.float32)
    for position in order:
        row = int(rows_B[position])
        out_BD[position] = np.asarray(vectors[row : row + 1])[0]
    unit_BD = normalise(out_BD)
    _refuse_broken(unit_BD, rows_B)
    return unit_BD


def sample_rows(count: int, size: int, seed: int) -> np.ndarray:
    """Returns at most `size` different row numbers of `count`, ascending, the same for the same seed."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(count, size=min(size, count), replace=False)).astype(np.int64)


def new_npy(path: Path, dtype: str, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Creates a .npy file and maps it for writing, its room on the disk taken first.

    A map over room that is not there ends the process with a bus error as soon as the disk is full.

    Raises:
        UserError: when the disk has no room for it.
    """
    try:
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        _take_room(path)
    except OSError as error:
        size = np.dtype(dtype).itemsize * math.prod(shape) / 1e6
        raise UserError(
            f"Cannot write {path} ({size:,.1f} MB): {error.strerror or error}. Free space or choose another folder."
        ) from error
    return out


def _take_room(path: Path) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # file systems that cannot
                raise


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
        out = new_npy(path, dtype, (count, dim))
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
    if _is_done(scores_QC, rows_QC, k):
        return scores_QC, rows_QC
    scores_QC = np.minimum(np.maximum(scores_QC, np.float32(-1)), np.float32(1)).astype(np.float32, copy=False)
    scores_QC = np.where(rows_QC < 0, np.float32(-np.inf), scores_QC)
    short = k - scores_QC.shape[1]
    if short > 0:
        scores_QC = np.pad(scores_QC, ((0, 0), (0, short)), constant_values=-np.inf)
        rows_QC = np.pad(rows_QC, ((0, 0), (0, short)), constant_values=-1)
    order_QC = np.lexsort((rows_QC, -scores_QC), axis=1)[:, :k]
    scores_QK = np.take_along_axis(scores_QC, order_QC, axis=1)
    return scores_QK, np.take_along_axis(rows_QC, order_QC, axis=1).astype(np.int64)


def _is_done(scores_QC: np.ndarray, rows_QC: np.ndarray, k: int) -> bool:
    """Returns whether hits are as `best_first` gives them already, as libraries mostly return them."""
    if scores_QC.shape[1] != k or scores_QC.dtype != np.float32 or not rows_QC.size:
        return False
    if len(rows_QC) == 1:  # lists are half the time of arrays for the ten hits of one query
        scores, rows = scores_QC[0].tolist(), rows_QC[0].tolist()
        return min(rows) >= 0 and scores[0] <= 1 and scores[-1] >= -1 and all(map(gt, scores, scores[1:]))
    inside = rows_QC.min() >= 0 and scores_QC[:, 0].max() <= 1 and scores_QC[:, -1].min() >= -1
    return bool(inside and (scores_QC[:, :-1] > scores_QC[:, 1:]).all())
