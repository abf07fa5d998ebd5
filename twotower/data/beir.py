"""A folder in BEIR layout (Thakur et al. 2021, https://github.com/beir-cellar/beir).

`corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text), `qrels/<split>.tsv` (query-id, corpus-id, score; any
splits, graded), and optionally `candidates.tsv` (query-id, corpus-id, label). Tables may have a header line or not.
Every file may be gzipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError, nearest
from twotower.data.collection import Candidates, Collection, Judgements
from twotower.data.lines import (
    Place,
    complain,
    find_file,
    read_lines,
    read_objects,
    shown,
    take_id,
    take_number,
    take_text,
    to_number,
)

Rows = dict[str, int]
LAYOUT = "a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv"


def load(path: str | Path | None, name: str | None = None, indexed_text: str | None = None) -> Collection:
    """Reads a folder in BEIR layout.

    Args:
        path: the folder.
        name: what to call the collection (the folder's name otherwise).
        indexed_text: a field of the corpus lines that people search instead of `text`, which training and evaluation
            read; a line without it is searched by its `text`. None: the same text for all.

    Raises:
        UserError: for a missing file, a field that no line has, or a malformed line, a duplicate or an unknown id (file
            and line number).
    """
    if path is None:
        raise UserError(f"data=beir needs data.path=DIR, {LAYOUT}.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.path={folder} is not a folder.")
    document_ids, titles, texts, metadata = read_corpus(_need(folder, "corpus.jsonl"))
    query_ids, query_texts = read_queries(_need(folder, "queries.jsonl"))
    query_rows = {item: row for row, item in enumerate(query_ids)}
    document_rows = {item: row for row, item in enumerate(document_ids)}
    candidates = find_file(folder, "candidates.tsv")
    indexed = None if indexed_text is None else read_field(_need(folder, "corpus.jsonl"), indexed_text)
    return Collection(
        name=name or folder.resolve().name,
        document_ids=document_ids,
        titles=titles,
        texts=texts,
        metadata=metadata,
        query_ids=query_ids,
        query_texts=query_texts,
        judgements={
            split: read_judgements(file, query_rows, document_rows) for split, file in split_files(folder).items()
        },
        candidates=None if candidates is None else read_candidates(candidates, query_rows, document_rows),
        indexed_texts=indexed,
        indexed_as="" if indexed is None else f"the field '{indexed_text}' (training and evaluation read 'text')",
    )


def _need(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise UserError(f"{folder} has no {name}; data.path must be {LAYOUT}.")
    return path


def split_files(folder: Path) -> dict[str, Path]:
    """Returns the judgement file of each split, by name.

    Raises:
        UserError: when there is none.
    """
    files = sorted((folder / "qrels").glob("*.tsv")) + sorted((folder / "qrels").glob("*.tsv.gz"))
    if not files:
        raise UserError(f"{folder} has no judgements; put them into qrels/<split>.tsv (query-id, corpus-id, score).")
    return {file.name.removesuffix(".gz").removesuffix(".tsv"): file for file in files}


def read_corpus(path: Path) -> tuple[list[str], list[str], list[str], list[dict[str, Any]] | None]:
    """Reads ids, titles, texts and metadata (None when no document has any)."""
    titles: list[str] = []
    texts: list[str] = []
    metadata: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    for place, value in read_objects(path):
        _add_id(places, take_id(value, "_id", place), place, "document")
        titles.append(take_text(value, "title", place, default=""))
        texts.append(take_text(value, "text", place))
        extra = value.get("metadata")
        metadata.append(extra if isinstance(extra, dict) else {})
    if not places:
        raise UserError(f"{path} is empty; it needs one JSON object with _id, title and text on each line.")
    return list(places), titles, texts, metadata if any(metadata) else None


def read_field(path: Path, field: str) -> list[str]:
    """Reads one text field of every corpus line, its `text` where it has none.

    Raises:
        UserError: when no line has the field, or it is no text.
    """
    lines = [(place, value) for place, value in read_objects(path)]
    if not any(field in value for _, value in lines):
        fields = sorted({key for _, value in lines for key in value})
        raise UserError(
            f"data.source.indexed_text={field}: no line of {path} has that field; there are: {', '.join(fields)}."
            f"{nearest(field, fields)}"
        )
    return [take_text(value, field if field in value else "text", place) for place, value in lines]


def read_queries(path: Path) -> tuple[list[str], list[str]]:
    """Reads ids and texts of queries."""
    texts: list[str] = []
    places: dict[str, int] = {}
    for place, value in read_objects(path):
        _add_id(places, take_id(value, "_id", place), place, "query")
        texts.append(take_text(value, "text", place))
    if not places:
        raise UserError(f"{path} is empty; it needs one JSON object with _id and text on each line.")
    return list(places), texts


def _add_id(places: dict[str, int], item: str, place: Place, what: str) -> None:
    first = places.setdefault(item, place[1])
    if first != place[1]:
        raise complain(place, f"{what} id '{item}' was already given on line {first}.")


def read_judgements(path: Path, query_rows: Rows, document_rows: Rows) -> Judgements:
    """Reads one split; a pair given twice with the same score counts once, with different scores it is an error."""
    seen: dict[tuple[int, int], tuple[float, int]] = {}
    for place, query, document, score in read_table(path, query_rows, document_rows, "score"):
        first = seen.setdefault((query, document), (score, place[1]))
        if first[0] != score:
            raise complain(place, f"this pair has score {score:g} here and {first[0]:g} on line {first[1]}.")
    pairs = list(seen)
    grades = [score for score, _ in seen.values()]
    return Judgements.of([pair[0] for pair in pairs], [pair[1] for pair in pairs], grades)


def read_candidates(path: Path, query_rows: Rows, document_rows: Rows) -> Candidates:
    """Reads the candidate lists; their labels only repeat what the judgements say and are checked to be numbers."""
    pairs = [(query, document) for _, query, document, _ in read_table(path, query_rows, document_rows, "label")]
    return Candidates.of([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def read_table(
    path: Path, query_rows: Rows, document_rows: Rows, value_name: str
) -> Iterator[tuple[Place, int, int, float]]:
    """Yields (place, query row, document row, value) for each line of a three-column table.

    Raises:
        UserError: for a line without three columns, an unknown id, or a value that is no number.
    """
    for place, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != 3:
            raise complain(
                place, f"needs query-id, corpus-id, {value_name} parted by tabs; found {len(columns)} columns."
            )
        query, document, value = (column.strip() for column in columns)
        if place[1] == 1 and query not in query_rows and to_number(value) is None:
            continue  # the header line
        if query not in query_rows:
            raise complain(place, f"query id {shown(query)} is not in queries.jsonl.")
        if document not in document_rows:
            raise complain(place, f"document id {shown(document)} is not in corpus.jsonl.")
        yield place, query_rows[query], document_rows[document], take_number(value, value_name, place)
