"""The table of all runs: sorted, filtered, grouped by sweep, failed ones folded, running ones kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.runs.columns import differing
from twotower.runs.ledger import Ledger, load
from twotower.runs.run import Run
from twotower.ui.rows import UNSORTED, WIDE, headings, ordered, row_of

FOLDED = ("failed", "interrupted", "unreadable")
"""Statuses that are left out of the table until asked for."""
SORTS = ("score", "hybrid", "age", "name", "seconds")
"""What the key for sorting goes through; a click on a heading sorts by any column."""
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
        Binding("S", "turn", "Turn the order round", show=False),
        ("g", "group", "Sweeps"),
        ("f", "fold", "Failed"),
        ("o", "choose('search')", "Search"),
        ("c", "choose('compare')", "Compare"),
    ]

    def __init__(self, folders: Sequence[str] = ()) -> None:
        super().__init__()
        self.folders, self.runs, self.shown = tuple(folders), Ledger(), Ledger()
        self.sort, self.turned, self.grouped, self.folded, self.terms = SORTS[0], False, False, True, ""
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
        self.shown = self._order(Ledger(run for run in kept if run not in hidden))
        state = (
            (self.sort, self.turned),
            self.grouped,
            self.folded,
            self.terms,
            self.app.size.width < WIDE,
            [(r.path, r.status, r.age // 60, r.epochs) for r in kept],
        )
        if state != self._drawn:
            self._drawn = state
            self._fill(len(hidden))

    def _order(self, runs: Ledger) -> Ledger:
        runs = ordered(runs, self.sort, self.runs.metric(), turned=self.turned)
        return Ledger(sorted(runs, key=lambda run: run.sweep or "")) if self.grouped else runs

    def _fill(self, hidden: int) -> None:
        table = self.query_one(DataTable)
        at = self.chosen.path if self.chosen else None
        metric = self.runs.metric()
        keys = differing(self.shown.readable)[:6]
        table.clear(columns=True)
        narrow = self.app.size.width < WIDE
        for key, head in headings(metric, keys, narrow=narrow).items():
            table.add_column(head, key=key)
        sweeps = [run.sweep or "" for run in self.shown]
        for place, run in enumerate(self.shown):
            if self.grouped and (place == 0 or sweeps[place] != sweeps[place - 1]):
                self._heading(table, sweeps[place], sweeps.count(sweeps[place]))
            table.add_row(*row_of(run, metric, keys, narrow=narrow), key=str(run.path))
        if at is not None and at in [run.path for run in self.shown]:
            table.move_cursor(row=table.get_row_index(str(at)))
        plural = "" if len(self.shown) == 1 else "s"
        note = f"{len(self.shown)} run{plural}, by {self.sort}{', turned round' if self.turned else ''}" + (
            " within each sweep" if self.grouped else ""
        )
        if hidden:
            note += f"; {hidden} failed, stopped or unreadable folded (f shows)"
        if not self.runs:
            note = f"No runs yet: `{text.train_command()}` makes one."
        self._note(note, "dim")

    def _heading(self, table: DataTable[Any], sweep: str, runs: int) -> None:
        name = text.visible(sweep) if sweep else "single runs"
        line = Text(f"── {name}", "bold cyan").append(f"  {runs} run{'' if runs == 1 else 's'}", "dim")
        table.add_row(line, *[""] * (len(table.columns) - 1))

    @property
    def chosen(self) -> Run | None:
        """The run under the cursor, None in an empty table and on a heading."""
        table = self.query_one(DataTable)
        if not table.row_count or table.cursor_row is None or table.cursor_row >= table.row_count:
            return None
        key = table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value
        return next((run for run in self.shown if str(run.path) == key), None)

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
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)] if self.sort in SORTS else SORTS[0]
        self.turned = False
        self.draw()

    def action_turn(self) -> None:
        """Turns the order round."""
        self.turned = not self.turned
        self.draw()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a heading sorts by it, a second one turns the order round."""
        event.stop()
        key = str(event.column_key.value)
        if key not in UNSORTED:
            self.turned = not self.turned if key == self.sort else False
            self.sort = key
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
        if (run := self.chosen) is not None:
            self.post_message(RunChosen(run, action))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter opens a run."""
        event.stop()
        self.action_choose("open")
