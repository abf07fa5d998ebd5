"""What a search gives back: hits, where the time went, and what the scores are to be held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Hit(NamedTuple):
    """One document found: rank from 1, score (see `Results.mode`), id, title and text."""

    rank: int
    score: float
    doc_id: str
    title: str
    text: str


class Timings(NamedTuple):
    """Milliseconds of every stage of one search; in hybrid search, words and fusion are part of `search_ms`."""

    tokenise_ms: float
    encode_ms: float
    search_ms: float
    fetch_ms: float

    @property
    def total_ms(self) -> float:
        """All stages together."""
        return self.tokenise_ms + self.encode_ms + self.search_ms + self.fetch_ms


class RandomScore(NamedTuple):
    """How similar the query is to documents drawn at random: mean and highest of `documents` of them, without the hits.

    By words, and by words and vector, the mean and deviation are those of all documents, and `highest` is the same as
    `best_by_chance`.

    `best_by_chance` is what the best of all documents would reach if none were about the query: mean + deviation *
    sqrt(2 ln N), the expected highest of N normally spread scores (to first order, a little high). A hit below it was
    not told apart from the rest.
    """

    mean: float
    highest: float
    documents: int
    best_by_chance: float


@dataclass(frozen=True, kw_only=True)
class Results:
    """The answer to one query.

    Attributes:
        query: the text asked for.
        words: its words as the model reads them.
        unknown: those of them the model never saw, which it ignores or cannot tell apart.
        hits: best first.
        notice: why there are none, or what to know about them; "" for nothing.
        random: similarity of random documents to this query.
        timings: where the time went.
        index: the index's name.
        mode: what the scores are: "dense" cosine similarities, "lexical" BM25 scores, "hybrid" z-scores of both added
            (or reciprocal ranks), in standard deviations above the mean document.
        scale: the same in words, for people; "" for cosines.
    """

    query: str
    words: list[str]
    unknown: list[str]
    hits: list[Hit]
    notice: str
    random: RandomScore | None
    timings: Timings
    index: str
    mode: str = "dense"
    scale: str = ""

    def place(self, score: float) -> float:
        """Returns where a score stands from a random document's (0.0) to the most there can be (1.0).

        The most is 1 for cosines, the first hit's score where there is no such limit.
        """
        low = self.random.mean if self.random else 0.0
        high = max(self.hits[0].score, self.by_chance or 0.0) if self.scale and self.hits else 1.0
        return min(1.0, max(0.0, (score - low) / max(1e-6, high - low)))

    @property
    def by_chance(self) -> float | None:
        """What the best of all documents would score by chance alone, None where that is not known."""
        return self.random.best_by_chance if self.random else None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {
            **vars(self),
            "hits": [hit._asdict() for hit in self.hits],
            "random": self.random._asdict() if self.random else None,
            "timings": {**self.timings._asdict(), "total_ms": self.timings.total_ms},
        }
