"""What the pages show, as plain data for the templates: hits with marked words, scales, example questions, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twotower.core.errors import UserError
from twotower.runs.per_query import read_per_query
from twotower.runs.run import Run
from twotower.search.engine import SearchEngine
from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.results import Results

EXAMPLES = 6
LONGEST_EXAMPLE = 90
SNIPPET = 320

Parts = list[tuple[str, bool]]
"""A text in pieces, each with whether it is one of the query's words."""


@dataclass(frozen=True, kw_only=True)
class HitView:
    """One hit for a page.

    Attributes:
        rank: from 1.
        score: cosine similarity, or whatever the way of searching ranks by.
        percent: where the score stands between a random document (0) and 1 (100).
        poor: whether it is no higher than the best of so many documents by chance.
        row: the document's row, for its address.
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


def hit_views(results: Results, spans: Spans, beside: Results | None = None) -> list[HitView]:
    """Returns the hits of an answer for a page; with a second answer, where each stands there."""
    ranks = {hit.doc_id: hit.rank for hit in beside.hits} if beside else None
    random = results.random
    return [
        HitView(
            rank=hit.rank,
            score=hit.score,
            percent=percent(hit.score, results),
            poor=random is not None and hit.score <= random.best_by_chance,
            doc_id=hit.doc_id,
            title=marked(hit.title, results.words, spans).parts() if hit.title else [],
            text=snippet(hit.text, results.words, spans, width=SNIPPET).parts(),
            elsewhere=0 if ranks is None else ranks.get(hit.doc_id),
        )
        for hit in results.hits
    ]


def percent(score: float, results: Results) -> int:
    """Returns where a score stands between a random document's (0) and 1 (100); of no cosine, how near the best."""
    if results.scale:  # no cosines: of the best hit's score
        return round(100 * min(1.0, max(0.0, score / max(1e-6, results.hits[0].score))))
    low = results.random.mean if results.random else 0.0
    return round(100 * min(1.0, max(0.0, (score - low) / max(1e-6, 1.0 - low))))


def whole_text(text: str, words: Sequence[str], spans: Spans) -> Parts:
    """Returns a whole text as it is, line breaks kept, with the query's words marked."""
    return marked(text, words, spans).parts() if words else Snippet(text=text, spans=[]).parts()


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question of the evaluation split with its known answer, and the rank at which this run found it."""

    query: str
    answer: str
    rank: int | None


def examples(run: Run, engine: SearchEngine) -> list[Example]:
    """Returns a few short questions of the evaluation split, evenly drawn; none where none are kept."""
    try:
        table = read_per_query(run, "full")
    except UserError:
        return []
    if "query" not in table.column_names:
        return []
    rows = [row for row, query in enumerate(table["query"].to_pylist()) if query and len(query) <= LONGEST_EXAMPLE]
    chosen = rows[:: max(1, len(rows) // EXAMPLES)][:EXAMPLES]
    return [_example(table, row) for row in chosen]


def _example(table: Any, row: int) -> Example:
    rank = table["first_relevant_rank"][row].as_py()
    top = table["top_ids"][row].as_py() or []
    answer = top[rank - 1] if rank and rank <= len(top) else ""
    return Example(query=table["query"][row].as_py(), answer=str(answer), rank=rank)


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
