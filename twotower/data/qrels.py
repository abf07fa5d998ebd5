"""Judgements and candidate lists in the forms they come in: BEIR's three columns, TREC's four, two, JSON lines, tables.

Columns are parted by tabs, by runs of blanks in a line without tabs, or by commas in one without either; a header line
may name them in any order. A .json file may hold pytrec_eval's {query: {document: relevance}}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError, nearest
from twotower.core.packed import bare_name
from twotower.data.collection import Candidates, Judgements
from twotower.data.columns import Columns
from twotower.data.lines import BLANKS, Place, complain, read_lines, shown, take_id, take_number, to_number
from twotower.data.rows import read_rows
from twotower.data.separated import comma_lines

Rows = Mapping[str, int]
Score = tuple[Place, str, str, float]
"""What is judged where: the place, the query's id, the document's, and the score."""
MISSING = ("error", "skip")
QUERY = ("query-id", "query_id", "qid", "queryid", "query", "topic", "topic_id")
DOCUMENT = ("corpus-id", "corpus_id", "doc-id", "doc_id", "docid", "docno", "pid", "document", "passage-id")
SCORE = ("score", "label", "relevance", "rel", "grade", "relevancy")


@dataclass
class Ids:
    """Where ids stand in the collection's lists, and what is done with a line that names an unknown one.

    Attributes:
        queries: row of each query id.
        documents: row of each document id.
        missing: `error` refuses such a line, `skip` leaves it out and counts it.
        skipped: lines left out, by the name of the split.
    """

    queries: Rows
    documents: Rows
    missing: str = "error"
    skipped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the choice.

        Raises:
            UserError: for one that does not exist.
        """
        if self.missing not in MISSING:
            hint = nearest(self.missing, MISSING)
            raise UserError(f"data.missing={self.missing} is not known; choose {' or '.join(MISSING)}.{hint}")

    def rows(self, query: str, document: str, place: Place, split: str) -> tuple[int, int] | None:
        """Returns the rows of two ids; None for a line that is left out."""
        at = self.queries.get(query), self.documents.get(document)
        if at[0] is not None and at[1] is not None:
            return at[0], at[1]
        if self.missing == "skip":
            self.skipped[split] = self.skipped.get(split, 0) + 1
            return None
        what, item, where = ("query", query, "queries") if at[0] is None else ("document", document, "corpus")
        raise complain(
            place, f"{what} id {shown(item)} is not in {where}.jsonl; data.missing=skip leaves such lines out."
        )

    def notes(self) -> tuple[str, ...]:
        """Returns a sentence for every split with lines left out."""
        return tuple(
            f"{count:,} lines of {split} judge documents or queries that the collection lacks, and are left out."
            for split, count in self.skipped.items()
        )


def read_judgements(path: Path, split: str, ids: Ids, columns: Columns | None = None) -> Judgements:
    """Reads one split; a pair given twice with the same score counts once, with different scores it is an error.

    Raises:
        UserError: for a malformed line or an unknown id, naming the line.
    """
    return judge(read_scores(path, ids.queries, columns), split, ids)


def judge(scores: Iterable[Score], split: str, ids: Ids) -> Judgements:
    """Makes the judgements of one split; a pair given twice counts once.

    Args:
        scores: from `read_scores` or `named_score`.
        split: what to call it where lines are left out.
        ids: where ids stand in the collection.

    Raises:
        UserError: for an unknown id, or a pair that is given twice with different scores, naming the line.
    """
    seen: dict[tuple[int, int], tuple[float, int]] = {}
    for place, query, document, score in scores:
        pair = ids.rows(query, document, place, split)
        if pair is None:
            continue
        first = seen.setdefault(pair, (score, place[1]))
        if first[0] != score:
            raise complain(place, f"this pair has score {score:g} here and {first[0]:g} on line {first[1]}.")
    pairs = list(seen)
    grades = [score for score, _ in seen.values()]
    return Judgements.of([pair[0] for pair in pairs], [pair[1] for pair in pairs], grades)


