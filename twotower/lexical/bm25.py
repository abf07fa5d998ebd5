"""BM25 as bm25s computes it, plain or over stems: a sparse matrix of what every word gives every document.

bm25s holds the contribution of every (word, document) pair; the scores of many queries at once are one sparse product
with it, those of a single query the sum of a handful of its rows.

Shapes: Q queries, N documents, V words.

Source: bm25s (https://github.com/xhluca/bm25s), its "lucene" variant and its English stop words; words as
`lexical.words` cuts them; stems by PyStemmer's Snowball; k1 and b as Pyserini has them, which BEIR's
BM25 figures are made with (Thakur et al. 2021), where nothing else is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import bm25s
import numpy as np
from bm25s.stopwords import STOPWORDS_EN
from scipy import sparse

from twotower.core.cache import cached_folder, content_key
from twotower.core.files import read_json, write_json
from twotower.core.progress import bar
from twotower.lexical.pairs import Pairs
from twotower.lexical.ranks import best_of
from twotower.lexical.stored import Stored
from twotower.lexical.word_ids import WordIds
from twotower.lexical.words import words_of
from twotower.text.stem import Stems, check_language

STOP_WORDS = frozenset(STOPWORDS_EN)
EXACT = "exact_"
"""Stands before the names of the files that hold words as they are written, beside those of stems."""
Entries = tuple[np.ndarray, np.ndarray, float]
"""Rows of documents, what is added to each, and its weight."""
K1, B = 0.9, 0.4
"""How soon a word's repetition in a document saturates, and how much a document's length counts, from 0 to 1."""
BLOCK = 1 << 26
"""Scores held at a time while ranking: 256 MB."""


def variant(stem: str | None) -> str:
    """Returns how a BM25 is called: "plain", or "stemmed" where words are reduced to their stems."""
    return "stemmed" if stem else "plain"


class Bm25:
    """BM25 scores of queries against a fixed list of documents. Build one with `Bm25.build` or `Bm25.load`.

    Args:
        stored: what bm25s keeps, or None for documents without a single word.
        count: N.
        stem: language of the stemmer its words went through; None for none.
        pairs: scores of neighbouring words; None where they are not wanted.

    Attributes:
        exact: beside stems, the BM25 of words as they are written; None where it is not wanted.
    """

    exact: Bm25 | None = None

    def __init__(
        self, stored: Stored | None, *, count: int, stem: str | None = None, pairs: Pairs | None = None
    ) -> None:
        self.stored, self.count, self.stem, self.pairs = stored, count, check_language("bm25.stem", stem), pairs
        self._stems = Stems(stem) if stem else None
        self.vocabulary: dict[str, int] = {}
        if stored is None:
            self.data, self.rows = np.zeros(0, np.float32), np.zeros(0, np.int32)
            self.starts = np.zeros(1, np.int64)
            return
        self.data, self.rows, self.starts = stored.data, stored.rows, stored.starts
        words = len(self.starts) - 1
        self.vocabulary = {word: at for word, at in stored.words.items() if word and 0 <= at < words}

    @classmethod
    def build(
        cls,
        texts: Sequence[str],
        *,
        stem: str | None = None,
        pairs: bool = False,
        exact: bool = False,
        k1: float = K1,
        b: float = B,
    ) -> Bm25:
        """Indexes N texts.

        Args:
            texts: what BM25 reads of each document.
            stem: language of a Snowball stemmer; None leaves words as they are.
            pairs: index pairs of neighbouring words too.
            exact: with stems, index words as they are written too.
            k1: how soon repeated words saturate; 0 counts each once.
            b: how much the length of documents counts, from 0 to 1.
        """
        return cls._of(WordIds.read(texts), stem=stem, pairs=pairs, exact=exact, k1=k1, b=b)

    @classmethod
    def _of(
        cls, read: WordIds, *, stem: str | None, k1: float, b: float, pairs: bool = False, exact: bool = False
    ) -> Bm25:
        names = [word for word in read.words if word not in STOP_WORDS]
        if not names:
            return cls(None, count=len(read), stem=stem)
        terms = names if stem is None else Stems(stem).all(names)
        vocabulary = {term: number for number, term in enumerate(dict.fromkeys(terms))}
        number = dict(zip(names, map(vocabulary.__getitem__, terms), strict=True))
        numbers = np.fromiter((number.get(word, -1) for word in read.words), np.int32, len(read.words))
        made = cls(Stored.of(*read.replaced(numbers), vocabulary, k1=k1, b=b), count=len(read), stem=stem)
        if pairs:
            made._add_pairs(read)
        if exact and stem:
            made.exact = cls._of(read, stem=None, k1=k1, b=b)
        return made

    def _add_pairs(self, read: WordIds) -> None:
        """Indexes pairs of neighbouring words of the same texts."""
        if self.stored is None:
            return
        size, stop_from = self._stop_from + len(STOP_WORDS), self._stop_from
        number = _Ids(self.vocabulary, self._stems, self._stop_ids).__getitem__
        ids_V = np.fromiter(map(number, read.words), np.int64, len(read.words))
        with bar("BM25 reads pairs of words", shown=len(read) > 0) as progress:
            own = self.stored
            self.pairs = Pairs.build(
                ids_V, read.ids_T, read.offsets, size=size, stop_from=stop_from, k1=own.k1, b=own.b, progress=progress
            )

    @classmethod
    def cached(
        cls,
        texts: Callable[[], Sequence[str]],
        key: str,
        *,
        stem: str | None = None,
        pairs: bool = False,
        exact: bool = False,
        k1: float = K1,
        b: float = B,
    ) -> Bm25:
        """As `build`, kept on disk by a key that stands for the texts; they are asked for only where it is new.

        Args:
            texts: gives the N texts.
            key: another one for other texts.
            stem: as for `build`.
            pairs: as for `build`.
            exact: as for `build`.
            k1: as for `build`.
            b: as for `build`.
        """

        def fill(folder: Path) -> None:
            if pairs:
                made = cls.cached(texts, key, stem=stem, k1=k1, b=b)
                made._add_pairs(WordIds.cached(texts, key))
            else:
                made = cls._of(WordIds.cached(texts, key), stem=stem, k1=k1, b=b)
            made.save(folder)
            write_json(folder / "count.json", made.count)

        more = ["pairs 1"] if pairs else []
        own = content_key("bm25 index 6", bm25s.__version__, key, stem, k1, b, *more)
        folder = cached_folder("bm25_index", own, fill)
        made = cls.load(folder, count=int(read_json(folder / "count.json")), stem=stem)
        if exact and stem:
            made.exact = cls.cached(texts, key, k1=k1, b=b)
        return made

    def save(self, folder: Path) -> None:
        """Writes bm25s's own files into a folder; `bm25s.BM25.load` reads them too. Nothing where there is no word."""
        if self.stored is not None:
            self.stored.save(folder, count=self.count)
        if self.exact is not None and self.exact.stored is not None:
            self.exact.stored.save(folder, count=self.count, prefix=EXACT)
        if self.pairs is not None:
            self.pairs.save(folder)

    @classmethod
    def load(cls, folder: Path, *, count: int, stem: str | None) -> Bm25:
        """Opens what `save` wrote; the scores stay on disk and are mapped into memory.

        Raises:
            UserError: when files are missing or damaged.
        """
        made = cls(Stored.load(folder), count=count, stem=stem)
        made.pairs = Pairs.load(folder, count=count, size=made._stop_from + len(STOP_WORDS))
        if (words := Stored.load(folder, prefix=EXACT)) is not None:
            made.exact = cls(words, count=count)
        return made

    @property
    def _stop_from(self) -> int:
        """The first id of a stop word: those of other words come before."""
        return len(self.starts) - 1

    @cached_property
    def _stop_ids(self) -> dict[str, int]:
        return {word: self._stop_from + at for at, word in enumerate(sorted(STOP_WORDS))}

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """What each word gives each document, sparse [V, N]."""
        shape = (len(self.starts) - 1, self.count)
        return sparse.csr_matrix((self.data, self.rows, self.starts), shape=shape)

    def words(self, text: str) -> list[str]:
        """Returns the words of a text as they are looked up, stop words left out, known or not."""
        words = [word for word in words_of(text) if word not in STOP_WORDS]
        return [self._stems(word) for word in words] if self._stems else words

    def count_words(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Returns how often each query holds each known word, sparse float32 [Q, V]."""
        ids = [[self.vocabulary[word] for word in self.words(text) if word in self.vocabulary] for text in texts]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        words = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        shape = (len(texts), len(self.starts) - 1)
        return sparse.csr_matrix((np.ones(len(words), np.float32), (owner, words)), shape=shape)

    def scores(self, texts: Sequence[str], *, pairs: float = 0.0, exact: float = 0.0) -> np.ndarray:
        """Returns the scores of every document for every query, float32 [Q, N].

        Args:
            texts: of the queries.
            pairs: weight of pairs of neighbouring words beside single words.
            exact: weight of words as they are written beside stems.
        """
        sums_BN = self.count_words(texts) @ self.matrix
        if pairs and self.pairs is not None:
            ids = list(self._read(texts))
            sums_BN = sums_BN + self.pairs.scores(ids, stop_from=self._stop_from) * np.float32(pairs)
        if exact and self.exact is not None:
            sums_BN = sums_BN + self.exact.count_words(texts) @ self.exact.matrix * np.float32(exact)
        scores_QN: np.ndarray = sums_BN.toarray()
        return scores_QN

    def best(self, texts: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the k best documents of every query: scores float32 [Q, k] descending, and rows int64 [Q, k].

        Equal scores come by row, but for which of those at the last rank are kept. No more than N are returned.
        """
        words_QV, depth = self.count_words(texts), min(k, self.count)
        scores_QK, rows_QK = np.empty((len(texts), depth), np.float32), np.empty((len(texts), depth), np.int64)
        step = max(1, BLOCK // max(self.count, 1))
        for start in range(0, len(texts), step):
            scores_BN = (words_QV[start : start + step] @ self.matrix).toarray()
            scores_QK[start : start + step], rows_QK[start : start + step] = best_of(scores_BN, depth)
        return scores_QK, rows_QK

    def _read(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Yields the words of each text by id, in order, stop words too; -1 for one that no document has."""
        number = _Ids(self.vocabulary, self._stems, self._stop_ids).__getitem__
        for text in texts:
            yield np.fromiter(map(number, words_of(text)), np.int64)

    def further(self, text: str, *, pairs: float = 0.0, exact: float = 0.0) -> list[Entries]:
        """Returns what a query's pairs, and its words as they are written, add beside its words.

        Args:
            text: the query.
            pairs: weight of pairs of neighbouring words.
            exact: weight of words as they are written.
        """
        more: list[Entries] = []
        if pairs and self.pairs is not None:
            for place in self.pairs.places(next(self._read([text])), stop_from=self._stop_from).tolist():
                part = slice(int(self.pairs.starts[place]), int(self.pairs.starts[place + 1]))
                more.append((self.pairs.rows[part], self.pairs.data[part], pairs))
        if exact and (own := self.exact) is not None:
            for word, count in Counter(own.words(text)).items():
                if (number := own.vocabulary.get(word)) is not None:
                    part = slice(int(own.starts[number]), int(own.starts[number + 1]))
                    more.append((own.rows[part], own.data[part], exact * count))
        return more


class _Ids(dict[str, int]):
    """Ids of words as texts write them, each looked up once: stop words behind all others, -1 for unknown ones."""

    def __init__(self, vocabulary: dict[str, int], stems: Stems | None, stop: dict[str, int]) -> None:
        super().__init__(stop)
        self._vocabulary, self._stems = vocabulary, stems

    def __missing__(self, word: str) -> int:
        number = self[word] = self._vocabulary.get(self._stems(word) if self._stems else word, -1)
        return number
