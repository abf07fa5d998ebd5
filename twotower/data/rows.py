"""Rows of a table, whatever file holds it: JSON lines, a JSON list, CSV, TSV, parquet, or a folder of `save_to_disk`.

Every row comes as a dict with its place (file and number of the line or row), for messages. Text files may be packed,
see `twotower.core.packed`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from twotower.core.errors import UserError, first_line, nearest
from twotower.core.packed import ENDINGS as PACKED
from twotower.core.packed import bare_name
from twotower.data.lines import Place, complain, read_lines, read_objects, shown

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""What the names of files that are read end in, whatever they are packed by."""
SAVED = "dataset_info.json"
"""Stands in every folder that `datasets.Dataset.save_to_disk` wrote."""
SAVED_SPLITS = "dataset_dict.json"
"""Stands in every folder that `datasets.DatasetDict.save_to_disk` wrote."""

Row = tuple[Place, dict[str, Any]]
OURS = {"corpus": ("_id", "title", "text"), "queries": ("_id", "text"), "qrels": ("query-id", "corpus-id", "score")}
"""The tables of a collection, and their columns that may be called otherwise."""
TableColumns = Mapping[str, "str | int | Mapping[str, str | int]"]
Columns = Mapping[str, str | int]
"""Which column (a name, or a place from 0 on where a table has no header line) holds what we call by a name of ours."""

QUOTED = re.compile(r'"[^"]*"')
"""A quoted field."""


def find_table(folder: Path, name: str) -> Path | None:
    """Returns `folder/name` with any of the known endings, or a folder of that name, or None.

    Such a folder is one of `save_to_disk`, or holds a table in parquet shards, of which the first is returned.
    """
    files = {item.name.lower(): item for item in sorted(folder.iterdir()) if item.is_file()}
    names = [f"{name}{ending}{packed}" for packed in ("", *PACKED) for ending in ENDINGS]
    file = next((files[item] for item in names if item in files), None)
    if file or is_saved(folder / name):
        return file or folder / name
    tables = first_shards(folder / name)
    if len(tables) > 1:
        raise UserError(f"{folder / name} holds several tables ({', '.join(tables)}); leave one of them there.")
    return next(iter(tables.values()), None)


def first_shards(folder: Path) -> dict[str, Path]:
    """Returns the first file of every table in parquet shards (`NAME-00000-of-00003.parquet`) in a folder, by name."""
    return {path.name.rpartition("-00000-of-")[0]: path for path in sorted(folder.glob("*-00000-of-*.parquet"))}


def is_table(name: str) -> bool:
    """Says whether a file's name is that of a table, packed or not."""
    return bare_name(name).endswith(ENDINGS) and not name.startswith(".")


def is_saved(path: Path) -> bool:
    """Says whether a folder is one that `save_to_disk` wrote."""
    return (path / SAVED).is_file() or (path / SAVED_SPLITS).is_file()


def saved_splits(path: Path) -> dict[str, Path]:
    """Returns the folder of each split of a `DatasetDict`, or {} where the folder is one `Dataset`.

    Raises:
        UserError: when its list of splits can't be read.
    """
    if not (path / SAVED_SPLITS).is_file():
        return {}
    try:
        names = json.loads((path / SAVED_SPLITS).read_bytes())["splits"]
        return {str(name): path / str(name) for name in names if is_saved(path / str(name))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / SAVED_SPLITS} cannot be read: {error}.") from error


def read_rows(path: Path, columns: Columns | None = None) -> Iterator[Row]:
    """Yields the rows of a table.

    Args:
        path: a file that ends in one of `ENDINGS`, packed or not, or a folder of `save_to_disk`. Any other file is
            read as JSON lines.
        columns: our names of columns that are called otherwise there; those columns come under our names.

    Raises:
        UserError: for what cannot be read, naming file and line.
    """
    rows = _rows(path, headless=any(isinstance(place, int) for place in (columns or {}).values()))
    return renamed(rows, columns) if columns else rows


def _rows(path: Path, *, headless: bool) -> Iterator[Row]:
    name = bare_name(path.name)
    if path.is_dir():
        return _saved(path)
    if name.endswith(".parquet"):
        return _parquet(path)
    if name.endswith((".csv", ".tsv")):
        return _separated(path, tabs=name.endswith(".tsv"), headless=headless)
    if name.endswith(".json"):
        return _json(path)
    return read_objects(path)


def renamed(rows: Iterable[Row], columns: Columns) -> Iterator[Row]:
    """Yields rows with some columns under our names; a column of theirs that has such a name by chance is left out.

    Raises:
        UserError: for a column that is not there, naming the nearest.
    """
    theirs = {ours: str(name) for ours, name in columns.items()}
    for place, row in rows:
        for name in theirs.values():
            if name not in row:
                known = [str(key) for key in row]
                raise complain(place, f"has no column {name!r}; there are: {', '.join(known)}.{nearest(name, known)}")
        kept = {key: value for key, value in row.items() if key not in columns and key not in theirs.values()}
        yield place, {**kept, **{ours: row[name] for ours, name in theirs.items()}}


