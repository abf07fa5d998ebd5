"""Words to their stems, by the Snowball stemmer of a language: `inverting`, `inverts` and `inverted` are `invert`.

Source: Porter, Snowball: a language for stemming algorithms (2001); PyStemmer holds the compiled stemmers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import Stemmer

from twotower.core.errors import UserError, nearest

MOST_WORDS = 1_000_000
"""Words whose stems are remembered before all are forgotten."""


def languages() -> list[str]:
    """Returns the languages there is a stemmer for."""
    return sorted(Stemmer.algorithms())


def check_language(key: str, language: object) -> str | None:
    """Returns the language if there is a stemmer for it, None for None.

    Args:
        key: the setting's key, for the message.
        language: its value.

    Raises:
        UserError: for anything else, naming the nearest.
    """
    if language is None:
        return None
    there = languages()
    if language not in there:
        hint = nearest(str(language), there)
        raise UserError(f"{key}={language} is no language with a stemmer; null, or one of: {', '.join(there)}.{hint}")
    return str(language)


class Stems:
    """The stem of each word, remembered.

    Args:
        language: one of `languages()`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._stemmer = Stemmer.Stemmer(language, 0)  # 0: we remember ourselves, without a limit in the way
        self._known: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        """Returns a word's stem."""
        stem = self._known.get(word)
        if stem is None:
            if len(self._known) >= MOST_WORDS:
                self._known.clear()
            stem = self._known[word] = self._stemmer.stemWord(word)
        return stem

    def all(self, words: Sequence[str]) -> list[str]:
        """Returns the stems of many words at once."""
        return list(self._stemmer.stemWords(list(words)))


def count_stems(
    words: Sequence[str], counts_V: np.ndarray, stems: Stems, *, min_frequency: int, most: int | None
) -> list[str]:
    """Returns the stems of counted words, most frequent first, ties by spelling.

    Args:
        words: V words.
        counts_V: how often each occurs.
        stems: gives a word's stem.
        min_frequency: rarer stems are left out; what counts is all words of a stem together.
        most: at most so many; None for no limit.
    """
    names, place_V = np.unique(np.array(stems.all(words), dtype=object), return_inverse=True)
    count_S = np.bincount(place_V, weights=counts_V, minlength=len(names))
    order_S = np.lexsort((np.arange(len(names)), -count_S))
    kept = order_S[count_S[order_S] >= min_frequency]
    return [str(names[place]) for place in kept[:most]]
