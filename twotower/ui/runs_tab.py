"""The table of all runs: sorted, filtered, grouped by sweep, failed ones folded, running ones kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import Ledger, load
from twotower.runs.run import ENDED, Run
from twotower.ui import cells

FOLDED = ("failed", "interrupted", "unreadable")
"""Statuses that are left out of the table until asked for."""
SORTS = ("score", "age", "name", "seconds")
REFRESH_SECONDS = 2.0


class RunChosen(Message):
    """A run was opened in the table, or marked for comparison.

    Args:
        run: the run.
        action: `open`, `search` or `compare`.
    """

    def __init__(self, run: Run, action: str) -> None:
        super().__init__()
        self.run, self.action = run, action


class RunsTab(Vertical):
    """The ledger as a live table.

    Args:
        folders: where to look for runs; none means outputs/ and multirun/.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("slash", "filter", "Filter"),
        ("s", "sort", "Sort"),
        ("g", "group", "By sweep"),
        ("f", "fold", "Failed"),
        ("o", "choose('search')", "Search it"),
        ("c", "choose('compare')", "Compare"),
    ]

    def __init__(self, folders: Sequence[str] = ()) -> None:
        super().__init__()
        self.folders, self.runs, self.shown = tuple(folders), Ledger(), Ledger()
        self.sort, self.grouped, self.folded, self.terms = SORTS[0], False, True, ""
        self._drawn: Any = None

    def compose(self) -> ComposeResult:
        """Lays out the filter, the table and the line below it."""
        yield Input(placeholder="filter: model=gru lr<0.01 mrr_10>=.4   (Enter applies, empty shows all)", id="filter")
        yield DataTable(cursor_type="row", zebra_stripes=True, id="runs")
        yield Static("", id="runs-note")

    def on_mount(self) -> None:
        """Reads the runs, and again every two seconds."""
        self.query_one("#filter").display = False
        self.read()
        self.set_interval(REFRESH_SECONDS, self.read)
        self.query_one(DataTable).focus()

    def read(self) -> None:
        """Reads the records again; the table is drawn anew only if something in it changed."""
        self.runs = load(*self.folders)
        self.draw()

    def draw(self) -> None:
        """Filters, sorts and shows the runs at hand; a filter that isn't one is named below the table."""
        try:
            kept = self.runs.where(*self.terms.split()) if self.terms else self.runs
        except UserError as error:
            self._note(str(error), "red")
            return
        hidden = [run for run in kept if run.status in FOLDED] if self.folded else []
        self.shown = self._ordered(Ledger(run for run in kept if run not in hidden))
        state = (
            self.sort,
            self.grouped,
            self.folded,
            self.terms,
            [(r.path, r.status, r.age // 60, r.epochs) for r in kept],
        )
        if state != self._drawn:
            self._drawn = state
            self._fill(len(hidden))

    def _ordered(self, runs: Ledger) -> Ledger:
        runs = runs.sorted() if self.sort == "score" else runs.sorted(self.sort, ascending=True)
        return Ledger(sorted(runs, key=lambda run: run.sweep or "")) if self.grouped else runs

    def _fill(self, hidden: int) -> None:
        table = self.query_one(DataTable)
        at = self.chosen
        metric = self.runs.metric()
        keys = differing(self.shown.readable)[:6]
        short = short_names(keys)
        table.clear(columns=True)
        heads = ["run", metric.partition("/")[2], "BM25", "hybrid", "verdict", "curve", "status"]
        table.add_columns(*heads, *(short[key] for key in keys))
        table.add_columns("seed", "epochs", "time", "age", "sweep", "folder")
        sweeps = [run.sweep or "" for run in self.shown]
        for place, run in enumerate(self.shown):
            if self.grouped and (place == 0 or sweeps[place] != sweeps[place - 1]):
                self._heading(table, sweeps[place], sweeps.count(sweeps[place]))
            table.add_row(*self._row(run, metric, keys), key=str(run.path))
        if at is not None and at in [run.path for run in self.shown]:
            table.move_cursor(row=table.get_row_index(str(at)))
        plural = "" if len(self.shown) == 1 else "s"
        note = f"{len(self.shown)} run{plural}, by {self.sort}" + (" within each sweep" if self.grouped else "")
        if hidden:
            note += f"; {hidden} failed, stopped or unreadable folded (f shows)"
        if not self.runs:
            note = f"No runs yet: `{text.train_command()}` makes one."
        self._note(note, "dim")

    def _heading(self, table: DataTable[Any], sweep: str, runs: int) -> None:
        name = text.visible(sweep) if sweep else "single runs"
        line = Text(f"── {name}", "bold cyan").append(f"  {runs} run{'' if runs == 1 else 's'}", "dim")
        table.add_row(line, *[""] * (len(table.columns) - 1))

    def _row(self, run: Run, metric: str, keys: Sequence[str]) -> list[Any]:
        score, both = run.score(metric), run.hybrid_score(metric)
        values = [Text(text.visible(text.value(column_value(run, key)))) for key in keys]
        return [
            Text(text.visible(run.name), "bold" if run.status in ENDED else ""),
            Text(text.number(score.value if score else None), justify="right"),
            Text(text.number(score.bm25 if score else None), "dim", justify="right"),
            Text(text.number(both.value if both else None), justify="right"),
            cells.verdict(run, 28),
            Text(cells.curve(cells.history(run, metric)), "cyan"),
            cells.status(run),
            *values,
            str(run.seed),
            str(run.epochs),
            text.duration(run.seconds),
            text.age(run.age),
            Text(text.visible(str(run.sweep or ""))),
            Text(str(run.path), "dim"),
        ]

    @property
    def chosen(self) -> Any:
        """The folder of the run under the cursor, None in an empty table."""
        table = self.query_one(DataTable)
        if not table.row_count or table.cursor_row is None or table.cursor_row >= table.row_count:
            return None
        key = table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value
        return next((run.path for run in self.shown if str(run.path) == key), None)

    def _note(self, note: str, style: str) -> None:
        self.query_one("#runs-note", Static).update(Text(text.visible(note), style))

    def action_filter(self) -> None:
        """Opens the line for a filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Applies the filter; an empty one shows everything."""
        event.stop()
        self.terms = event.value.strip()
        event.input.display = bool(self.terms)
        self.draw()
        self.query_one(DataTable).focus()

    def action_sort(self) -> None:
        """Sorts by the next key."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self.draw()

    def action_group(self) -> None:
        """Puts the runs of a sweep together, or not."""
        self.grouped = not self.grouped
        self.draw()

    def action_fold(self) -> None:
        """Shows or folds the runs that failed."""
        self.folded = not self.folded
        self.draw()

    def action_choose(self, action: str) -> None:
        """Hands the run under the cursor to another tab."""
        run = next((run for run in self.shown if run.path == self.chosen), None)
        if run is not None:
            self.post_message(RunChosen(run, action))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter opens a run."""
        event.stop()
        self.action_choose("open")
