"""Word vectors from spelling alone: words that share character n-grams start near to each other.

Source: the subwords of Bojanowski et al., Enriching Word Vectors with Subword Information (2017), untrained.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


class SpellingVectors:
    """The sum of random vectors of a word's n-grams, chosen by their hash.

    Args:
        dim: size of a vector; the run offers it.
        size: characters of an n-gram.
        buckets: rows of the table that hashes point into.
    """

    def __init__(self, *, dim: int, size: int = 3, buckets: int = 10_000) -> None:
        self.size, self.buckets = size, buckets
        self.table_BD = np.random.default_rng(7).standard_normal((buckets, dim)).astype(np.float32)

    def vectors(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns indices [K] of the words with a vector (all but the two special ones) and their vectors [K, D]."""
        known_K = np.arange(2, len(words))
        return known_K, np.array([self._vector(words[row]) for row in known_K], dtype=np.float32)

    def _vector(self, word: str) -> np.ndarray:
        marked = f"<{word}>"
        pieces = [marked[at : at + self.size] for at in range(max(1, len(marked) - self.size + 1))]
        rows = [zlib.crc32(piece.encode()) % self.buckets for piece in pieces]
        return self.table_BD[rows].sum(0) / len(rows) ** 0.5
