"""A row of training data as a query with relevant and irrelevant passages, in whichever known layout it stands.

| layout | keys |
|---|---|
| ours | query, positive, negatives, split |
| sentence-transformers | anchor, question or sentence1; positive, answer or sentence2; negative, negative_1; label |
| FlagEmbedding | query, pos, neg |
| DPR | question, positive_ctxs, negative_ctxs, hard_negative_ctxs (objects with title and text) |
| Tevatron | query_id, query, positive_passages, negative_passages (objects with docid, title and text) |
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twotower.core.errors import nearest
from twotower.data.collection import normalised
from twotower.data.lines import Place, clean, complain, is_one_line, shown, to_number

QUERY = ("query", "question", "anchor", "sentence1")
POSITIVE = ("positive", "pos", "positives", "answer", "sentence2", "positive_passages", "positive_ctxs")
NEGATIVE = ("negatives", "negative", "neg", "negative_passages", "negative_ctxs", "hard_negative_ctxs")
NUMBERED = re.compile(r"negative_\d+")
LISTS = tuple(name for name in (*POSITIVE, *NEGATIVE) if name.endswith(("s", "pos", "neg")))
"""Keys of several passages: a table of text holds them as a JSON list in a cell."""
LABEL = ("label", "score")
QUERY_ID = ("query_id", "qid", "_id", "id")
TOLD = ("pos_scores", "neg_scores", "prompt", "instruction", "type", "pos_id", "neg_id")
"""Keys of the layouts that would change training, and are not used: the run says so."""
PASSED = ("dataset", "answers")
"""Keys of the layouts that say nothing about query or passages."""
KNOWN = ("split", *QUERY, *POSITIVE, *NEGATIVE, *LABEL, *QUERY_ID, *TOLD, *PASSED)
PASSAGE_ID = ("docid", "passage_id", "psg_id", "doc_id", "_id", "id")
PASSAGE_KEYS = ("title", "text", "score", "title_score", "has_answer", *PASSAGE_ID)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A passage, with the id that its file gives it, if any."""

    text: str
    title: str = ""
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """A query with what is known of it: `grade` is that of its `positives`; `negatives` have 0."""

    place: Place
    query: str
    query_id: str | None
    positives: list[Passage]
    negatives: list[Passage]
    grade: float
    split: str | None


def pair_row(place: Place, value: Mapping[str, Any], *, ignore: Iterable[str], threshold: float | None) -> PairRow:
    """Reads one row.

    Args:
        place: where it stands.
        value: the row, by key; None counts as absent.
        ignore: keys to pass over.
        threshold: labels and scores from here on are relevant, those below are not; None: they are grades.

    Raises:
        UserError: for a key that no layout has, one that is missing or of another type, or a text that is both.
    """
    row = {key: item for key, item in value.items() if item is not None and key not in ignore}
    for key in row:
        if key not in KNOWN and not NUMBERED.fullmatch(key):
            raise complain(
                place,
                f"'{key}' is no key of any known layout.{nearest(key, KNOWN)} data.source.columns names the column "
                f"meant, data.source.ignore=[{key}] leaves it out.",
            )
    query = row.get(_only(QUERY, row, place, "query") or "query")
    if not isinstance(query, str) or not query.strip():
        raise complain(place, f"needs 'query', a text; found {shown(query)}.{_instead(row)}")
    held = _only(POSITIVE, row, place, "positive")
    positives = _passages(row, held, place) if held else []
    negatives = [
        item for name in row if name in NEGATIVE or NUMBERED.fullmatch(name) for item in _passages(row, name, place)
    ]
    if not positives:
        raise complain(place, f"needs 'positive', a text or a list of at least one.{_instead(row)}")
    if not all(item.text.strip() or item.title.strip() for item in positives):
        raise complain(place, f"'{held}' holds an empty text.")
    grade = _grade(row, place, threshold)
    if grade == 0:
        positives, negatives = [], [*positives, *negatives]
    both = {(normalised(item.title), normalised(item.text)) for item in positives}
    both &= {(normalised(item.title), normalised(item.text)) for item in negatives}
    if both:
        raise complain(place, f"the same text is positive and negative: {shown(min(both)[1])}.")
    split = row.get("split")
    if split is not None and (not isinstance(split, str) or not split):
        raise complain(place, f"'split' must be a name; found {shown(split)}.")
    return PairRow(
        place=place,
        query=clean(query, "query", place),
        query_id=_id(row, QUERY_ID, place),
        positives=positives,
        negatives=negatives,
        grade=grade,
        split=split,
    )


def _only(names: Iterable[str], row: Mapping[str, Any], place: Place, what: str) -> str | None:
    held = [name for name in names if name in row]
    if len(held) > 1:
        raise complain(
            place, f"'{held[0]}' and '{held[1]}' both name the {what}; data.source.ignore=[{held[1]}] drops one."
        )
    return held[0] if held else None


def _instead(row: Mapping[str, Any]) -> str:
    return f" It has: {', '.join(row)}." if row else ""


def _passages(row: Mapping[str, Any], key: str, place: Place) -> list[Passage]:
    held = row[key]
    held = _cell(held, key, place) if isinstance(held, str) and key in LISTS else held
    items = held if isinstance(held, list) else [held]
    if not all(isinstance(item, (str, dict)) for item in items) or isinstance(held, dict):
        raise complain(place, f"'{key}' must be a text or a list of texts; found {shown(held)}.")
    if len(items) == 1 and isinstance(items[0], str) and not items[0].strip():
        return []  # an empty cell of a table
    return [_passage(item, key, place) for item in items]


def _cell(text: str, key: str, place: Place) -> str | list[Any]:
    """Returns the list that a cell of a table holds as JSON, or the cell as it is."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise complain(
            place, f"'{key}' looks like a list, and is no JSON ({error}); write it as JSON, or one text: {shown(text)}."
        ) from error
    return value if isinstance(value, list) else text


def _passage(item: str | dict[str, Any], key: str, place: Place) -> Passage:
    if isinstance(item, str):
        return Passage(text=clean(item, key, place))
    for name in item:
        if name not in PASSAGE_KEYS:
            raise complain(place, f"'{key}' has '{name}', which no layout has.{nearest(name, PASSAGE_KEYS)}")
    text, title = item.get("text"), item.get("title") or ""
    if not isinstance(text, str) or not isinstance(title, str):
        raise complain(place, f"'{key}' needs passages with a 'text'; found {shown(item)}.")
    return Passage(text=clean(text, key, place), title=clean(title, key, place), id=_id(item, PASSAGE_ID, place))


def _id(row: Mapping[str, Any], names: Iterable[str], place: Place) -> str | None:
    key = next((name for name in names if row.get(name) not in (None, "")), None)
    if key is None:
        return None
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not is_one_line(str(value)):
        raise complain(place, f"'{key}' must be an id, a text in one line or a whole number; found {shown(value)}.")
    return clean(str(value).strip(), key, place)


def _grade(row: Mapping[str, Any], place: Place, threshold: float | None) -> float:
    key = _only(LABEL, row, place, "label")
    if key is None:
        return 1.0
    number = to_number(str(float(row[key]) if isinstance(row[key], bool) else row[key]))
    if number is None:
        raise complain(place, f"'{key}' must be a number; found {shown(row[key])}.")
    if threshold is not None:
        return float(number >= threshold)
    if number < 0 or number != int(number):
        raise complain(
            place,
            f"'{key}' is {number:g}, which is no grade (0, 1, 2, ...); for similarities say from where on a text is "
            "relevant: data.source.threshold=0.5.",
        )
    return number
