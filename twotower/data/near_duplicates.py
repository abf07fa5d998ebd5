"""Near-identical texts: word shingles, min-wise hashing, banding, then the exact share of shingles for what collides.

Broder 1997, "On the resemblance and containment of documents"; banding as in Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", chapter 3. Shapes: N texts, S distinct (text, shingle) pairs, P candidate pairs, H hash functions.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

HASHES, BAND = 96, 4
"""With 24 bands of 4, two texts that share .7 of their shingles are compared with probability .998, .8: .99999."""
WORD = re.compile(r"\w+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def near_duplicate_groups(texts: Sequence[str], *, threshold: float = 0.8, width: int = 4) -> np.ndarray:
    """Numbers texts so that near-identical ones share a number, int64 [N].

    Two texts are near-identical when the Jaccard similarity of their sets of `width`-word shingles (case, punctuation
    and blanks aside) is at least `threshold`; a chain of such pairs is one group. Texts without words stay alone. The
    result depends on the texts alone.

    Args:
        texts: N texts.
        threshold: least share of shingles in common, over 0 and up to 1.
        width: words in a shingle; a shorter text is one shingle.
    """
    sets = _shingle_sets(texts, width)
    first_P, second_P = _candidates(sets)
    common_P = np.asarray(sets[first_P].multiply(sets[second_P]).sum(axis=1)).ravel()
    sizes_N = np.diff(sets.indptr)
    near_P = common_P >= threshold * (sizes_N[first_P] + sizes_N[second_P] - common_P)
    first_P, second_P = first_P[near_P], second_P[near_P]
    edges = coo_matrix((np.ones(len(first_P), dtype=bool), (first_P, second_P)), shape=(len(texts), len(texts)))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def _shingle_sets(texts: Sequence[str], width: int) -> csr_matrix:
    """Returns a 0/1 matrix [N, distinct shingles]."""
    word_hash: dict[str, int] = {}
    rows = [
        [word_hash.setdefault(word, zlib.crc32(word.encode())) for word in WORD.findall(text.lower())] for text in texts
    ]
    lengths_N = np.array([len(row) for row in rows], dtype=np.int64)
    words_T = np.array([item for row in rows for item in row], dtype=np.uint64)
    text_T = np.repeat(np.arange(len(texts)), lengths_N)
    position_T = np.arange(len(words_T)) - np.repeat(np.cumsum(lengths_N) - lengths_N, lengths_N)
    # Horner's scheme over the next `width` words; past the end of its text a word counts as 0.
    padded = np.concatenate([words_T, np.zeros(width, dtype=np.uint64)])
    code_T = np.zeros(len(words_T), dtype=np.uint64)
    for step in range(width):
        inside = position_T + step < lengths_N[text_T]
        code_T = code_T * MULTIPLIER + np.where(inside, padded[step : step + len(words_T)] + np.uint64(1), np.uint64(0))
    starts = (position_T == 0) | (position_T + width <= lengths_N[text_T])
    columns = np.unique(code_T[starts], return_inverse=True)[1].astype(np.int64)
    pairs = np.unique(text_T[starts] * np.int64(columns.max(initial=0) + 1) + columns)
    text_S, column_S = np.divmod(pairs, np.int64(columns.max(initial=0) + 1))
    shape = (len(texts), int(columns.max(initial=-1)) + 1)
    return csr_matrix((np.ones(len(text_S), dtype=np.int32), (text_S, column_S)), shape=shape)


def _candidates(sets: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of texts, the lower row first, that agree in at least one band of their min-wise hashes."""
    rows = np.flatnonzero(np.diff(sets.indptr))
    nothing = np.zeros(0, dtype=np.int64)
    if not len(rows):
        return nothing, nothing
    starts = sets.indptr[rows]
    generator = np.random.default_rng(20260101)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for _ in range(HASHES // BAND):
        key = np.zeros(len(rows), dtype=np.uint64)
        for _ in range(BAND):
            value = generator.integers(2**63, size=sets.shape[1], dtype=np.uint64)
            key = (key * MULTIPLIER) ^ np.minimum.reduceat(value[sets.indices], starts)
        pairs.append(_chains(rows, key))
    unique = np.unique(np.concatenate(pairs), axis=0)
    return unique[:, 0], unique[:, 1]


def _chains(rows: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Pairs each row with the one before it and the first of the same key: under 2n pairs from n equal keys."""
    order = np.lexsort((rows, key))
    rows, key = rows[order], key[order]
    first = np.maximum.accumulate(np.where(np.r_[True, key[1:] != key[:-1]], np.arange(len(key)), 0))
    number = np.arange(len(key))
    later = number > first
    to_first = np.stack([rows[first[later]], rows[later]], axis=1)
    to_last = np.stack([rows[number[later] - 1], rows[later]], axis=1)
    return np.concatenate([to_first, to_last]).astype(np.int64)
