"""A collection: documents, queries, judgements per split, and optional candidate lists; all plain data.

Shapes: N documents, Q queries, J judgements of a split, C candidates, P pairs. Judgements and candidates are rows into
the collection's own lists, not ids, so that everything after loading is array operations.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from twotower.core.cache import content_key
from twotower.core.errors import UserError, nearest

INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
"""Characters that show nothing: soft hyphen, joiners, marks of direction, variation selectors."""
HEAD, FIRST = 48, 12
"""Characters of a text that are looked at first, and letters of it by which most texts are told apart."""
MOST_COPIES = 32
START, SPARE = 64, 16
"""Characters by which nearly all texts that differ are told apart, and those read beside them for blanks that go."""
OTHER = re.compile(r"[\W_]+")
SMALL, ASCII_OTHER = bytes(range(256)).lower(), bytes(item for item in range(128) if not chr(item).isalnum())
"""Small letters of ASCII by their number, and its characters that are neither letter nor digit."""


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """What is known of (query, document) pairs; sorted by query, then document, each pair once.

    Attributes:
        query: int32 [J], query rows.
        document: int32 [J], document rows.
        grade: float32 [J]; above 0 is relevant, 0 is judged and found not relevant.
    """

    query: np.ndarray
    document: np.ndarray
    grade: np.ndarray

    def __len__(self) -> int:
        return len(self.query)

    @property
    def positive(self) -> np.ndarray:
        """Which judgements are relevant, bool [J]."""
        return self.grade > 0

    @cached_property
    def queries(self) -> np.ndarray:
        """Rows of the queries with at least one relevant document, ascending, int32."""
        return np.unique(self.query[self.positive])

    def of_queries(self, rows: np.ndarray) -> Judgements:
        """Returns the judgements of some queries only."""
        kept = np.isin(self.query, rows)
        return Judgements(query=self.query[kept], document=self.document[kept], grade=self.grade[kept])

    @staticmethod
    def of(query: Any, document: Any, grade: Any) -> Judgements:
        """Builds sorted judgements; of a pair given more than once the highest grade stays, grades below 0 become 0."""
        query, document = np.asarray(query, dtype=np.int32), np.asarray(document, dtype=np.int32)
        grade = np.maximum(np.asarray(grade, dtype=np.float32), 0)
        order = np.lexsort((-grade, document, query))
        query, document, grade = query[order], document[order], grade[order]
        first = np.ones(len(query), dtype=bool)
        first[1:] = (np.diff(query) != 0) | (np.diff(document) != 0)
        return Judgements(query=query[first], document=document[first], grade=grade[first])


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The documents that a query is re-ranked against; sorted by query, the documents in the order given.

    Attributes:
        query: int32 [C], query rows.
        document: int32 [C], document rows.
    """

    query: np.ndarray
    document: np.ndarray

    def __len__(self) -> int:
        return len(self.query)

    @staticmethod
    def of(query: Any, document: Any) -> Candidates:
        """Builds candidates sorted by query, each pair once, at its first place."""
        query, document = np.asarray(query, dtype=np.int32), np.asarray(document, dtype=np.int32)
        keys = query.astype(np.int64) << 32 | document.astype(np.int64)
        first = np.sort(np.unique(keys, return_index=True)[1])
        query, document = query[first], document[first]
        order = np.argsort(query, kind="stable")
        return Candidates(query=query[order], document=document[order])


