"""The table of runs: its headings, its rows, and the order they stand in."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from twotower.core import format as text
from twotower.runs.columns import column_value, short_names
from twotower.runs.ledger import Ledger
from twotower.runs.run import ENDED, Run
from twotower.ui import cells

WIDE = 120
"""Characters from which verdicts stand in words; below, as a sign, and the curve before it."""
WIDE_HEADS = ("BM25", "hybrid", "verdict", "curve", "status")
NARROW_HEADS = ("curve", "verdict", "BM25", "hybrid", "status")
UNSORTED = ("BM25", "curve")
"""Columns by which runs aren't sorted."""


def headings(metric: str, keys: Sequence[str], *, narrow: bool) -> dict[str, str]:
    """Returns the headings by what the table is sorted by at a click on them.

    Args:
        metric: full name of the metric shown.
        keys: config keys that have a column.
        narrow: the terminal has less than `WIDE` characters.
    """
    heads = {"name": "run", "score": metric.partition("/")[2]}
    heads |= {name: name for name in (NARROW_HEADS if narrow else WIDE_HEADS)} | short_names(keys)
    return (
        heads
        | {"seed": "seed", "epochs": "epochs", "seconds": "time", "age": "age", "sweep": "sweep"}
        | {"path": "folder"}
    )


def row_of(run: Run, metric: str, keys: Sequence[str], *, narrow: bool) -> list[str | Text]:
    """Returns a run's cells under `headings`."""
    score, both = run.score(metric), run.hybrid_score(metric)
    parts = {
        "BM25": Text(text.number(score.bm25 if score else None), "dim", justify="right"),
        "hybrid": Text(text.number(both.value if both else None), justify="right"),
        "verdict": cells.short_verdict(run) if narrow else cells.verdict(run, 29),
        "curve": Text(cells.curve(cells.history(run, metric), 8 if narrow else 12), "cyan"),
        "status": cells.status(run),
    }
    return [
        Text(text.visible(run.name), "bold" if run.status in ENDED else ""),
        Text(text.number(score.value if score else None), cells.colour(run.verdict), justify="right"),
        *(parts[name] for name in (NARROW_HEADS if narrow else WIDE_HEADS)),
        *(Text(text.visible(text.value(column_value(run, key)))) for key in keys),
        "–" if run.seed is None else str(run.seed),
        str(run.epochs),
        text.duration(run.seconds),
        text.age(run.age),
        Text(text.visible(str(run.sweep or ""))),
        Text(str(run.path), "dim"),
    ]


def ordered(runs: Ledger, key: str, metric: str, *, turned: bool) -> Ledger:
    """Returns runs in an order: the best first by a score, else the smallest; runs without the value come last.

    Args:
        runs: the runs.
        key: `score`, `hybrid`, or whatever a filter can name.
        metric: full name of the metric that the hybrid is measured by.
        turned: the other way round.
    """
    if key != "hybrid":
        best_first = key == "score"
        return runs.sorted(None if best_first else key, ascending=turned == best_first)
    known = {run.path: both.value for run in runs if (both := run.hybrid_score(metric)) is not None}
    sign = 1 if turned else -1
    return Ledger(sorted(runs, key=lambda run: (run.path not in known, sign * known.get(run.path, 0.0))))
