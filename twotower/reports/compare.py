"""Is one run better than another? Paired over the same queries: test, interval, wins and losses, and where they differ.

Shapes: Q queries, R runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.errors import UserError
from twotower.evaluation.statistics import holm, paired_bootstrap, randomisation_test
from twotower.runs.columns import column_value, differing
from twotower.runs.per_query import Paired, pair
from twotower.runs.run import Run

_TIE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One pair of runs: `difference` is first minus second, with its 95 % interval.

    `p_value` is that of the paired randomisation test, `p_holm` the same corrected for all pairs looked at; `wins`,
    `ties` and `losses` count queries from the first run's side.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    wins: int
    ties: int
    losses: int

    @property
    def real(self) -> bool:
        """Whether the two can be told apart at the 5 % level, after correction."""
        return self.p_holm < 0.05


@dataclass(frozen=True, kw_only=True)
class QueryDifference:
    """One query on which two runs differ, with the ranks of the first relevant document and what each put first."""

    query_id: str
    query: str
    values: tuple[float, float]
    ranks: tuple[int | None, int | None]
    first_hits: tuple[str, str]
    texts: tuple[str | None, str | None]


def compare(
    runs: Sequence[Run], metric: str, *, baseline: bool = False, permutations: int = 10_000
) -> list[Difference]:
    """Compares runs pair by pair on the queries they share.

    Args:
        runs: two or more runs.
        metric: full name (`full/mrr_10`).
        baseline: compares the others with the first run only, instead of all with all.
        permutations: random sign flips of the test.

    Raises:
        UserError: for fewer than two runs, or runs that can't be set side by side.
    """
    if len(runs) < 2:
        raise UserError("A comparison needs at least two runs.")
    return differences(pair(runs, metric), baseline=baseline, permutations=permutations)


def differences(paired: Paired, *, baseline: bool = False, permutations: int = 10_000) -> list[Difference]:
    """Returns the tested differences between runs already lined up."""
    values_RQ = paired.values_RQ
    pairs = [(left, right) for left, right in combinations(range(len(values_RQ)), 2) if left == 0 or not baseline]
    p_values = [float(randomisation_test(values_RQ[i], values_RQ[j], permutations=permutations)) for i, j in pairs]
    corrected = holm(np.array(p_values))
    tested = []
    for (left, right), p_value, p_holm in zip(pairs, p_values, corrected, strict=True):
        interval = paired_bootstrap(values_RQ[left], values_RQ[right])
        gap_Q = values_RQ[left] - values_RQ[right]
        tested.append(
            Difference(
                first=left,
                second=right,
                difference=float(interval.mean),
                low=float(interval.low),
                high=float(interval.high),
                p_value=p_value,
                p_holm=float(p_holm),
                wins=int((gap_Q > _TIE).sum()),
                ties=int((np.abs(gap_Q) <= _TIE).sum()),
                losses=int((gap_Q < -_TIE).sum()),
            )
        )
    return tested


def extreme_queries(
    paired: Paired, runs: Sequence[Run], *, first: int = 0, second: int = 1, count: int = 5
) -> tuple[list[QueryDifference], list[QueryDifference]]:
    """Returns the queries on which the first run wins most, and those on which the second does.

    Of each run's first hit, title and text come from a `documents.db` of either run, where there is one.
    """
    gap_Q = paired.values_RQ[first] - paired.values_RQ[second]
    order = np.argsort(-gap_Q, kind="stable")
    won = [int(row) for row in order[:count] if gap_Q[row] > 0]
    lost = [int(row) for row in order[::-1][:count] if gap_Q[row] < 0]
    tables = [paired.tables[first], paired.tables[second]]
    hits = {row: [_first(table["top_ids"][row].as_py()) for table in tables] for row in (*won, *lost)}
    texts = document_texts([runs[first], runs[second]], [item for pair_ in hits.values() for item in pair_ if item])

    def describe(row: int) -> QueryDifference:
        left, right = hits[row]
        return QueryDifference(
            query_id=paired.query_ids[row],
            query=paired.queries[row],
            values=(float(paired.values_RQ[first, row]), float(paired.values_RQ[second, row])),
            ranks=(tables[0]["first_relevant_rank"][row].as_py(), tables[1]["first_relevant_rank"][row].as_py()),
            first_hits=(left, right),
            texts=(texts.get(left), texts.get(right)),
        )

    return [describe(row) for row in won], [describe(row) for row in lost]


def document_texts(runs: Sequence[Run], ids: Sequence[str]) -> dict[str, str]:
    """Returns `title: text` of documents by id, from the first document store among the runs that knows them."""
    titles: dict[str, str] = {}
    for path in (run.path / "documents.db" for run in runs):
        wanted = sorted(set(ids) - set(titles))
        if not wanted or not path.is_file():
            continue
        try:
            titles |= _fetch(path, wanted)
        except (sqlite3.Error, UnicodeError):
            continue  # texts only illustrate; a store of another layout leaves the ids to speak
    return titles


def _fetch(path: Path, ids: Sequence[str]) -> Mapping[str, str]:
    marks = ",".join("?" * len(ids))
    connection = sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            f"SELECT doc_id, title, text FROM documents WHERE doc_id IN ({marks})",  # noqa: S608 (question marks only)
            list(ids),
        ).fetchall()
    finally:
        connection.close()
    return {doc_id: f"{title}: {body}" if title else str(body) for doc_id, title, body in rows}


def config_differences(runs: Sequence[Run], *, every: bool = True) -> list[tuple[str, list[Any]]]:
    """Returns the config keys in which runs differ, each with the runs' values; what a user set comes first.

    Args:
        runs: readable runs.
        every: also the keys that only follow from a group's choice or repeat another.
    """
    keys = differing(runs, aliases=every, seed=True)
    by_hand = {key for run in runs for key in run.overridden}
    ordered = sorted(keys, key=lambda key: (key not in by_hand, "." in key, keys.index(key)))
    return [(key, [column_value(run, key) for run in runs]) for key in ordered]


def _first(items: Sequence[str] | None) -> str:
    return items[0] if items else ""
