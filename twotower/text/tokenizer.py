"""The one tokenizer of training, evaluation and search: a thin shell around the Rust `tokenizers` library.

It is defined by two pieces of plain data, word_to_index and the settings of `conf/text`, and is rebuilt from them
exactly; index 0 is always [PAD] and index 1 always [UNK]. Neither can be produced by writing "[PAD]" in a text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as RustTokenizer

from twotower.core.cache import cached_folder, content_key
from twotower.core.files import write_json
from twotower.core.progress import bar
from twotower.core.ragged import to_offsets
from twotower.core.reading import read_typed_json
from twotower.text import pipeline
from twotower.text.memo import WordMemo
from twotower.text.segment import Segmenter
from twotower.text.settings import SHAPING, TextSettings
from twotower.text.stem import Stems, count_stems
from twotower.text.tokens import Tokens, TokenStatistics, concatenate

PAD, UNKNOWN = pipeline.PAD, pipeline.UNKNOWN
UNKNOWN_ID = 1
CHUNK = 8192
"""Texts handed to Rust at once: enough to keep its threads busy, few enough to bound memory."""

# Unless told, the library warns and drops to one thread in every process forked after its first use.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Texts as they are cut into words, before any vocabulary.

    Attributes:
        words: V distinct words, normalised, not stemmed, in the order they were met.
        number_T: int32 [T], each word of each text by its place among `words`.
        lengths_N: int64 [N], words of each text.
    """

    words: list[str]
    number_T: np.ndarray
    lengths_N: np.ndarray


