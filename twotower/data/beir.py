"""A folder in BEIR layout (Thakur et al. 2021, https://github.com/beir-cellar/beir).

`corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text), `qrels/<split>.tsv` (query-id, corpus-id, score; any
splits, graded), and optionally `candidates.tsv` (query-id, corpus-id, label). Judgements may be in TREC's four columns,
in two, or in JSON lines, see `qrels`. Corpus, queries and judgements may be CSV, TSV, parquet or `save_to_disk` folders
of the same names too, see `rows`; every text file may be packed. Data sets of BEIR and MTEB as they lie on the hub are
read as well: `corpus/`, `queries/` and `qrels/` (or `default/`, `data/`) with parquet shards, ids called `_id` or `id`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError, nearest
from twotower.core.packed import bare_name
from twotower.data.collection import Collection
from twotower.data.columns import Columns, TableColumns, columns_of
from twotower.data.lines import Place, complain, find_file, take_id, take_text
from twotower.data.qrels import Ids, read_candidates, read_judgements
from twotower.data.rows import (
    ENDINGS,
    find_table,
    first_shards,
    is_saved,
    read_rows,
    saved_splits,
)

log = logging.getLogger(__name__)

LAYOUT = "a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv"
JUDGED = (*ENDINGS, ".qrels", ".qrel", ".txt", ".trec")
"""What the names of judgement files end in."""
EMPTY = "is empty (of CSV and TSV the first line names the columns)"
JUDGED_IN = ("qrels", "default", "data")
"""Folders that hold the judgements; the last two in data sets as they lie on the hub."""


def load(
    path: str | Path | None,
    name: str | None = None,
    indexed_text: str | None = None,
    missing: str = "error",
    columns: TableColumns | None = None,
) -> Collection:
    """Reads a folder in BEIR layout.

    Args:
        path: the folder.
        name: what to call the collection (the folder's name otherwise).
        indexed_text: a field of the corpus lines that people search instead of `text`, which training and evaluation
            read; a line without it is searched by its `text`. None: the same text for all.
        missing: `error` refuses judgements of documents and queries that are not there, `skip` leaves them out.
        columns: our names of columns that the files call otherwise: {_id: pid, text: body, corpus-id: pid}, or by
            table: {corpus: {_id: pid}, queries: {_id: qid}, qrels: {...}}.

    Raises:
        UserError: for a missing file, a field that no line has, or a malformed line, a duplicate or an unknown id (file
            and line number).
    """
    if path is None:
        raise UserError(f"data=beir needs data.path=DIR, {LAYOUT}.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.path={folder} is not a folder.")
    document_ids, titles, texts, metadata = read_corpus(_need(folder, "corpus"), columns_of(columns, "corpus"))
    query_ids, query_texts = read_queries(_need(folder, "queries"), columns_of(columns, "queries"))
    ids = Ids(
        queries={item: row for row, item in enumerate(query_ids)},
        documents={item: row for row, item in enumerate(document_ids)},
        missing=missing,
    )
    judged = columns_of(columns, "qrels")
    indexed = (
        None
        if indexed_text is None
        else read_field(_need(folder, "corpus"), indexed_text, columns_of(columns, "corpus"))
    )
    candidates = find_file(folder, "candidates.tsv")
    judgements = {split: read_judgements(file, split, ids, judged) for split, file in split_files(folder).items()}
    listed = None if candidates is None else read_candidates(candidates, ids)
    for note in ids.notes():
        log.warning("%s: %s", folder.name, note)
    return Collection(
        name=name or folder.resolve().name,
        document_ids=document_ids,
        titles=titles,
        texts=texts,
        metadata=metadata,
        query_ids=query_ids,
        query_texts=query_texts,
        judgements=judgements,
        candidates=listed,
        indexed_texts=indexed,
        indexed_as="" if indexed is None else f"the field '{indexed_text}' (training and evaluation read 'text')",
        notes=ids.notes(),
    )


def _need(folder: Path, name: str) -> Path:
    path = find_table(folder, name)
    if path is None:
        raise UserError(f"{folder} has no {name}.jsonl; data.path must be {LAYOUT}.")
    return path


def split_files(folder: Path) -> dict[str, Path]:
    """Returns the judgement file of each split, by name.

    Raises:
        UserError: when there is none.
    """
    place = next((folder / name for name in JUDGED_IN if (folder / name).is_dir()), folder / "qrels")
    if is_saved(place):
        return saved_splits(place) or {"train": place}
    if shards := first_shards(place):
        return shards
    files = sorted(item for item in place.glob("*") if _is_judged(item))
    if not files:
        there = ", ".join(sorted(item.name for item in place.glob("*"))) or "nothing"
        raise UserError(
            f"{folder} has no judgements; put them into qrels/<split>.tsv (query-id, corpus-id, score). "
            f"In {place.name} there is: {there[:200]}."
        )
    file_of_split: dict[str, Path] = {}
    for file in files:
        split = file.name if file.is_dir() else Path(file.name[: len(bare_name(file.name))]).stem
        if split in file_of_split:
            both = f"{file} and {file_of_split[split].name}"
            raise UserError(f"{both} are both of split '{split}'; leave one of them there.")
        file_of_split[split] = file
    return file_of_split


def _is_judged(item: Path) -> bool:
    name = bare_name(item.name)
    return is_saved(item) or (item.is_file() and name.endswith(JUDGED) and not name.startswith((".", "readme")))


def read_corpus(
    path: Path, columns: Columns | None = None
) -> tuple[list[str], list[str], list[str], list[dict[str, Any]] | None]:
    """Reads ids, titles, texts and metadata (None when no document has any)."""
    titles: list[str] = []
    texts: list[str] = []
    metadata: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    for place, value in read_rows(path, columns):
        _add_id(places, take_id(value, _id_key(value), place), place, "document")
        titles.append(take_text(value, "title", place, default=""))
        texts.append(take_text(value, "text", place))
        extra = value.get("metadata")
        metadata.append(extra if isinstance(extra, dict) else {})
    if not places:
        raise UserError(f"{path} {EMPTY}; it needs _id, title and text in each row.")
    return list(places), titles, texts, metadata if any(metadata) else None


def read_field(path: Path, field: str, columns: Columns | None = None) -> list[str]:
    """Reads one text field of every corpus line, its `text` where it has none.

    Raises:
        UserError: when no line has the field, or it is no text.
    """
    lines = list(read_rows(path, columns))
    if not any(field in value for _, value in lines):
        fields = sorted({key for _, value in lines for key in value})
        raise UserError(
            f"data.source.indexed_text={field}: no line of {path} has that field; there are: {', '.join(fields)}."
            f"{nearest(field, fields)}"
        )
    return [take_text(value, field if field in value else "text", place) for place, value in lines]


def read_queries(path: Path, columns: Columns | None = None) -> tuple[list[str], list[str]]:
    """Reads ids and texts of queries."""
    texts: list[str] = []
    places: dict[str, int] = {}
    for place, value in read_rows(path, columns):
        _add_id(places, take_id(value, _id_key(value), place), place, "query")
        texts.append(take_text(value, "text", place))
    if not places:
        raise UserError(f"{path} {EMPTY}; it needs _id and text in each row.")
    return list(places), texts


def _id_key(value: Mapping[str, Any]) -> str:
    """MTEB's newer data sets call an id `id`."""
    return "_id" if "_id" in value or "id" not in value else "id"


def _add_id(places: dict[str, int], item: str, place: Place, what: str) -> None:
    first = places.setdefault(item, place[1])
    if first != place[1]:
        raise complain(place, f"{what} id '{item}' was already given on line {first}.")
