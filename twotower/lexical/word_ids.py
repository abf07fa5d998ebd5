"""The words of many texts by number: read once, for BM25 over words, over stems, and over pairs of neighbours.

Shapes: N texts, T words of all of them, V distinct words.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twotower.core.cache import cached_folder, content_key
from twotower.core.files import write_json
from twotower.core.progress import bar
from twotower.core.ragged import to_offsets
from twotower.core.reading import read_array, read_typed_json
from twotower.lexical.words import words_of

TOLD_EVERY = 4096
"""Texts between two moves of the bar."""


@dataclass(frozen=True, kw_only=True)
class WordIds:
    """The words of N texts, stop words and repetitions included.

    Attributes:
        ids_T: int32, the words of all texts, one after the other.
        offsets: int64 [N + 1], where each text begins.
        words: the V distinct words, by number.
    """

    ids_T: np.ndarray
    offsets: np.ndarray
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def read(cls, texts: Sequence[str]) -> WordIds:
        """Reads the words of texts as `words_of` cuts them."""
        numbers, ids, lengths = _Numbers(), array("i"), array("q")
        with bar("BM25 reads words", shown=len(texts) > 0) as progress:
            for at, text in enumerate(texts):
                words = words_of(text)
                ids.extend(map(numbers.__getitem__, words))
                lengths.append(len(words))
                if at % TOLD_EVERY == 0:
                    progress(at / len(texts))
        offsets = to_offsets(np.frombuffer(lengths, dtype=np.int64) if lengths else np.zeros(0, np.int64))
        ids_T = np.frombuffer(ids, dtype=np.int32) if ids else np.zeros(0, np.int32)
        return cls(ids_T=ids_T, offsets=offsets, words=list(numbers))

    @classmethod
    def cached(cls, texts: Callable[[], Sequence[str]], key: str) -> WordIds:
        """As `read`, kept on disk by a key that stands for the texts; they are asked for only where it is new."""

        def fill(folder: Path) -> None:
            made = cls.read(texts())
            np.save(folder / "ids.npy", made.ids_T)
            np.save(folder / "offsets.npy", made.offsets)
            write_json(folder / "words.json", made.words)

        folder = cached_folder("bm25_words", content_key("bm25 words 1", key), fill)
        return cls(
            ids_T=read_array(folder / "ids.npy", dtype="int32", shape=(None,), mapped=True),
            offsets=read_array(folder / "offsets.npy", dtype="int64", shape=(None,)),
            words=read_typed_json(folder / "words.json", [str]),
        )

    def replaced(self, numbers_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns `ids_T` and `offsets` with each word's number replaced, words with a negative new number left out.

        Args:
            numbers_V: int32, the new number of each word.
        """
        new_T = numbers_V[self.ids_T]
        kept_T = new_T >= 0
        counted = np.zeros(len(kept_T) + 1, dtype=np.int64)
        np.cumsum(kept_T, out=counted[1:])
        return new_T[kept_T], counted[self.offsets]


class _Numbers(dict[str, int]):
    """Numbers words in the order they are met."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number
