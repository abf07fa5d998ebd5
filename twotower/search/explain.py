"""Why a document was found: what each word of the query brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twotower.core.errors import UserError
from twotower.search.results import Hit, Results

if TYPE_CHECKING:
    from twotower.search.engine import SearchEngine

NEAR = 100
"""Hits looked through for the score of a document without one of the query's words."""
MOST_WORDS = 12
"""Words of a query that are tried one by one."""


class WordEffect(NamedTuple):
    """How a document's score changes without one word of the query; None where it leaves the first `NEAR` hits."""

    word: str
    change: float | None


def word_effects(engine: SearchEngine, results: Results, doc_id: str) -> list[WordEffect]:
    """Returns the effect of each word of a query on one hit, the one that brought most first.

    Every word is left out once and the rest is searched again in the same mode.

    Args:
        engine: what answered.
        results: its answer.
        doc_id: one of its hits; for any other document there is nothing to say.
    """
    scores = {hit.doc_id: hit.score for hit in results.hits}
    spans: dict[str, list[tuple[int, int]]] = {}
    for word, start, end in engine.model.tokenizer.token_spans(results.query):
        if word not in results.unknown and end > start:
            spans.setdefault(word, []).append((start, end))
    if doc_id not in scores or len(spans) < 2:
        return []
    effects = []
    for places in list(spans.values())[:MOST_WORDS]:
        try:
            without = {hit.doc_id: hit.score for hit in _without(engine, results, places)}
        except UserError:  # nothing is left that can be searched
            continue
        now = without.get(doc_id)
        start, end = places[0]
        effects.append(WordEffect(results.query[start:end], None if now is None else now - scores[doc_id]))
    return sorted(effects, key=lambda effect: (effect.change is not None, effect.change or 0.0))


def _without(engine: SearchEngine, results: Results, places: list[tuple[int, int]]) -> list[Hit]:
    rest = results.query
    for start, end in sorted(places, reverse=True):
        rest = rest[:start] + " " + rest[end:]
    return engine.search(rest, NEAR, results.mode).hits