def columns_of(columns: TableColumns | None, table: str) -> Columns | None:
    """Returns what is mapped of one table of a collection.

    Args:
        columns: our names of columns that are called otherwise, for all tables ({_id: pid}) or for each of them
            ({corpus: {_id: pid}, queries: {_id: qid}}).
        table: corpus, queries or qrels.

    Raises:
        UserError: for a table or a name that is not ours.
    """
    chosen: dict[str, str | int] = {}
    for key, value in (columns or {}).items():
        own = {key: value} if not isinstance(value, Mapping) else dict(value)
        allowed = (
            OURS[key] if isinstance(value, Mapping) and key in OURS else list(dict.fromkeys(sum(OURS.values(), ())))
        )
        if isinstance(value, Mapping) and key not in OURS:
            raise UserError(f"data.source.columns.{key} is no table of ours; there are: {', '.join(OURS)}.")
        for name in own:
            if name not in allowed:
                raise UserError(f"data.source.columns.{name} is not a column of ours; there are: {', '.join(allowed)}.")
        if not isinstance(value, Mapping) or key == table:
            chosen.update({name: item for name, item in own.items() if name in OURS[table]})
    return chosen or None


def _json(path: Path) -> Iterator[Row]:
    """A .json file is a list of objects, or has an object a line after all."""
    text = "\n".join(line for _, line in read_lines(path, blank="keep"))
    if text.lstrip().startswith("{") and not _is_object(text.lstrip().split("\n")[0]) and _is_object(text):
        names = ", ".join(json.loads(text))
        raise complain((path, 1), f"expected a list of JSON objects, or one on each line, found one object: {names}.")
    if not text.lstrip().startswith("["):
        yield from read_objects(path)
        return
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise complain((path, getattr(error, "lineno", 1)), f"not valid JSON ({error}).") from error
    if rows and not isinstance(rows[0], (dict, list)):
        raise complain((path, 1), f"expected a list of JSON objects, found one of {type(rows[0]).__name__}.")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise complain((path, number), f"item {number}: expected a JSON object, found {shown(row)}.")
        yield (path, number), row


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _separated(path: Path, *, tabs: bool, headless: bool) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    parts = tab_lines(path) if tabs else comma_lines(path)
    header: list[str] | None = None
    for place, fields in parts:
        if header is None:
            header = [str(number) for number in range(len(fields))] if headless else [item.strip() for item in fields]
            if len(set(header)) < len(header) or not all(header):
                raise complain(
                    place,
                    f"the header line needs a name of its own for each column; found {shown(fields)}. (An unnamed "
                    "first one is pandas' own index: to_csv(index=False) leaves it out.)",
                )
            if not headless:
                continue
        if len(fields) != len(header):
            raise complain(place, f"needs {len(header)} columns as the first line has; found {len(fields)}.")
        yield place, dict(zip(header, fields, strict=True))


def tab_lines(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """Yields the fields of each line of a file parted by tabs; quotation marks are part of the text."""
    return ((place, line.split("\t")) for place, line in read_lines(path))


def comma_lines(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """Yields the fields of each record of a CSV file, parted by `,`, `;`, tab or `|`.

    It is the one that the first record has most of, quoted fields aside.

    Raises:
        UserError: where quotation marks are not as CSV has them, besides what `read_lines` raises.
    """
    numbered = read_lines(path, blank="keep")
    opening = _first_record(numbered)
    if not opening:
        return
    mark = max(",;\t|", key=QUOTED.sub("", "\n".join(line for _, line in opening)).count)
    place = [opening[0][0]]

    def lines() -> Iterator[str]:
        for where, line in chain(opening, numbered):
            place[0] = where
            yield line + "\n"

    reader = csv.reader(lines(), delimiter=mark, strict=True)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise complain(place[0], f"not well-formed CSV ({error}).") from error
        if fields is None:
            return
        if fields:
            yield place[0], fields


def _first_record(numbered: Iterator[tuple[Place, str]]) -> list[tuple[Place, str]]:
    """Returns the first line, and those after it that a quoted field of it goes on in."""
    opening, marks = [], 0
    for place, line in numbered:
        opening.append((place, line))
        marks += line.count('"')
        if marks % 2 == 0:
            break
    return opening


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for part in _shards(path):
            with pq.ParquetFile(part) as table:
                number = 0
                for batch in table.iter_batches():
                    for row in batch.to_pylist():
                        number += 1
                        yield (part, number), row
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as parquet: {first_line(error)}") from error


def _shards(path: Path) -> list[Path]:
    """Returns all files of the table whose first shard is given; any other file is the whole table.

    Raises:
        UserError: for a shard that is not there.
    """
    name, mark, count = path.name.removesuffix(".parquet").rpartition("-00000-of-")
    if not mark or not count.isdigit():
        return [path]
    parts = [path.with_name(f"{name}-{number:05d}-of-{count}.parquet") for number in range(int(count))]
    absent = next((part for part in parts if not part.is_file()), None)
    if absent is not None:
        raise UserError(f"{absent} is missing: the table has {int(count)} parts.")
    return parts


def _saved(path: Path) -> Iterator[Row]:
    """Reads a folder of `save_to_disk` through pyarrow: `state.json` names the arrow streams."""
    import pyarrow as pa

    try:
        names = [item["filename"] for item in json.loads((path / "state.json").read_bytes())["_data_files"]]
        number = 0
        for name in names:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is no file of the folder")
            with pa.memory_map(str(path / name)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    for row in batch.to_pylist():
                        number += 1
                        yield (path, number), row
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a folder of save_to_disk: {first_line(error)}") from error
