"""Word vectors from which documents meet: the strongest directions of the BM25-weighted matrix of documents and words.

A text's vector is then the weighted sum of its words, and two texts are near each other where their words stand in the
same documents; such vectors rank before any training.

Shapes: N documents, V words, K words with a vector, D dimension, B documents of a block, W width of the search (D and
some more).

Source: Deerwester et al., Indexing by Latent Semantic Analysis (1990); Halko et al., Finding Structure with Randomness
(2011), for the subspace iteration.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from twotower.core.cache import NUMPY_THREADS, cached_folder, content_key
from twotower.text.tokens import Tokens

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from twotower.text.tokens import Tokens

log = logging.getLogger(__name__)

SPARE = 16
"""Directions looked for beside those wanted, so that the last wanted ones are exact too."""
BLOCK = 16_384
FIRST_WORD = 2
"""Padding and the unknown word, which come before it, have no vector."""

Report = Callable[[int, int], None]


def lsa_vectors(
    documents: Tokens,
    *,
    size: int,
    seed: int,
    dim: int,
    k1: float,
    b: float,
    passes: int,
    max_documents: int,
    unit: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds word vectors, or reads them from the cache if the same were found before.

    Args:
        documents: the corpus.
        size: number of words V.
        seed: of the first directions and of the documents drawn.
        dim: size of a vector D.
        k1: how soon repeated words saturate, as in BM25.
        b: how much long documents are held back, as in BM25.
        passes: over the matrix.
        max_documents: of a larger corpus so many are drawn.
        unit: whether every word's vector is brought to length 1.

    Returns:
        Indices int64 [K] of the words that occur, and their vectors float32 [K, D], of mean length 1. Without `unit`, a
        word that few of the directions hold is short: in a corpus with far more documents than directions that is
        every rare word, the very ones that tell most. Where the corpus has fewer directions than D, the last columns
        are zeros.
    """
    chosen: dict[str, Any] = {"dim": dim, "k1": k1, "b": b, "passes": passes, "max_documents": max_documents}
    key = content_key("lsa-1", chosen, seed, size, NUMPY_THREADS, np.asarray(documents.ids_T), documents.offsets)
    folder = cached_folder("word_vectors", key, lambda path: _find(path, documents, size=size, seed=seed, **chosen))
    vectors_KD = np.load(folder / "vectors.npy")
    if unit:
        vectors_KD /= np.linalg.norm(vectors_KD, axis=1, keepdims=True)
    return np.load(folder / "indices.npy"), vectors_KD


def bm25_weights(documents: Tokens, size: int, *, k1: float, b: float) -> csr_matrix:
    """Returns the matrix [N, V] of what each word adds to a document's BM25 score: idf times saturated frequency.

    Args:
        documents: the corpus.
        size: number of words V.
        k1: how soon repeated words saturate.
        b: how much long documents are held back, 0 to 1.
    """
    from scipy.sparse import csr_matrix

    shape = (len(documents), size)
    ones_T = np.ones(len(documents.ids_T), dtype=np.float32)
    counts_NV = csr_matrix((ones_T, np.array(documents.ids_T, dtype=np.int32), documents.offsets.copy()), shape=shape)
    counts_NV.sum_duplicates()
    counts_NV.data[counts_NV.indices < FIRST_WORD] = 0
    counts_NV.eliminate_zeros()
    frequency_V = np.bincount(counts_NV.indices, minlength=size)
    idf_V = np.log(1 + (shape[0] - frequency_V + 0.5) / (frequency_V + 0.5)).astype(np.float32)
    length_N = documents.lengths.astype(np.float32)
    held_N = k1 * (1 - b + b * length_N / max(1.0, float(length_N.mean()) if len(length_N) else 1.0))
    held_T = np.repeat(held_N, np.diff(counts_NV.indptr)).astype(np.float32)
    counts_NV.data *= idf_V[counts_NV.indices] / (counts_NV.data + held_T)
    return counts_NV


