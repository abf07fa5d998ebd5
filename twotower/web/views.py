"""What the pages show, as plain data for the templates: hits with marked words, scales, example questions, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twotower.runs.questions import Question, questions
from twotower.runs.run import Run
from twotower.search.engine import SearchEngine
from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.map import open_map
from twotower.search.results import Results

EXAMPLES = 6
EXAMPLE_HITS = 10
"""Hits among which the right answer of an example is looked for."""
SNIPPET = 320

Parts = list[tuple[str, bool]]
"""A text in pieces, each with whether it is one of the query's words."""


@dataclass(frozen=True, kw_only=True)
class HitView:
    """One hit for a page.

    Attributes:
        rank: from 1.
        score: cosine similarity, or whatever the way of searching ranks by.
        percent: where the score stands from a random document (0) to the most there can be (100).
        poor: whether it is no higher than the best of so many documents by chance.
        doc_id: its id.
        title: the title in pieces.
        text: the piece of the text worth showing, in pieces.
        elsewhere: its rank in the other column: None for absent, 0 where there is no other column.
    """

    rank: int
    score: float
    percent: int
    poor: bool
    doc_id: str
    title: Parts
    text: Parts
    elsewhere: int | None = 0


def hit_views(results: Results, spans: Spans, beside: Sequence[Results] = ()) -> list[HitView]:
    """Returns the hits of an answer for a page; with other answers, the rank of each in the first of them."""
    ranks = {hit.doc_id: hit.rank for hit in beside[0].hits} if beside else None
    random = results.random
    return [
        HitView(
            rank=hit.rank,
            score=hit.score,
            percent=round(100 * results.place(hit.score)),
            poor=random is not None and hit.score <= random.best_by_chance,
            doc_id=hit.doc_id,
            title=marked(hit.title, results.words, spans).parts() if hit.title else [],
            text=snippet(hit.text, results.words, spans, width=SNIPPET).parts(),
            elsewhere=0 if ranks is None else ranks.get(hit.doc_id),
        )
        for hit in results.hits
    ]


def whole_text(text: str, words: Sequence[str], spans: Spans) -> Parts:
    """Returns a whole text as it is, line breaks kept, with the query's words marked."""
    return marked(text, words, spans).parts() if words else Snippet(text=text, spans=[]).parts()


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question of the evaluation split with a right answer, and the rank at which this search finds it."""

    query: str
    answer: str
    rank: int | None


def examples(run: Run, engine: SearchEngine) -> list[Example]:
    """Returns a few questions of the evaluation split, put as a person would and searched now."""
    return [Example(query=item.text, answer=item.answer, rank=_rank(engine, item)) for item in questions(run, EXAMPLES)]


def _rank(engine: SearchEngine, item: Question) -> int | None:
    if not item.answer:
        return None
    hits = engine.search(item.text, EXAMPLE_HITS).hits
    return next((hit.rank for hit in hits if hit.doc_id == item.answer), None)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A document, a hit or the question on the map: place in per mille, what it is called, its rank (0: no hit)."""

    x: int
    y: int
    doc_id: str
    name: str
    rank: int = 0


def map_spots(engine: SearchEngine, results: Results | None) -> tuple[list[Spot], list[Spot], tuple[int, int] | None]:
    """Returns the documents of the map, the hits of an answer on it, and where the question lies.

    Args:
        engine: what answered.
        results: an answer; None for the map alone.

    Raises:
        UserError: for an index that can't give its vectors back.
    """
    here = open_map(engine)
    documents = engine.documents.fetch(here.rows_P.tolist())
    spots = _spots(here.framed(here.points_P2), [(item.doc_id, item.title) for item in documents])
    if results is None or not results.hits:
        return spots, [], None
    rows = {item.doc_id: item.row for item in engine.documents.fetch_ids([hit.doc_id for hit in results.hits])}
    vectors_KD = engine.vectors_at(np.array([rows[hit.doc_id] for hit in results.hits]))
    lit = _spots(here.place(vectors_KD), [(hit.doc_id, hit.title) for hit in results.hits], first=1)
    _, unknown, ids = engine.model.tokenizer.read(results.query)
    if len(unknown) == len(results.words):
        return spots, lit, None
    ((x, y),) = here.place(engine.encode(ids))
    return spots, lit, (round(1000 * float(x)), round(1000 * float(1 - y)))


def _spots(places_K2: np.ndarray, names: Sequence[tuple[str, str]], first: int = 0) -> list[Spot]:
    whole = np.rint(1000 * places_K2).astype(int).tolist()
    return [
        Spot(x=x, y=1000 - y, doc_id=doc_id, name=title or doc_id, rank=first and first + number)
        for number, ((x, y), (doc_id, title)) in enumerate(zip(whole, names, strict=True))
    ]


def polyline(values: Sequence[float], width: int = 320, height: int = 80) -> str:
    """Returns numbers as the points of an SVG line, lowest at the bottom; one number is a line across."""
    if len(values) == 1:
        values = [values[0], values[0]]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = width / (len(values) - 1)
    return " ".join(
        f"{place * step:.1f},{height - (value - low) / span * height:.1f}" for place, value in enumerate(values)
    )
