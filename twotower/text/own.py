"""A tokenizer around somebody else's way to split texts: see `twotower.config.protocols.Tokenizer`.

The part says which words a text has; vocabulary, ids, unknown words and everything kept on disk are as for our own.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from twotower.config.instantiate import build_part, locate
from twotower.config.protocols import Tokenizer as Splitter
from twotower.core.cache import cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.files import sha256_file
from twotower.core.ragged import to_offsets
from twotower.text import pipeline
from twotower.text.settings import OwnTextSettings
from twotower.text.tokenizer import UNKNOWN_ID, Tokenizer
from twotower.text.tokens import Tokens, TokenStatistics


class OwnTokenizer(Tokenizer):
    """As `Tokenizer`, with the words of a text from a part that has `split(text)`."""

    settings: OwnTextSettings  # type: ignore[assignment]

    def __init__(self, *, word_to_index: dict[str, int], settings: OwnTextSettings) -> None:
        self.settings = settings
        self.word_to_index = pipeline.check_vocabulary(word_to_index)
        self._splitter = build_splitter(settings)
        self._source = _source_of(settings)

    @classmethod
    def train(cls, texts: Iterable[str], settings: OwnTextSettings) -> OwnTokenizer:  # type: ignore[override]
        """Takes the part's own vocabulary if it has one, else counts its words, the most frequent first."""
        splitter = build_splitter(settings)
        words: Iterable[str] | None = getattr(splitter, "vocabulary", None)
        if words is None:
            counts = Counter(word for text in texts for word in splitter.split(text))
            kept = [word for word, count in counts.items() if count >= settings.min_frequency]
            kept.sort(key=lambda word: (-counts[word], word))
            most = settings.max_vocabulary
            words = kept if most is None else kept[: max(0, most - 2)]
        return cls(word_to_index=pipeline.with_specials(words), settings=settings)

    @classmethod
    def train_cached(cls, texts: Sequence[str], settings: OwnTextSettings, **_: object) -> OwnTokenizer:  # type: ignore[override]
        """As `train`: what a part's code would do with the texts can't be known from its settings alone."""
        return cls.train(texts, settings)

    @property
    def hash(self) -> str:
        """Hex sha256 of vocabulary, part and settings."""
        return content_key(self.index_to_word, self.settings.part)

    def encode_cached(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """As `encode`, kept on disk as long as the part's file stays as it is."""
        key = content_key("own tokens 1", self.hash, self._source, max_length, list(texts))
        return Tokens.load(cached_folder("tokens", key, lambda folder: self.encode(texts, max_length).save(folder)))

    def read(self, text: str) -> tuple[list[str], list[str], list[int]]:
        """Reads one text; see `Tokenizer.read`."""
        words = self._splitter.split(text)
        ids = [self.word_to_index.get(word, UNKNOWN_ID) for word in words]
        unknown = [word for word, number in zip(words, ids, strict=True) if number == UNKNOWN_ID]
        return list(dict.fromkeys(words)), list(dict.fromkeys(unknown)), ids

    def words(self, text: str) -> list[str]:
        """Returns the words of one text as the part splits it."""
        return self._splitter.split(text)

    def _pieces(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        """Returns the words with where they stand; one that the text does not hold has no place."""
        lowered, position, pieces = text.lower(), 0, []
        for word in self._splitter.split(text):
            start = lowered.find(word.lower(), position) if len(lowered) == len(text) else text.find(word, position)
            position = position if start < 0 else start + len(word)
            pieces.append((word, (position, position) if start < 0 else (start, position)))
        return pieces

    def _encode_chunk(self, texts: list[str], max_length: int | None) -> Tokens:
        rows = [[self.word_to_index.get(word, UNKNOWN_ID) for word in self._splitter.split(text)] for text in texts]
        kept = [row if max_length is None else row[:max_length] for row in rows]
        ids_T = np.array([number for row in kept for number in row], dtype=np.int32)
        whole = [len(row) for row in rows]
        statistics = TokenStatistics(
            texts=len(texts),
            tokens=sum(whole),
            unknown=sum(row.count(UNKNOWN_ID) for row in rows),
            truncated=sum(len(row) < count for row, count in zip(kept, whole, strict=True)),
            cut_tokens=sum(whole) - len(ids_T),
            empty=whole.count(0),
        )
        offsets = to_offsets(np.array([len(row) for row in kept], dtype=np.int64))
        return Tokens(ids_T=ids_T, offsets=offsets, statistics=statistics)


def build_splitter(settings: OwnTextSettings) -> Splitter:
    """Builds the part and tries it.

    Raises:
        UserError: when it has no `split`, or that does not give a list of words.
    """
    splitter = build_part(settings.part, "text")
    wanted = "a tokenizer needs split(text) -> list[str]; docs/own_parts.md shows one"
    if not isinstance(splitter, Splitter):
        raise UserError(f"text._target_={settings.target}: {wanted}.")
    words = splitter.split("Two words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"text._target_={settings.target}: split gave {type(words).__name__}; {wanted}.")
    return splitter


def _source_of(settings: OwnTextSettings) -> str:
    try:
        return sha256_file(Path(inspect.getfile(locate(settings.target, "text"))))
    except (TypeError, OSError):
        return ""