def right_directions(weights_NV: csr_matrix, count: int, *, passes: int, seed: int, report: Report) -> np.ndarray:
    """Returns the strongest right singular vectors [V, count], strongest first; zeros where the rank is smaller.

    Subspace iteration on the words' side: only [V, W] is held, and documents are gone through in blocks, so memory does
    not grow with them.

    Args:
        weights_NV: the matrix.
        count: how many.
        passes: times the matrix is gone through, at least 2.
        seed: of the random start.
        report: told (blocks done, blocks in all).
    """
    rows, size = weights_NV.shape
    width = min(count + SPARE, size, rows)
    occurs_V = np.bincount(weights_NV.indices, minlength=size) > 0
    start_VW = np.random.default_rng(seed).standard_normal((size, width), dtype=np.float32) * occurs_V[:, None]
    blocks = [_sparse(weights_NV[first : first + BLOCK]) for first in range(0, rows, BLOCK)]
    basis_VW = product_VW = torch.from_numpy(start_VW)
    for number in range(passes):
        basis_VW = _orthonormal(product_VW)
        product_VW = torch.zeros_like(basis_VW)
        for place, (block_BV, block_VB) in enumerate(blocks):
            product_VW += block_VB @ (block_BV @ basis_VW)
            report(number * len(blocks) + place + 1, passes * len(blocks))
    values_W, inner_WW = torch.linalg.eigh(basis_VW.T.double() @ product_VW.double())
    strongest = torch.argsort(-values_W)[:count]
    held = values_W[strongest] > 1e-6 * max(float(values_W.max()), 1e-12)
    vectors_VD = np.zeros((size, count), dtype=np.float32)
    vectors_VD[:, : len(strongest)] = (basis_VW @ (inner_WW[:, strongest] * held).float()).numpy()
    vectors_VD[~occurs_V] = 0.0
    return vectors_VD


def _sparse(block_BV: csr_matrix) -> tuple[Tensor, Tensor]:
    """Returns a block of the matrix and its transpose as torch's sparse matrices, whose products use all threads."""

    def turned(matrix: csr_matrix) -> Tensor:
        starts, columns = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
        return torch.sparse_csr_tensor(
            starts, columns, torch.from_numpy(matrix.data), size=matrix.shape, check_invariants=False
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return turned(block_BV), turned(block_BV.T.tocsr())


def _orthonormal(columns_VW: Tensor) -> Tensor:
    """Returns an orthonormal basis of the columns, by the eigenvectors of their inner products in double precision.

    A third of the time of a QR decomposition of so tall a matrix; columns that add no direction become zeros.
    """
    exact_VW = columns_VW.double()
    for _ in range(2):  # once is not orthonormal to the last digits where the columns are nearly dependent
        values_W, vectors_WW = torch.linalg.eigh(exact_VW.T @ exact_VW)
        kept = values_W > 1e-12 * values_W.max().clamp_min(1e-300)
        exact_VW = exact_VW @ (vectors_WW * torch.where(kept, values_W.clamp_min(1e-300).rsqrt(), 0.0))
    return exact_VW.float()


def _find(
    folder: Path,
    documents: Tokens,
    *,
    size: int,
    seed: int,
    dim: int,
    k1: float,
    b: float,
    passes: int,
    max_documents: int,
) -> None:
    if len(documents) > max_documents:
        rows = np.random.default_rng(seed).choice(len(documents), max_documents, replace=False)
        documents = _rows(documents, np.sort(rows))
    weights_NV = bm25_weights(documents, size, k1=k1, b=b)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Word vectors (lsa)", total=None)
        vectors_VD = right_directions(
            weights_NV,
            dim,
            passes=passes,
            seed=seed,
            report=lambda done, total: progress.update(task, completed=done, total=total),
        )
    length_V = np.linalg.norm(vectors_VD, axis=1)
    indices_K = np.flatnonzero(length_V > 0)
    np.save(folder / "indices.npy", indices_K.astype(np.int64))
    scale = float(length_V[indices_K].mean()) if len(indices_K) else 1.0
    np.save(folder / "vectors.npy", (vectors_VD[indices_K] / scale).astype(np.float32))


def _rows(documents: Tokens, rows: np.ndarray) -> Tokens:
    batch = documents.take(rows)
    return Tokens(ids_T=batch.ids_T.numpy().astype(np.int32), offsets=batch.offsets_B1.numpy())
