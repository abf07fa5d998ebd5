"""Word vectors trained on the corpus itself: continuous bag of words and skip-gram, with gensim.

Source: Mikolov et al., Efficient Estimation of Word Representations in Vector Space (2013).

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.cache import cached_folder, content_key
from twotower.core.progress import bar
from twotower.core.reading import read_array

if TYPE_CHECKING:
    from twotower.text.tokens import Tokens

log = logging.getLogger(__name__)

REPORT_EVERY = 1000
"""Texts read between two calls that move the bar."""


@dataclass(frozen=True, kw_only=True)
class Word2VecSettings:
    """How word vectors are trained.

    Attributes:
        kind: cbow or skipgram.
        dim: size of a vector D.
        epochs: passes over the corpus.
        window: neighbours on each side, at most.
        negative: random words against each true one.
        min_count: rarer words get no vector.
        alpha: first learning rate.
    """

    kind: str
    dim: int
    epochs: int
    window: int
    negative: int
    min_count: int
    alpha: float


class Sentences:
    """The corpus as gensim reads it: a list of tokens a text, here the decimal string of each token's id.

    Ids instead of words, so that nothing depends on what the words look like; padding does not occur in rows.

    Args:
        tokens: the corpus.
        size: number of words V.
        report: called after every so many texts, see `REPORT_EVERY`.
    """

    def __init__(self, tokens: Tokens, *, size: int, report: Callable[[], None] | None = None) -> None:
        self.names = np.array([str(number) for number in range(size)], dtype=object)
        self.tokens, self.report = tokens, report or (lambda: None)

    def __iter__(self) -> Iterator[list[str]]:
        ids_T, offsets = np.asarray(self.tokens.ids_T), self.tokens.offsets
        for number, (start, stop) in enumerate(pairwise(offsets.tolist()), start=1):
            yield self.names[ids_T[start:stop]].tolist()
            if number % REPORT_EVERY == 0:
                self.report()


def trained_vectors(
    settings: Word2VecSettings, tokens: Tokens, *, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Trains word vectors, or reads them from the cache if the same were trained before.

    One worker thread, so that the same seed gives the same vectors.

    Args:
        settings: how.
        tokens: the corpus.
        size: number of words V.
        seed: gensim's.

    Returns:
        Indices int64 [K] of the words that have a vector, and the vectors float32 [K, D].
    """
    key = content_key("word2vec-1", asdict(settings), seed, np.asarray(tokens.ids_T), tokens.offsets)
    folder = cached_folder("word_vectors", key, lambda path: _train(path, settings, tokens, size=size, seed=seed))
    indices_K = read_array(folder / "indices.npy", dtype="int64", shape=(None,))
    return indices_K, read_array(folder / "vectors.npy", dtype="float32", shape=(len(indices_K), None), finite=True)


def _train(folder: Path, settings: Word2VecSettings, tokens: Tokens, *, size: int, seed: int) -> None:
    from gensim.models import Word2Vec

    log.info("Training word vectors (%s) on %s tokens ...", settings.kind, f"{len(tokens.ids_T):,}")
    logging.getLogger("gensim").setLevel(logging.WARNING)
    indices_K, vectors_KD = np.zeros(0, dtype=np.int64), np.zeros((0, settings.dim), dtype=np.float32)
    counts_V = np.bincount(np.asarray(tokens.ids_T), minlength=size)
    if (counts_V[1:] >= settings.min_count).any():
        chosen: dict[str, Any] = {"vector_size": settings.dim, "window": settings.window, "epochs": settings.epochs}
        chosen |= {"negative": settings.negative, "min_count": settings.min_count, "alpha": settings.alpha}
        with bar(f"Word vectors ({settings.kind})") as progress:
            parts = (1 + settings.epochs) * max(1, len(tokens) // REPORT_EVERY)  # gensim counts words before its epochs
            done = count(1)
            sentences = Sentences(tokens, size=size, report=lambda: progress(min(1.0, next(done) / parts)))
            model = Word2Vec(sentences, sg=int(settings.kind == "skipgram"), seed=seed + 1, workers=1, **chosen)
        indices_K = np.array([int(name) for name in model.wv.index_to_key], dtype=np.int64)
        vectors_KD = model.wv.vectors.astype(np.float32)
    np.save(folder / "indices.npy", indices_K)
    np.save(folder / "vectors.npy", vectors_KD)
