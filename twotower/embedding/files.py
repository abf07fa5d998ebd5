"""Word vectors from a file: word2vec text or binary, or GloVe text, packed or not.

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import islice

import numpy as np

from twotower.core.errors import UserError
from twotower.embedding.opening import open_file
from twotower.embedding.records import read_records, to_vector
from twotower.text.stem import Stems

__all__ = ["file_vectors", "open_file"]

EXACT, LOWER, FOLDED = 0, 1, 2
"""How well a word of the file fits one of the vocabulary: it is the same, the same in small letters, or folded."""


def file_vectors(
    words: Sequence[str], *, path: str | None, dim: int, format: str | None = None, stem: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vectors of a vocabulary's words.

    A word takes the vector of the same word, else of its small letters, else of the first word of the file that differs
    from it in case and composition of letters alone. A word that stands there twice counts the first time. A stem takes
    the vector of the first word of the file that it is the stem of: files begin with the most frequent words.

    Args:
        words: the vocabulary, in index order.
        path: the file.
        dim: numbers in a vector.
        format: text or binary; None: seen from the content.
        stem: language of the stems that `words` are; None for whole words.

    Returns:
        Indices int64 [K] of the words found, and their vectors float32 [K, D].

    Raises:
        UserError: when the file is missing, is malformed (with the line or record number), has another dimension, or
            knows no word at all.
    """
    file = open_file(path, dim=dim, format=format)
    fits: dict[str, list[tuple[int, int]]] = {}
    for number, word in enumerate(words):
        forms = {fold(word): FOLDED, word.lower(): LOWER, word: EXACT} if number > 1 else {word: EXACT}
        for form, how in forms.items():
            fits.setdefault(form, []).append((how, number))
    best: dict[int, tuple[int, np.ndarray]] = {}
    stems = None if stem is None else Stems(stem)
    first: list[str] = []
    for record, word, value in read_records(file):
        if len(first) < 5:
            first.append(" ".join(word.split())[:30])
        if stems is not None:
            word = stems(fold(word))
        exact = fits.get(word, ())
        folded = fits.get(fold(word), ())
        wanted = [(how, number) for how, number in exact if number not in best or best[number][0] > how]
        wanted += [(FOLDED, number) for _, number in folded if number not in best]
        if wanted:
            vector_D = to_vector(file, record, value)
            for how, number in wanted:
                if number not in best or best[number][0] > how:
                    best[number] = how, vector_D
    if not best:
        raise UserError(_nothing_known(str(path), first, words))
    indices_K = np.array(sorted(best), dtype=np.int64)
    vectors_KD = np.array([best[number][1] for number in sorted(best)], dtype=np.float32).reshape(-1, file.dim)
    return indices_K, vectors_KD


def fold(word: str) -> str:
    """Returns a word in small letters and composed form, as the tokenizer leaves words."""
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).lower()


def _nothing_known(path: str, first: list[str], words: Sequence[str]) -> str:
    ours = ", ".join(islice((word for word in words if not word.startswith("[")), 5))
    return (
        f"embedding.path={path} has no vector for any of the {len(words):,} words of the vocabulary; its words are "
        f"{', '.join(first) or 'none'} ..., ours {ours} ...: another language, or another way of cutting words?"
    )