def read_candidates(path: Path, ids: Ids, columns: Columns | None = None) -> Candidates:
    """Reads candidate lists; their labels only repeat what the judgements say and are checked to be numbers."""
    known_pairs = (
        ids.rows(query, document, place, "the candidates")
        for place, query, document, _ in read_scores(path, ids.queries, columns)
    )
    pairs = [pair for pair in known_pairs if pair is not None]
    return Candidates.of([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def read_scores(path: Path, queries: Rows, columns: Columns | None = None) -> Iterator[Score]:
    """Yields (place, query id, document id, score) for each line; a file without scores gives 1.

    Raises:
        UserError: for a line that is not of the file's form, or a score that is no number.
    """
    ending = bare_name(path.name)
    if path.is_dir() or ending.endswith((".jsonl", ".ndjson", ".json", ".parquet")) or columns:
        yield from _nested(path) if ending.endswith(".json") and not columns else _named(path, columns)
        return
    form: tuple[int, int, int | None] | None = None
    width = 0
    for place, parts in comma_lines(path) if ending.endswith(".csv") else _lines(path):
        parts = [part.strip(BLANKS) for part in parts]
        if form is None:
            named = _by_name(parts)
            form, width = named or _form(parts, place), len(parts)
            if _is_header(parts, form, queries):
                continue
            form = _form(parts, place)
        if len(parts) != width:
            raise complain(
                place,
                f"needs query-id, corpus-id, score, {width} columns as in the first line; found {len(parts)} columns.",
            )
        score = 1.0 if form[2] is None else take_number(parts[form[2]], "score", place)
        yield place, parts[form[0]], parts[form[1]], score


def _lines(path: Path) -> Iterator[tuple[Place, list[str]]]:
    for place, line in read_lines(path):
        parts = line.split("\t") if "\t" in line else line.split()
        if len(parts) == 1 and "," in line:
            parts = line.split(",")
        yield place, [part[1:-1] if len(part) > 1 and part[0] == part[-1] == '"' else part for part in parts]


def _nested(path: Path) -> Iterator[Score]:
    """Reads a .json file: pytrec_eval's nested objects, or rows as in other files."""
    text = "\n".join(line for _, line in read_lines(path, blank="keep"))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None  # one object a line, or malformed, of which `_named` tells
    if not isinstance(value, dict) or not value or not all(isinstance(item, dict) for item in value.values()):
        yield from _named(path, None)
        return
    for query, documents in value.items():
        for document, score in documents.items():
            place = (path, 1)
            yield place, query.strip(BLANKS), document.strip(BLANKS), take_number(str(score), f"{query}: score", place)


def _form(parts: list[str], place: Place) -> tuple[int, int, int | None]:
    """Returns where query, document and score stand."""
    forms: dict[int, tuple[int, int, int | None]] = {2: (0, 1, None), 3: (0, 1, 2), 4: (0, 2, 3)}
    if len(parts) not in forms:
        raise complain(
            place,
            "needs query-id, corpus-id, score (or TREC's query, iteration, document, relevance; or two ids) parted by "
            f"tabs or blanks; found {len(parts)} columns.",
        )
    return forms[len(parts)]


def _is_header(parts: list[str], form: tuple[int, int, int | None], queries: Rows) -> bool:
    if parts[form[0]] in queries:
        return False
    if _by_name(parts) is not None:
        return True
    return parts[form[0]].lower() in QUERY if form[2] is None else to_number(parts[form[2]]) is None


def _by_name(parts: list[str]) -> tuple[int, int, int | None] | None:
    names = [part.lower().strip('#" ') for part in parts]
    places = [next((names.index(name) for name in known if name in names), None) for known in (QUERY, DOCUMENT, SCORE)]
    if places[0] is None or places[1] is None:
        return None
    return places[0], places[1], places[2]


def _named(path: Path, columns: Columns | None) -> Iterator[Score]:
    return (named_score(place, row) for place, row in read_rows(path, columns))


def named_score(place: Place, row: dict[str, Any]) -> Score:
    """Returns what a row with named columns judges; one without a score gives 1.

    Raises:
        UserError: for a row without query or document, or a score that is no number.
    """
    keys = [next((name for name in known if name in row), None) for known in (QUERY, DOCUMENT, SCORE)]
    if keys[0] is None or keys[1] is None:
        there = ", ".join(map(str, row))
        raise complain(place, f"needs query-id, corpus-id and score; there are: {there}. data.source.columns maps.")
    score: Any = 1.0 if keys[2] is None else row[keys[2]]
    number = take_number(str(float(score) if isinstance(score, bool) else score), "score", place)
    return place, take_id(row, keys[0], place), take_id(row, keys[1], place), number
