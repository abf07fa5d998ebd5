"""Rows of a table, whatever file holds it: JSON lines, a JSON list, CSV, TSV, parquet, or a folder of `save_to_disk`.

Every row comes as a dict with its place (file and number of the line or row), for messages. Text files may be packed,
see `twotower.core.packed`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from twotower.core.errors import UserError, first_line
from twotower.core.packed import ENDINGS as PACKED
from twotower.core.packed import bare_name
from twotower.data.columns import Columns, renamed
from twotower.data.lines import Row, complain, read_lines, read_objects, shown
from twotower.data.separated import separated

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""What the names of files that are read end in, whatever they are packed by."""
SAVED = "dataset_info.json"
"""Stands in every folder that `datasets.Dataset.save_to_disk` wrote."""
SAVED_SPLITS = "dataset_dict.json"
"""Stands in every folder that `datasets.DatasetDict.save_to_disk` wrote."""


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
        return separated(path, tabs=name.endswith(".tsv"), headless=headless)
    if name.endswith(".json"):
        return _json(path)
    return read_objects(path)


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
