"""Columns that a table calls otherwise than we do: what may be mapped, and rows under our names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from twotower.core.errors import UserError, nearest
from twotower.data.lines import Row, complain

OURS = {"corpus": ("_id", "title", "text"), "queries": ("_id", "text"), "qrels": ("query-id", "corpus-id", "score")}
"""The tables of a collection, and their columns that may be called otherwise."""
TableColumns = Mapping[str, "str | int | Mapping[str, str | int]"]
Columns = Mapping[str, str | int]
"""Which column (a name, or a place from 0 on where a table has no header line) holds what we call by a name of ours."""


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
        of_table = isinstance(value, Mapping)
        if of_table and key not in OURS:
            raise UserError(f"data.source.columns.{key} is no table of ours; there are: {', '.join(OURS)}.")
        own = dict(value) if isinstance(value, Mapping) else {key: value}
        allowed = OURS[key] if of_table else tuple(dict.fromkeys(chain(*OURS.values())))
        for name in own:
            if name not in allowed:
                full = f"{key}.{name}" if of_table else name
                raise UserError(f"data.source.columns.{full} is not a column of ours; there are: {', '.join(allowed)}.")
        if key == table or not of_table:
            chosen.update({name: item for name, item in own.items() if name in OURS[table]})
    return chosen or None
