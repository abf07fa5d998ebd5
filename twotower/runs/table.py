"""The ledger in the terminal: one row per run (or per config), a column only for what differs, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from twotower.runs import text
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import Ledger, Spread
from twotower.runs.run import Run, Score

STYLES = {
    "finished": "green",
    "running": "cyan",
    "running?": "yellow",
    "failed": "red",
    "interrupted": "yellow",
    "at_chance": "magenta",
    "collapsed": "red",
    "unreadable": "red",
}
"""Colour of each status; the word stands beside it, so nothing hangs on the colour."""


def runs_table(runs: Ledger, *, metric: str, title: str | None = None, keys: Sequence[str] | None = None) -> Table:
    """Returns the readable runs as a rich table, in their given order.

    Args:
        runs: the runs.
        metric: full name of the metric shown with its interval.
        title: a line above.
        keys: config columns; None takes those that differ.
    """
    shown = runs.readable
    keys = differing(shown) if keys is None else keys
    spreads = runs.spreads(metric)
    seeded = any(spread.runs > 1 for spread in spreads.values())
    table = _table(title, ["#", "run", "status", *short_names(keys).values(), "seed", metric, "95 %"])
    for name in [*(["over seeds"] if seeded else []), "epochs", "time", "size", "age"]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    table.add_column("folder", overflow="fold", style="dim")
    for rank, run in enumerate(shown, start=1):
        score = run.score(metric)
        cells: list[Any] = [str(rank), run.name, Text(run.status, STYLES[run.status])]
        cells += [_cell(column_value(run, key)) for key in keys]
        cells += [_cell(run.seed), text.number(score.value if score else None), interval(score)]
        cells += [_spread(spreads.get(run.group))] if seeded else []
        cells += [str(run.epochs), text.duration(run.seconds), text.size(run.bytes), text.age(run.age), run.verdict]
        cells += [str(run.path)]
        table.add_row(*cells)
    return table


def groups_table(runs: Ledger, *, metric: str, title: str | None = None) -> Table:
    """Returns one row per config: mean and spread of the metric over its seeds, best config first."""
    shown = runs.readable
    keys, spreads, groups = differing(shown), runs.spreads(metric), runs.groups()
    table = _table(title, ["#", *short_names(keys).values(), metric, "over seeds"])
    for name in ("runs", "lowest", "highest", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    order = sorted(groups, key=lambda key: -spreads[key].mean if key in spreads else 1.0)
    for rank, key in enumerate(order, start=1):
        members, spread = groups[key], spreads.get(key)
        values = [score.value for run in members.ended if (score := run.score(metric))]
        seconds = [run.seconds for run in members if run.seconds]
        table.add_row(
            str(rank),
            *(_cell(column_value(members[0], name)) for name in keys),
            text.number(spread.mean if spread else None),
            _spread(spread),
            f"{len(members.ended)}/{len(members)}",
            text.number(min(values, default=None)),
            text.number(max(values, default=None)),
            text.duration(sum(seconds) / len(seconds) if seconds else None),
        )
    return table


def unreadable_table(runs: Ledger) -> Table:
    """Returns the folders whose record could not be read, each with its reason."""
    table = Table(title="Records that can't be read", title_style="bold red", title_justify="left", box=None)
    table.add_column("folder", overflow="fold")
    table.add_column("reason")
    for run in runs.unreadable:
        table.add_row(str(run.path), str(run.problem))
    return table


def levels(runs: Sequence[Run], metric: str) -> list[str]:
    """Returns one line per data set with the chance, BM25 and untrained level of a metric."""
    found: dict[str, str] = {}
    for run in runs:
        score = run.scores.get(metric)
        if score is None:
            continue
        parts = [
            f"{name} {text.number(level)}"
            for name, level in (("chance", score.chance), ("BM25", score.bm25))
            if level is not None
        ]
        name = (run.record.get("data") or {}).get("name") or "data"
        if parts:
            found.setdefault(f"{name}{run.data_key}", f"{name}, {run.data_key[1]}: {metric} " + ", ".join(parts))
    return list(found.values())


def interval(score: Score | None) -> str:
    """Returns a metric's interval as `.41–.45`."""
    if score is None or score.low is None or score.high is None:
        return "–"
    return f"{text.number(score.low, 3)}–{text.number(score.high, 3)}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    if spread.deviation is None:
        return text.number(spread.mean)
    return f"{text.number(spread.mean)} ± {text.number(spread.deviation)} ({spread.runs})"


def _cell(item: Any) -> str:
    return "–" if item is None else text.value(item)


def _table(title: str | None, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in columns:
        number = name in ("#", "seed", "95 %", "over seeds") or "/" in name
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table
