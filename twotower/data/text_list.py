"""The texts of a file with their ids, one after the other: a text a line, or a column of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError
from twotower.core.packed import bare_name
from twotower.data.lines import Place, clean, complain, read_lines, shown, take_id
from twotower.data.rows import ENDINGS, is_table, read_rows

Text = tuple[str, str]
"""A text's id and the text."""
ID = ("_id", "id", "doc_id", "docid", "pid", "qid", "query_id")
COLUMNS = {"document": ("text", "positive", "passage", "document"), "query": ("query", "text", "question", "anchor")}
"""The columns that hold a side's text, the first that is there."""


def read_texts(file: Path, side: str = "document", column: str | None = None) -> Iterator[Text]:
    """Yields every text of a file with its id.

    A .txt file holds a text a line, whose number (from 0) is its id, as it is of a row without one. Every other kind
    (see `twotower.data.rows`) has named columns, of which those of the side are taken: of documents title and text, of
    queries query or text.

    Args:
        file: what to read.
        side: query or document.
        column: the column that holds the text, where it is called otherwise.

    Raises:
        UserError: for a missing file, a line that is not as expected, or columns that don't say what is meant.
    """
    if not file.exists():
        raise UserError(f"No file {file} to encode.")
    if not _has_columns(file):
        if column is not None:
            raise UserError(f"--column {column}: {file} has no columns; it is read as a text a line.")
        for (_, number), line in read_lines(file):
            if number == 1 and re.match(r"\s*[{\[]\s*\"", line):
                raise complain(
                    (file, 1), "looks like JSON, and is read as a text a line; a name for that ends in .jsonl."
                )
            yield str(number - 1), line
        return
    columns: dict[str, str | int] | None = None
    if column is not None and column.isdigit():  # a table without a header line
        columns = {"text": int(column), **({"id": 0} if int(column) else {})}
        column = "text"
    for number, (place, item) in enumerate(read_rows(file, columns)):
        text = _text(item, side, column, place)
        key = next((key for key in ID if item.get(key) not in (None, "")), None)
        yield str(number) if key is None else take_id(item, key, place), text


def _has_columns(file: Path) -> bool:
    if file.is_dir() or is_table(file.name):
        return True
    if Path(bare_name(file.name)).suffix not in ("", ".txt", ".text"):
        known = ", ".join((".txt", *ENDINGS))
        raise UserError(f"{file}: what is in it? Files that end in {known} are encoded, packed or not.")
    return False


def _text(item: Mapping[str, Any], side: str, column: str | None, place: Place) -> str:
    wanted = (column,) if column is not None else COLUMNS[side]
    key = next((key for key in wanted if item.get(key) is not None), None)
    there = ", ".join(str(name) for name in item)
    if key is None and side == "document" and column is None and isinstance(item.get("title"), str):
        return str(item["title"])  # a page of a title alone
    if key is None:
        other = "query" if side == "document" else "document"
        hint = f" --side {other} reads what is there;" if any(name in item for name in COLUMNS[other]) else ""
        raise complain(place, f"no column holds a {side}'s text; there are: {there}.{hint} --column NAME names one.")
    value = item[key]
    if not isinstance(value, str):
        raise complain(place, f"'{key}' must be a text; found {shown(value)}; there are: {there}.")
    title = item.get("title") if side == "document" and column is None else None
    return clean(f"{title} {value}" if title else value, key, place)
