"""Near-identical texts: word shingles, min-wise hashing, banding, then the exact share of shingles for what collides.

Broder 1997, "On the resemblance and containment of documents"; banding as in Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", chapter 3. Shapes: N texts, S shingles of all texts, P candidate pairs, H hash functions.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

HASHES, BAND = 80, 4
"""With 20 bands of 4, two texts that share .7 of their shingles are compared with probability .996, .8: .99997."""
WORD = re.compile(r"\w+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def near_duplicate_groups(texts: Sequence[str], *, threshold: float = 0.8, width: int = 4) -> np.ndarray:
    """Numbers texts so that near-identical ones share a number, int64 [N].

    Two texts are near-identical when the Jaccard similarity of their sets of `width`-word shingles (case, punctuation
    and blanks aside) is at least `threshold`; a chain of such pairs is one group. Texts without words stay alone. The
    result depends on the texts alone.

    Args:
        texts: N texts.
        threshold: least share of shingles in common, 0.7 to 1; below, some pairs would be overlooked.
        width: words in a shingle; a shorter text is one shingle.
    """
    code_S, offsets = _shingles(texts, width)
    pairs_P2 = _candidates(code_S, offsets)
    sets = {row: np.unique(code_S[offsets[row] : offsets[row + 1]]) for row in np.unique(pairs_P2).tolist()}
    near_P = [_jaccard(sets[first], sets[second]) >= threshold for first, second in pairs_P2.tolist()]
    first_P, second_P = pairs_P2[np.array(near_P, dtype=bool)].T
    edges = coo_matrix((np.ones(len(first_P), dtype=bool), (first_P, second_P)), shape=(len(texts), len(texts)))
    return connected_components(edges, directed=False)[1].astype(np.int64)  # type: ignore[no-any-return]


def _jaccard(first: np.ndarray, second: np.ndarray) -> float:
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


def _shingles(texts: Sequence[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a 64-bit code of each shingle, repeats included, uint64 [S], and where each text's start, [N + 1]."""
    word_hash: dict[str, int] = {}

    def code(word: str) -> int:
        return word_hash.setdefault(word, zlib.crc32(word.encode()))

    rows = [[code(word) for word in WORD.findall(text.lower())] for text in texts]
    lengths_N = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    words_T = np.fromiter(chain.from_iterable(rows), dtype=np.uint64, count=int(lengths_N.sum()))
    rest_T = np.repeat(np.cumsum(lengths_N), lengths_N) - np.arange(len(words_T))  # words left in the text from here on
    # Horner's scheme over the next `width` words; past the end of its text a word counts as 0.
    padded = np.concatenate([words_T + np.uint64(1), np.zeros(width, dtype=np.uint64)])
    code_T = np.zeros(len(words_T), dtype=np.uint64)
    for step in range(width):
        code_T = code_T * MULTIPLIER + np.where(rest_T > step, padded[step : step + len(words_T)], np.uint64(0))
    counts_N = np.where(lengths_N > 0, np.maximum(lengths_N - width + 1, 1), 0)
    last_N = np.repeat(np.minimum(lengths_N, width), lengths_N)
    return code_T[rest_T >= last_N], np.concatenate([[0], np.cumsum(counts_N)])


def _candidates(code_S: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns pairs of texts, the lower row first, that agree in at least one band of min-wise hashes; int64 [P, 2]."""
    rows = np.flatnonzero(np.diff(offsets))
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    if len(rows):
        starts = offsets[rows]
        generator = np.random.default_rng(20260101)
        for _ in range(HASHES // BAND):
            key = np.zeros(len(rows), dtype=np.uint64)
            for seed in generator.integers(2**63, size=BAND, dtype=np.uint64):
                key = (key * MULTIPLIER) ^ np.minimum.reduceat(_mix(code_S ^ seed), starts)
            pairs.append(_chains(rows, key))
    return np.unique(np.concatenate(pairs), axis=0)


def _mix(value: np.ndarray) -> np.ndarray:
    """Scatters 64-bit numbers: two rounds of multiplying and folding the high bits down, as in splitmix64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)  # type: ignore[no-any-return]


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