class Copies(NamedTuple):
    """Pairs of a query and a document of its text, by query, then document; of a text the first `MOST_COPIES`.

    Attributes:
        query_P: int64 [P], query rows.
        document_P: int64 [P], document rows.
        own_P: bool [P], whether the document has the query's id.
    """

    query_P: np.ndarray
    document_P: np.ndarray
    own_P: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """Documents and queries with what is known of their relevance. Two with the same fingerprint hold the same data.

    Attributes:
        name: what to call it in tables.
        document_ids: N distinct ids.
        titles: N titles, "" where there is none.
        texts: N texts.
        metadata: N dicts of further fields, or None.
        query_ids: Q distinct ids.
        query_texts: Q texts.
        judgements: one Judgements for each split.
        candidates: candidate lists over all splits, or None.
        indexed_texts: N texts that people search and read instead of `texts`, which training and evaluation go on
            using; None where they are the same. They change no figure, so the fingerprint is without them.
        indexed_as: what `indexed_texts` are, in a few words for tables and manifests.
        indexed_leads: `indexed_texts` begin with a summary, ended by an empty line, that says what one would ask; the
            exported index adds what the query tower makes of it (`twotower.model.leads`).
        notes: sentences for the reader: what was left out.
        pseudo: whether the queries are drawn from the documents: then documents that are evaluated are kept from
            training on the corpus, and what the figures say is no ground for choosing how to search.
    """

    name: str
    document_ids: list[str]
    titles: list[str]
    texts: list[str]
    query_ids: list[str]
    query_texts: list[str]
    judgements: dict[str, Judgements]
    metadata: list[dict[str, Any]] | None = None
    candidates: Candidates | None = None
    indexed_texts: list[str] | None = None
    indexed_as: str = ""
    indexed_leads: bool = False
    notes: tuple[str, ...] = ()
    pseudo: bool = False

    def __post_init__(self) -> None:
        assert len(self.document_ids) == len(self.titles) == len(self.texts), "lists of documents differ in length"
        assert len(self.query_ids) == len(self.query_texts), "lists of queries differ in length"
        assert self.indexed_texts is None or len(self.indexed_texts) == len(self.texts), (
            "indexed texts differ in number"
        )
        _check_distinct(self.document_ids, f"{self.name}: document id")
        _check_distinct(self.query_ids, f"{self.name}: query id")

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {len(item)}" for name, item in self.judgements.items())
        sizes = f"{len(self.document_ids)} documents, {len(self.query_ids)} queries"
        return f"Collection({self.name}: {sizes}, judgements {splits})"

    def document_texts(self) -> list[str]:
        """What towers and BM25 read of each document: its title, a blank, its text."""
        return joined(self.titles, self.texts)

    def searched_texts(self) -> list[str]:
        """What the exported index holds of each document: as `document_texts`, of the text that people search."""
        return joined(self.titles, self.texts if self.indexed_texts is None else self.indexed_texts)

    def split(self, name: str | None) -> Judgements:
        """Returns the judgements of a split; none for None, the training split of a run that learns from no query.

        Raises:
            UserError: when there is no such split (naming those there are), or it has no relevant document.
        """
        if name is None:
            return Judgements.of([], [], [])
        if name not in self.judgements:
            there = ", ".join(sorted(self.judgements)) or "none"
            raise UserError(f"{self.name} has no split '{name}'; there are: {there}.{nearest(name, self.judgements)}")
        judgements = self.judgements[name]
        if not judgements.positive.any():
            raise UserError(f"{self.name}: split '{name}' is empty: no judgement of its {len(judgements)} is above 0.")
        return judgements

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of all content that matters to a result: ids, texts, judgements, candidates (not the name)."""
        arrays: list[Any] = []
        for split in sorted(self.judgements):
            judgements = self.judgements[split]
            arrays += [split, judgements.query, judgements.document, judgements.grade]
        if self.candidates is not None:
            arrays += ["candidates", self.candidates.query, self.candidates.document]
        lists = (self.document_ids, self.titles, self.texts, self.query_ids, self.query_texts)
        return content_key("collection 1", *lists, *arrays)

    @cached_property
    def text_group(self) -> np.ndarray:
        """A number for each document, int32 [N], shared by those of identical title and text (case, blanks aside)."""
        return group_texts(self.document_texts())

    @cached_property
    def query_group(self) -> np.ndarray:
        """A number for each query, int32 [Q], shared by those of identical text (case, blanks aside)."""
        return group_texts(self.query_texts)

    @cached_property
    def copies_of_queries(self) -> Copies:
        """Documents that are a query's text, with their title or without; letters alone count (`bare`)."""
        letters_Q = [bare(text) for text in self.query_texts]
        rows = self._rows_by_letters(set(letters_Q) - {""})
        pairs = [(query, row) for query, letters in enumerate(letters_Q) for row in rows.get(letters, ())]
        own = [self.query_ids[query] == self.document_ids[row] for query, row in pairs]
        query_P, document_P = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return Copies(query_P, document_P, np.array(own, dtype=bool))

    @cached_property
    def document_of_query_id(self) -> np.ndarray:
        """Row of the document that has each query's id, -1 for none, int64 [Q]."""
        row_of = {item: row for row, item in enumerate(self.document_ids)}
        return np.array([row_of.get(item, -1) for item in self.query_ids], dtype=np.int64)

    def _rows_by_letters(self, wanted: set[str]) -> dict[str, list[int]]:
        """Returns the rows of documents that read like one of the wanted texts, by the text's letters."""
        heads = {text[:FIRST] for text in wanted}
        rows: dict[str, list[int]] = {}
        for row, (title, text) in enumerate(zip(self.titles, self.texts, strict=True)):
            for whole in dict.fromkeys((text, f"{title} {text}" if title and text else title)):
                head = bare(whole[:HEAD])[:FIRST]  # tells most texts apart without reading all of them
                if head not in heads and (len(head) == FIRST or len(whole) <= HEAD):
                    continue
                letters = bare(whole)
                if (
                    letters in wanted
                    and len(same := rows.setdefault(letters, [])) < MOST_COPIES
                    and row not in same[-1:]
                ):
                    same.append(row)
        return rows


def joined(titles: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Returns title, blank, text of each document; the text alone where there is no title."""
    return [f"{title} {text}" if title else text for title, text in zip(titles, texts, strict=True)]


def normalised(text: str) -> str:
    """Returns a text in the form in which two texts count as identical.

    Small letters, composed alike (NFKC), without characters that nobody sees (soft hyphens, joiners), single blanks.
    """
    if not text.isascii():
        text = INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.casefold().split())


def bare(text: str) -> str:
    """Returns only the letters and digits of a text: small, without accents, blanks and punctuation.

    Texts that any tokenizer of ours reads alike have this in common, so it says cheaply which may be the same.
    """
    if text.isascii():
        return text.encode().translate(SMALL, ASCII_OTHER).decode()  # a fifth of the time of an expression
    return OTHER.sub("", unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold()))


def group_texts(texts: Sequence[str]) -> np.ndarray:
    """Numbers texts by first appearance, int32; texts that are identical (see `normalised`) share a number."""
    starts = [_start(text) for text in texts]
    several = {start for start, count in Counter(starts).items() if count > 1}
    numbers: dict[str, int] = {}
    keys = (normalised(text) if start in several else start for text, start in zip(texts, starts, strict=True))
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int32, len(texts))


def _start(text: str) -> str:
    """Returns the first `START` characters of `normalised(text)`, as a rule without reading all of a long text."""
    cut = text[: START + SPARE]
    # what follows the cut may yet change its last character, into one with an accent, but none before
    if len(cut) < len(text) and cut.isascii() and len(beginning := normalised(cut)) > START:
        return beginning[:START]
    return normalised(text)[:START]


def _check_distinct(ids: list[str], what: str) -> None:
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        for item in ids:
            if item in seen:
                raise UserError(f"{what} '{item}' occurs more than once; ids must be distinct.")
            seen.add(item)
