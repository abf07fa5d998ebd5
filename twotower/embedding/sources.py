"""Our sources of word vectors: what a constructor takes is what may stand in the `embedding` group.

Beside `vectors`, a source may say `shaped = False` (its vectors are taken as they are, see `build.shape_vectors`) and
`few` (a smaller share of the corpus with vectors is warned of), and `check()` what it reads from before any data is.

Shapes: K words with a vector, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag, check_number
from twotower.embedding.files import file_vectors, open_file
from twotower.embedding.glove import check_glove, glove_vectors
from twotower.embedding.word2vec import Word2VecSettings, trained_vectors

if TYPE_CHECKING:
    from twotower.text.tokens import Tokens

Found = tuple[np.ndarray, np.ndarray]
"""Indices int64 [K] of words, and their vectors float32 [K, D]."""


class RandomVectors:
    """No word has a vector: all stay random.

    Args:
        distribution: normal or uniform, of each number.
    """

    shaped = False

    def __init__(self, *, dim: int = 256, distribution: str = "normal") -> None:
        self.dim = dim
        self.distribution = check_choice("embedding.distribution", distribution, ("normal", "uniform"))

    def vectors(self, words: Sequence[str]) -> Found:
        """Returns nothing."""
        return np.zeros(0, dtype=np.int64), np.zeros((0, self.dim), dtype=np.float32)


class Cbow:
    """Trained on the corpus: a word from its neighbours.

    Args:
        dim: size of a vector.
        epochs: passes over the corpus.
        window: neighbours on each side, at most.
        negative: random words against each true one.
        min_count: rarer words stay random.
        alpha: first learning rate.
    """

    kind = "cbow"

    def __init__(
        self,
        *,
        dim: int = 256,
        epochs: int = 5,
        window: int = 5,
        negative: int = 5,
        min_count: int = 1,
        alpha: float = 0.025,
    ) -> None:
        counts = {"epochs": epochs, "window": window, "negative": negative, "min_count": min_count}
        for key, value in counts.items():
            check_count(f"embedding.{key}", value)
        check_number("embedding.alpha", alpha, above=0, at_most=1)
        self.dim, self.counts, self.alpha = dim, counts, alpha

    def vectors(self, words: Sequence[str], *, tokens: Tokens | None, seed: int) -> Found:
        """Trains, or reads what the same training gave before."""
        settings = Word2VecSettings(kind=self.kind, dim=self.dim, **self.counts, alpha=self.alpha)
        return trained_vectors(settings, _corpus(self.kind, tokens), size=len(words), seed=seed)


class SkipGram(Cbow):
    """Trained on the corpus: neighbours from a word."""

    kind = "skipgram"


class Lsa:
    """The strongest directions of the BM25-weighted matrix of documents and words.

    Args:
        dim: size of a vector.
        k1: how soon repeated words saturate.
        b: how much long documents are held back.
        passes: over the corpus.
        max_documents: of a larger corpus so many are drawn.
        unit: every word's vector gets length 1; without it, words that few of the directions hold are short.
        mix: other vectors added to these: the settings of another choice.
        mix_weight: length of what is added against these.
    """

    shaped = False

    def __init__(
        self,
        *,
        dim: int = 256,
        k1: float = 1.5,
        b: float = 0.75,
        passes: int = 4,
        max_documents: int = 200_000,
        unit: bool = False,
        mix: Mapping[str, Any] | None = None,
        mix_weight: float = 0.5,
    ) -> None:
        check_number("embedding.k1", k1, at_least=0)
        check_number("embedding.b", b, at_least=0, at_most=1)
        check_count("embedding.passes", passes, at_least=2)
        check_count("embedding.max_documents", max_documents)
        self.mix_weight = check_number("embedding.mix_weight", mix_weight, at_least=0)
        if mix is not None and not isinstance(mix, Mapping):
            raise UserError("embedding.mix is null or the keys of another choice, such as {kind: cbow}.")
        self.mix = mix
        check_flag("embedding.unit", unit)
        self.settings: dict[str, Any] = {"dim": dim, "k1": k1, "b": b, "passes": passes, "unit": unit}
        self.settings["max_documents"] = max_documents

    def vectors(self, words: Sequence[str], *, tokens: Tokens | None, documents: Tokens | None, seed: int) -> Found:
        """Finds the directions, or reads those found before."""
        from twotower.embedding.lsa import lsa_vectors

        corpus = _corpus("lsa", tokens if documents is None else documents)
        return lsa_vectors(corpus, size=len(words), seed=seed, **self.settings)


class Glove:
    """GloVe 6B.

    Args:
        dim: size of a vector; 50 is there.
    """

    few = 0.5

    def __init__(self, *, dim: int = 50) -> None:
        self.dim = dim

    def check(self) -> None:
        """Looks for the vectors."""
        check_glove(self.dim)

    def vectors(self, words: Sequence[str], *, stem: str | None = None) -> Found:
        """Reads those of the words, or of the words that have these stems."""
        return glove_vectors(words, dim=self.dim, stem=stem)


class VectorFile:
    """A file: word2vec text or binary, or GloVe text.

    Args:
        path: the file.
        dim: size of a vector; must be the file's.
        format: text or binary; None: seen from the content.
    """

    few = 0.5

    def __init__(self, *, path: str | None = None, dim: int = 300, format: str | None = None) -> None:
        self.path, self.dim, self.format = path, dim, format

    def check(self) -> None:
        """Reads the head of the file."""
        open_file(self.path, dim=self.dim, format=self.format)

    def vectors(self, words: Sequence[str], *, stem: str | None = None) -> Found:
        """Reads those of the words, or of the words that have these stems."""
        return file_vectors(words, path=self.path, dim=self.dim, format=self.format, stem=stem)


def _corpus(kind: str, tokens: Tokens | None) -> Tokens:
    if tokens is None:
        raise UserError(f"embedding={kind} is trained on the corpus, but there are no tokens.")
    return tokens
