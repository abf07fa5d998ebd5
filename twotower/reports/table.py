"""The ledger in the terminal: one row per run (or per config), a column only for what differs, for people to read."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from twotower.core import format as text
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


LONGEST_VERDICT = 60
"""Characters of a verdict, or of the error of a failed run, in the table."""
LONGEST_NAME = 60
"""Longer names of runs are cut: their folder stands in the row, and --json has them whole."""


@dataclass(frozen=True, eq=False)
class _Column:
    """A column: its heading, a cell per row, how it is set, and how soon it goes when there is no room (0: never)."""

    name: str
    given: list[Any] | Callable[[], list[Any]]
    number: bool = False
    drop: float = 0

    @cached_property
    def cells(self) -> list[Any]:
        """What was given, or what gives it: of a column that has to go none are made."""
        return self.given() if callable(self.given) else self.given

    @cached_property
    def width(self) -> int:
        """Characters of its longest cell."""
        return max(map(_length, [self.name, *self.cells]))


def runs_table(
    runs: Ledger,
    *,
    metric: str,
    spreads: Mapping[str, Spread] | None = None,
    keys: Sequence[str] | None = None,
    width: int | None = None,
) -> Text:
    """Returns the readable runs as a table set in lines of text, in their given order.

    Args:
        runs: the runs.
        metric: full name of the metric shown with its interval.
        spreads: mean and spread over seeds by `Run.group`; None takes them from these runs alone.
        keys: config columns; None takes those that differ.
        width: characters at hand; the least telling columns go until the table fits, and a line below names them.
    """
    shown = runs.readable
    keys = differing(shown) if keys is None else keys
    spreads = runs.spreads(metric) if spreads is None else spreads
    scores = [run.score(metric) for run in shown]
    columns = [
        _Column("#", [str(rank) for rank in range(1, len(shown) + 1)], True),
        _Column("run", [text.shortened(run.name, LONGEST_NAME) for run in shown]),
        _Column("status", [Text(run.status, STYLES[run.status]) for run in shown], drop=0.2),
        *_config_columns(shown, keys),
        _Column("seed", [_cell(run.seed) for run in shown], True, 0.3),
        _Column(metric, [text.number(score.value if score else None) for score in scores], True),
        _Column("95 %", [interval(score) for score in scores], True, 0.4),
    ]
    if any(hybrid := [run.hybrid_score(metric) for run in shown]):
        columns.append(_Column("hybrid", [text.number(score.value if score else None) for score in hybrid], True, 0.3))
    if any(spread.runs > 1 for spread in spreads.values()):
        columns.append(_Column("over seeds", [_spread(spreads.get(run.group)) for run in shown], True, 3))
    columns += [
        _Column("epochs", [str(run.epochs) for run in shown], True, 6),
        _Column("time", [text.duration(run.seconds) for run in shown], True, 4),
        _Column("size", [text.size(run.bytes) for run in shown], True, 7),
        _Column("age", [text.age(run.age) for run in shown], True, 5),
        _Column("verdict", [text.shortened(run.verdict, LONGEST_VERDICT) for run in shown]),
        _Column("folder", [Text(str(run.path), "dim") for run in shown]),
    ]
    return _fit(columns, width)


def groups_table(runs: Ledger, *, metric: str, width: int | None = None) -> Text:
    """Returns one row per config: mean and spread of the metric over its seeds, best config first."""
    shown = runs.readable
    spreads, groups = runs.spreads(metric), runs.groups()
    order = sorted(groups, key=lambda key: -spreads[key].mean if key in spreads else 1.0)
    members = [groups[key] for key in order]
    scores = [[score.value for run in group.ended if (score := run.score(metric))] for group in members]
    seconds = [[run.seconds for run in group if run.seconds] for group in members]
    columns = [
        _Column("#", [str(rank) for rank in range(1, len(order) + 1)], True),
        *_config_columns([group[0] for group in members], differing(shown)),
        _Column(metric, [text.number(spreads[key].mean if key in spreads else None) for key in order], True),
        _Column("over seeds", [_spread(spreads.get(key)) for key in order], True),
        _Column("runs", [f"{len(group.ended)}/{len(group)}" for group in members], True, 4),
        _Column("lowest", [text.number(min(values, default=None)) for values in scores], True, 3),
        _Column("highest", [text.number(max(values, default=None)) for values in scores], True, 2),
        _Column("time", [text.duration(sum(part) / len(part) if part else None) for part in seconds], True, 5),
    ]
    return _fit(columns, width)


def _config_columns(runs: Sequence[Run], keys: Sequence[str]) -> list[_Column]:
    def cells(key: str) -> list[Any]:
        return [_cell(column_value(run, key)) for run in runs]

    return [_Column(name, partial(cells, key), drop=0.5) for key, name in short_names(keys).items()]


def _fit(columns: list[_Column], width: int | None) -> Text:
    gone: list[str] = []
    below: list[Any] = []  # folders, where they have no room beside what tells more
    while True:
        needed = sum(_length(column.name) + 2 for column in columns) - 2
        if width is None or needed <= width:
            needed = _needed(columns)
        least = max(reversed(columns), key=lambda column: column.drop)
        if width is None or needed <= width:
            break
        if least.drop < 1 and columns[-1].name == "folder":
            columns, below = columns[:-1], columns[-1].cells
            continue
        if not least.drop:
            columns = _narrowed(columns, width)
            break
        gone.append(least.name)
        columns = [column for column in columns if column is not least]
    rows = zip(*(column.cells for column in columns), strict=True)
    lines = [_line([Text(column.name, "bold") for column in columns], columns)]
    for number, row in enumerate(rows):
        lines.append(_line(row, columns))
        if below and width is not None:
            lines += [
                (f"   {part}", [(0, 3 + len(part), "dim")]) for part in textwrap.wrap(str(below[number]), width - 3)
            ]
    if gone and width is not None:
        hint = f"no room for {', '.join(reversed(gone))}: a wider terminal, --csv or --json has them"
        lines += [(part, [(0, len(part), "dim italic")]) for part in textwrap.wrap(hint, width)]
    table = Text("\n".join(line for line, _ in lines), no_wrap=True, overflow="ignore")
    start = 0
    for line, styles in lines:
        for first, last, how in styles:
            table.stylize(how, start + first, start + last)
        start += len(line) + 1
    return table


def _needed(columns: list[_Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def _narrowed(columns: list[_Column], width: int) -> list[_Column]:
    """Cuts long names, then verdicts, then names, so that a row fits; figures are never cut."""
    for name, least in (("run", 30), ("verdict", 12), ("run", 12)):
        over = _needed(columns) - width
        if over <= 0:
            break
        for at, column in enumerate(columns):
            if column.name == name:
                room = max(least, column.width - over)
                columns[at] = replace(column, given=[text.shortened(str(cell), room) for cell in column.cells])
    return columns


def _line(cells: Sequence[Any], columns: Sequence[_Column]) -> tuple[str, list[tuple[int, int, Any]]]:
    """Sets one row and says which stretches of it have a style.

    A thousand rows of a rich Table would take seconds; set by hand they take a moment.
    """
    parts, styles, at = [], [], 0
    for cell, column in zip(cells, columns, strict=True):
        plain = cell.plain if isinstance(cell, Text) else cell
        room = " " * (column.width - _length(plain))
        part = room + plain if column.number else plain + room
        if isinstance(cell, Text):
            styles.append((at, at + len(part), cell.style))
        parts.append(part)
        at += len(part) + 2
    return "  ".join(parts).rstrip(), styles


def _length(cell: Any) -> int:
    plain = cell.plain if isinstance(cell, Text) else cell
    return len(plain) if plain.isascii() else cell_len(plain)


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
    lines: dict[str, str] = {}
    for run in runs:
        score = run.final_score(metric)
        if score is None:
            continue
        parts = [
            f"{name} {text.number(level)}"
            for name, level in (("chance", score.chance), ("BM25", score.bm25))
            if level is not None
        ]
        name = (run.record.get("data") or {}).get("name") or "data"
        if parts:
            lines.setdefault(f"{name}{run.data_key}", f"{name}, {run.data_key[1]}: {metric} " + ", ".join(parts))
    return list(lines.values())


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
