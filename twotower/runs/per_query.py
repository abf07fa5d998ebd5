"""Per-query scores of runs, read from their `per_query.parquet` and lined up query by query.

Shapes: Q queries, R runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower.core.errors import UserError, nearest
from twotower.core.reading import read_table
from twotower.runs.run import Run

FILE_NAME = "per_query.parquet"
"""Name of the per-query table in a run folder."""


COLUMNS = {"protocol": "string", "query_id": "string", "query": "string", "num_relevant": "number"}
"""What every such table has beside its metrics."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The same queries under several runs.

    `values_RQ` holds the metric per run and query; `tables` each run's pyarrow table in the same order of queries.
    """

    metric: str
    query_ids: list[str]
    queries: list[str]
    values_RQ: np.ndarray
    tables: list[Any]


def read_per_query(run: Run, protocol: str) -> Any:
    """Returns one run's per-query pyarrow table for a protocol, sorted by query id.

    Queries without a relevant document are left out, as they are of the means in the record.

    Raises:
        UserError: when the run has no such table, it can't be read, or it lacks the protocol.
    """
    import pyarrow.compute as pc

    path = run.path / FILE_NAME
    if not path.is_file():
        raise UserError(f"{run.path} has no {FILE_NAME} (status {run.status}): it was not evaluated to the end.")
    table = read_table(path, COLUMNS)
    chosen = table.filter(pc.equal(table["protocol"], protocol))
    if not chosen.num_rows:
        there = sorted(set(table["protocol"].to_pylist()))
        raise UserError(
            f"{run.path} was not evaluated under '{protocol}'; its protocols: {', '.join(there) or 'none'}."
        )
    return chosen.filter(pc.greater(chosen["num_relevant"], 0)).sort_by("query_id")


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def comparable(runs: Sequence[Run], protocol: str) -> None:
    """Refuses runs whose figures can't be set side by side.

    Raises:
        UserError: naming what differs: the data, the split, or the pool that was ranked.
    """
    for run in runs:
        if not (run.record.get("evaluation") or {}).get(protocol):
            raise UserError(f"{run.path} (status {run.status}) has no final evaluation under '{protocol}'.")
    first = runs[0]
    for other in runs[1:]:
        for what, left, right in _conditions(first, other, protocol):
            if left != right:
                given = f"{_short(left)} against {_short(right)}"
                raise UserError(f"{first.path} and {other.path} can't be compared: {what} differs ({given}).")


def _conditions(first: Run, other: Run, protocol: str) -> list[tuple[str, Any, Any]]:
    pairs: list[tuple[str, Any, Any]] = []
    names = [(run.record.get("data") or {}).get("name") for run in (first, other)]
    prints = [f"{name} {run.data_key[0][:12]}" for name, run in zip(names, (first, other), strict=True)]
    pairs.append(("the data", prints[0], prints[1]))
    pairs.append(("the evaluation split", first.data_key[1] or "none", other.data_key[1] or "none"))
    parts = [(run.record.get("evaluation") or {}).get(protocol) or {} for run in (first, other)]
    for key, what in (("kind", "the kind of pool"), ("mean_size", "the mean size of the pool")):
        left, right = ((part.get("pool") or {}).get(key) for part in parts)
        pairs.append((f"{what} ranked under '{protocol}'", left, right))
    return pairs


def pair(runs: Sequence[Run], metric: str) -> Paired:
    """Lines several runs up by query.

    Args:
        runs: at least two runs.
        metric: full name (`full/mrr_10`).

    Raises:
        UserError: for runs of different data, split, protocol, pool or queries, saying which.
    """
    protocol, _, column = metric.partition("/")
    comparable(runs, protocol)
    tables = [read_per_query(run, protocol) for run in runs]
    ids = [table["query_id"].to_pylist() for table in tables]
    for run, mine in zip(runs[1:], ids[1:], strict=True):
        if mine != ids[0]:
            only = len(set(ids[0]) - set(mine)), len(set(mine) - set(ids[0]))
            raise UserError(
                f"{runs[0].path} and {run.path} were evaluated on different queries ({only[0]} only in the first, "
                f"{only[1]} only in the second): evaluate both on the same ones (evaluate.max_queries, seed)."
            )
    names = set(tables[0].column_names)
    if any(column not in table.column_names for table in tables):
        raise UserError(f"No column '{column}' in {FILE_NAME}.{nearest(column, names)}")
    for run, table in zip(runs, tables, strict=True):
        if not _is_number(table[column].type):
            raise UserError(f"{run.path / FILE_NAME}: the column {column} holds {table[column].type}, not numbers.")
    values_RQ = np.stack([table[column].to_numpy(zero_copy_only=False).astype(np.float64) for table in tables])
    return Paired(
        metric=metric,
        query_ids=ids[0],
        queries=tables[0]["query"].to_pylist(),
        values_RQ=values_RQ,
        tables=tables,
    )


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