class Tokenizer:
    """Turns texts into ids.

    Build one with `Tokenizer.train` or `Tokenizer.from_vocabulary`.

    Attributes:
        word_to_index: every word and its index; "[PAD]" is 0, "[UNK]" is 1.
        settings: those in `conf/text`.
    """

    def __init__(self, *, word_to_index: dict[str, int], settings: Mapping[str, Any] | TextSettings) -> None:
        self.settings = TextSettings.parse(settings)
        self.word_to_index = pipeline.check_vocabulary(word_to_index)
        self._rust: RustTokenizer = pipeline.build(self.word_to_index, self.settings)
        self._stems = Stems(self.settings.stem) if self.settings.stem else None
        self._segmenter = Segmenter() if self.settings.segmentation == "icu" else None

    @classmethod
    def train(cls, texts: Iterable[str], settings: Mapping[str, Any] | TextSettings) -> Tokenizer:
        """Makes a vocabulary from texts (or reads `vocabulary_file`); the same texts and settings give the same one.

        Raises:
            UserError: for settings out of range, or a vocabulary file that is missing or malformed.
        """
        settings = TextSettings.parse(settings)
        return cls(word_to_index=cls._vocabulary(texts, settings)[0], settings=settings)

    @classmethod
    def _vocabulary(cls, texts: Iterable[str], settings: TextSettings) -> tuple[dict[str, int], Reading | None]:
        """Makes the vocabulary of settings: of words, or of stems, the words of a stem counted together.

        Returns:
            It, and the texts as they were read, where we read them ourselves.
        """
        if settings.stem is None:
            if settings.segmentation == "icu" and settings.vocabulary_file is None:
                texts = map(Segmenter().text, texts)
            return pipeline.make_vocabulary(texts, settings), None
        stems = Stems(settings.stem)
        if settings.vocabulary_file is not None:
            return pipeline.with_specials(stems.all(list(pipeline.make_vocabulary(texts, settings))[2:])), None
        reader = cls.from_vocabulary({PAD: 0, UNKNOWN: UNKNOWN_ID}, replace(settings, stem=None))
        reading = reader._read_all(list(texts))
        kept = None if settings.max_vocabulary is None else settings.max_vocabulary - 2
        counts_V = np.bincount(reading.number_T, minlength=len(reading.words))
        names = count_stems(reading.words, counts_V, stems, min_frequency=settings.min_frequency, most=kept)
        return pipeline.with_specials(names), reading

    @classmethod
    def train_cached(
        cls,
        texts: Sequence[str],
        settings: Mapping[str, Any] | TextSettings,
        *,
        documents: int = 0,
        max_length: int | None = None,
    ) -> Tokenizer:
        """As `train`, with the vocabulary kept on disk by the content it was made from.

        Args:
            texts: what the vocabulary is made from.
            settings: those in `conf/text`.
            documents: so many of them, from the first, will be encoded next: their ids are kept on disk too where
                making the vocabulary gives them, so that `encode_cached` need not read them again.
            max_length: the most tokens kept of a document.
        """
        settings = TextSettings.parse(settings)
        if settings.vocabulary_file is not None:
            return cls.train(texts, settings)
        key = content_key("vocabulary 2", settings.to_dict(), list(texts))
        made: list[Reading] = []

        def fill(folder: Path) -> None:
            vocabulary, reading = cls._vocabulary(texts, settings)
            write_json(folder / "words.json", list(vocabulary))
            made.extend([reading] if reading else [])

        words = read_typed_json(cached_folder("vocabularies", key, fill) / "words.json", [str])
        tokenizer = cls(word_to_index=pipeline.with_specials(words), settings=settings)
        if made and documents:
            tokenizer._keep(texts[:documents], max_length, made[0])
        return tokenizer

    @classmethod
    def from_vocabulary(cls, word_to_index: dict[str, int], settings: Mapping[str, Any] | TextSettings) -> Tokenizer:
        """Rebuilds a tokenizer from what a checkpoint stores."""
        return cls(word_to_index=word_to_index, settings=settings)

    @property
    def config(self) -> dict[str, Any]:
        """The settings as plain data, which with `word_to_index` defines the tokenizer."""
        return self.settings.to_dict()

    @cached_property
    def index_to_word(self) -> list[str]:
        """The word of each index."""
        return sorted(self.word_to_index, key=self.word_to_index.__getitem__)

    @property
    def size(self) -> int:
        """Number of indices, V, [PAD] and [UNK] included."""
        return len(self.word_to_index)

    @cached_property
    def hash(self) -> str:
        """Hex sha256 of vocabulary and settings: two tokenizers with the same hash give the same ids for any text."""
        later = {"stem": None, "segmentation": "plain"}  # settings that hashes from before there were any leave out
        shaping = [key for key in SHAPING if key not in later or getattr(self.settings, key) != later[key]]
        settings = {key: getattr(self.settings, key) for key in shaping}
        return content_key(self.index_to_word, settings)

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """Encodes texts, each cut to its first `max_length` tokens (None: not cut).

        Args:
            texts: N texts; an empty one gives a row of length 0.
            max_length: the most tokens kept of a text.
        """
        parts = []
        with bar("Tokenising", shown=len(texts) > CHUNK) as progress:
            for start in range(0, len(texts), CHUNK):
                parts.append(self._encode_chunk(list(texts[start : start + CHUNK]), max_length))
                progress(min(1.0, (start + CHUNK) / len(texts)))
        return concatenate(parts)

    def encode_cached(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """As `encode`, with the ids kept on disk by content hash and memory-mapped, so that runs share the work."""
        key = self._tokens_key(texts, max_length)
        return Tokens.load(cached_folder("tokens", key, lambda folder: self.encode(texts, max_length).save(folder)))

    def _tokens_key(self, texts: Sequence[str], max_length: int | None) -> str:
        return content_key("tokens 2", self.hash, max_length, list(texts))

    def _keep(self, texts: Sequence[str], max_length: int | None, reading: Reading) -> None:
        """Writes what `encode_cached` will look for, out of a reading that begins with these texts."""
        number = self.word_to_index.get
        id_V = np.array([number(self._looked_up(word), UNKNOWN_ID) for word in reading.words], dtype=np.int32)
        offsets = to_offsets(reading.lengths_N[: len(texts)])

        def fill(folder: Path) -> None:
            parts = []
            for start in range(0, len(texts), CHUNK):
                ends = offsets[start : start + CHUNK + 1]
                ids_T = id_V[reading.number_T[ends[0] : ends[-1]]]
                parts.append(_cut_rows(ids_T, np.diff(ends), max_length))
            concatenate(parts).save(folder)

        cached_folder("tokens", self._tokens_key(texts, max_length), fill)

    def read(self, text: str) -> tuple[list[str], list[str], list[int]]:
        """Reads one text, such as a query, without the array machinery that many texts at once need.

        Returns:
            Its distinct words in order as they are looked up (normalised, stemmed), those of them that the vocabulary
            does not hold as the text writes them, and its ids, which are those of `encode`, not cut.
        """
        text = self._parted(text)
        if self._stems:
            return self._read_stems(text)
        encoding = self._rust.encode(text, add_special_tokens=False)
        ids = encoding.ids
        if UNKNOWN_ID not in ids:
            return list(dict.fromkeys(encoding.tokens)), [], ids
        words = [word for word, _ in self._spelt(text, encoding)]
        unknown = [word for word, number in zip(words, ids, strict=True) if number == UNKNOWN_ID]
        return list(dict.fromkeys(words)), list(dict.fromkeys(unknown)), ids

    def _read_stems(self, text: str) -> tuple[list[str], list[str], list[int]]:
        cut = self._cut(text)
        stems = [self._looked_up(word) for word in cut]
        written = dict(zip(reversed(stems), reversed(cut), strict=True))  # the first spelling of a stem wins
        ids = [self.word_to_index.get(stem, UNKNOWN_ID) for stem in stems]
        words = list(dict.fromkeys(stems))
        return words, [written[word] for word in words if word not in self.word_to_index], ids

    def words(self, text: str) -> list[str]:
        """Returns the words of one text as they are looked up: texts with the same are read alike."""
        return [self._looked_up(word) for word in self._cut(self._parted(text))]

    def _parted(self, text: str) -> str:
        return self._segmenter.text(text) if self._segmenter else text

    def _cut(self, text: str) -> list[str]:
        """Returns the normalised words of one text, not stemmed."""
        cut = self._rust.pre_tokenizer.pre_tokenize_str(self._rust.normalizer.normalize_str(text))
        return [word for word, _ in cut]

    def _looked_up(self, word: str) -> str:
        return self._stems(word) if self._stems else word

    def token_spans(self, text: str) -> list[tuple[str, int, int]]:
        """Returns (normalised word, start, end) for the words of one text; start and end are positions in that text."""
        return [(word, start, end) for word, (start, end) in self._pieces(text)]

    def _pieces(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        if self._segmenter is None:
            return self._spelt(text, self._rust.encode(text, add_special_tokens=False))
        parted, place = self._segmenter.parted(text)
        pieces = self._spelt(parted, self._rust.encode(parted, add_special_tokens=False))
        return [(word, (place(start), place(end))) for word, (start, end) in pieces]

    def _spelt(self, text: str, encoding: Encoding) -> list[tuple[str, tuple[int, int]]]:
        normal = self._rust.normalizer.normalize_str
        return [
            (self._looked_up("".join(normal(text[start:end]).split()) if word == UNKNOWN else word), (start, end))
            for word, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
        ]

    def _read_all(self, texts: Sequence[str]) -> Reading:
        """Reads texts whatever words the vocabulary holds; whole words, not word pieces.

        A word is cut and normalised once, however often it occurs.
        """
        numbers: dict[str, int] = {}

        def numbered(words: list[str]) -> list[list[int]]:
            return [[numbers.setdefault(part, len(numbers)) for part in self._cut(word)] for word in words]

        memo, parts = self._new_memo(numbered), []
        with bar("Counting words") as progress:
            for start in range(0, len(texts), CHUNK):
                chunk = list(texts[start : start + CHUNK])
                parts.append(memo.encode(self._segmenter.texts(chunk) if self._segmenter else chunk))
                progress(min(1.0, (start + CHUNK) / len(texts)))
        number_T, lengths_N = (np.concatenate([part[side] for part in parts] or [np.zeros(0, int)]) for side in (0, 1))
        return Reading(words=list(numbers), number_T=number_T, lengths_N=lengths_N)

    @cached_property
    def _memo(self) -> WordMemo:
        return self._new_memo(self._rust_ids)

    def _new_memo(self, encode: Callable[[list[str]], list[list[int]]]) -> WordMemo:
        wordpiece = self.settings.kind == "wordpiece"
        return WordMemo(encode, wordpiece=wordpiece, whole_identifiers=not self.settings.split_identifiers)

    def _rust_ids(self, texts: list[str]) -> list[list[int]]:
        if self._stems:
            number, looked_up = self.word_to_index.get, self._looked_up
            return [[number(looked_up(word), UNKNOWN_ID) for word in self._cut(text)] for text in texts]
        return [encoding.ids for encoding in self._rust.encode_batch_fast(texts, add_special_tokens=False)]

    def _encode_chunk(self, texts: list[str], max_length: int | None) -> Tokens:
        if self._segmenter:
            texts = self._segmenter.texts(texts)
        return _cut_rows(*self._memo.encode(texts), max_length)


def _cut_rows(ids_T: np.ndarray, full_N: np.ndarray, max_length: int | None) -> Tokens:
    """Returns rows of ids, each cut to its first `max_length`, with what was met and what was cut."""
    kept_N = full_N if max_length is None else np.minimum(full_N, max_length)
    statistics = TokenStatistics(
        texts=len(full_N),
        tokens=len(ids_T),
        unknown=int(np.count_nonzero(ids_T == UNKNOWN_ID)),
        truncated=int(np.count_nonzero(kept_N < full_N)),
        cut_tokens=int((full_N - kept_N).sum()),
        empty=int(np.count_nonzero(full_N == 0)),
    )
    position_T = np.arange(len(ids_T)) - np.repeat(to_offsets(full_N)[:-1], full_N)
    ids_T = ids_T[position_T < np.repeat(kept_N, full_N)]
    return Tokens(ids_T=ids_T, offsets=to_offsets(kept_N), statistics=statistics)
