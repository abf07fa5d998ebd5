"""A map of the collection: its vectors on the two directions in which they differ most, computed once and kept.

The map lies beside the index (`map_axes.npy`, `map_points.npy`) and goes with it when the index is built again. Where
that folder can't be written, the next process computes it anew.

Shapes: D dimension, F vectors that the directions are taken from, P points shown, K hits.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import atomic_path
from twotower.core.reading import read_array
from twotower.search.engine import SearchEngine

AXES, POINTS = "map_axes.npy", "map_points.npy"
FITTED, SHOWN = 10_000, 1_500
"""Documents that the directions are taken from, and documents shown, at most."""
EDGE = 0.01
"""Share of points that may lie outside the frame on each side, so that a few far ones don't squeeze the rest."""


@dataclass(frozen=True, kw_only=True)
class CollectionMap:
    """Where documents lie.

    Attributes:
        axes_3D: the mean vector and two directions of length 1.
        rows_P: rows of the documents shown.
        points_P2: their places, see `place`.
    """

    axes_3D: np.ndarray
    rows_P: np.ndarray
    points_P2: np.ndarray

    def place(self, vectors_KD: np.ndarray) -> np.ndarray:
        """Returns where vectors lie in the frame, 0 to 1 either way, far ones on its edge [K, 2]."""
        return self.framed(project(self.axes_3D, vectors_KD))

    def framed(self, points_K2: np.ndarray) -> np.ndarray:
        """Returns points as places in the frame, 0 to 1 either way, far ones on its edge [K, 2]."""
        low_2, high_2 = np.quantile(self.points_P2, [EDGE, 1 - EDGE], axis=0)
        return np.asarray(np.clip((points_K2 - low_2) / np.maximum(high_2 - low_2, 1e-9), 0.0, 1.0))


def open_map(engine: SearchEngine) -> CollectionMap:
    """Returns the map of an engine's collection: the kept one, or a new one, which is then kept.

    Raises:
        UserError: for an index that can't give its vectors back.
    """
    if engine.folder is not None and (engine.folder / POINTS).is_file():
        with contextlib.suppress(UserError):  # a damaged one is computed again
            return _read(engine.folder, engine)
    new = compute(engine)
    if engine.folder is not None:
        with contextlib.suppress(UserError):  # a folder that can't be written
            _write(engine.folder, new)
    return new


def compute(engine: SearchEngine, seed: int = 0) -> CollectionMap:
    """Computes the map from at most `FITTED` documents drawn at random, all of a small collection.

    Raises:
        UserError: for an index that can't give its vectors back.
    """
    count = engine.documents.count
    rows_F = np.sort(np.random.default_rng(seed).permutation(count)[:FITTED])
    vectors_FD = engine.vectors_at(rows_F)
    mean_D = vectors_FD.mean(axis=0)
    centred_FD = (vectors_FD - mean_D).astype(np.float64)
    _, directions_DD = np.linalg.eigh(centred_FD.T @ centred_FD)
    two_2D = directions_DD[:, ::-1][:, :2].T
    two_2D = np.pad(two_2D, ((0, 2 - len(two_2D)), (0, 0)))  # of vectors with one dimension
    axes_3D = np.vstack([mean_D, two_2D]).astype(np.float32)
    chosen = np.linspace(0, len(rows_F) - 1, min(SHOWN, len(rows_F))).astype(int)
    return CollectionMap(axes_3D=axes_3D, rows_P=rows_F[chosen], points_P2=project(axes_3D, vectors_FD[chosen]))


def project(axes_3D: np.ndarray, vectors_KD: np.ndarray) -> np.ndarray:
    """Returns where vectors lie on the two directions, around the mean [K, 2]."""
    return np.asarray((vectors_KD - axes_3D[0]) @ axes_3D[1:].T, dtype=np.float32)


def _read(folder: Path, engine: SearchEngine) -> CollectionMap:
    axes_3D = read_array(folder / AXES, dtype="float32", shape=(3, engine.index.dim), finite=True)
    points_P3 = read_array(folder / POINTS, dtype="float64", shape=(None, 3), finite=True)
    rows_P = points_P3[:, 0].astype(np.int64)
    if not len(rows_P) or rows_P.min() < 0 or rows_P.max() >= engine.documents.count:
        raise UserError(f"{folder / POINTS} is not of this collection.")
    return CollectionMap(axes_3D=axes_3D, rows_P=rows_P, points_P2=points_P3[:, 1:].astype(np.float32))


def _write(folder: Path, new: CollectionMap) -> None:
    points_P3 = np.column_stack([new.rows_P, new.points_P2]).astype(np.float64)
    for name, array in ((AXES, new.axes_3D), (POINTS, points_P3)):
        with atomic_path(folder / name) as temporary, open(temporary, "wb") as file:
            np.save(file, array)
