"""Two runs query by query: the difference with its interval, and the queries on which they differ most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import DataTable, Static

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.runs.run import Run

if TYPE_CHECKING:
    from twotower.reports.compare import Difference, QueryDifference

SHOWN = 100
"""Queries shown on either side."""
HITS = 5
"""Hits of each answer."""


class CompareTab(Vertical):
    """The comparison of the two runs marked last."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []
        self.queries: list[QueryDifference] = []
        self._tables: tuple[dict[str, int], Any] = ({}, ())

    def compose(self) -> ComposeResult:
        """Lays out the verdict, the queries and the two answers."""
        yield Static(Text("Mark two runs in the first tab with c.", "dim"), id="compare-head")
        yield DataTable(cursor_type="row", zebra_stripes=True, id="queries")
        yield Static("", id="answers")

    def mark(self, run: Run, metric: str) -> bool:
        """Adds a run; with two, compares them.

        Args:
            run: the run marked.
            metric: full name of the metric to compare by.

        Returns:
            Whether there are two runs to look at now.
        """
        self.runs = [*(other for other in self.runs if other.path != run.path), run][-2:]
        if len(self.runs) < 2:
            self._head(Text(f"{text.visible(run.name)} is marked: mark another run with c.", "dim"))
            return False
        from twotower.reports.compare import differences, extreme_queries
        from twotower.runs.per_query import pair

        try:
            paired = pair(self.runs, metric)
            difference = differences(paired)[0]
            won, lost = extreme_queries(paired, self.runs, count=SHOWN)
        except UserError as error:
            self._head(Text(text.visible(str(error)), "red"))
            self._fill([])
            return True
        self._head(headline(self.runs, metric, difference))
        self._tables = {query: row for row, query in enumerate(paired.query_ids)}, paired.tables[:2]
        self._fill([*won, *reversed(lost)])
        return True

    def _head(self, line: Text) -> None:
        self.query_one("#compare-head", Static).update(line)

    def _fill(self, queries: list[QueryDifference]) -> None:
        self.queries = queries
        table = self.query_one(DataTable)
        table.clear(columns=True)
        table.add_columns("difference", "A", "B", "rank A", "rank B", "query")
        for query in queries:
            gap = query.values[0] - query.values[1]
            ranks = [str(rank) if rank is not None else "–" for rank in query.ranks]
            style = "green" if gap > 0 else "red"
            numbers = [f"{value:.3f}" for value in query.values]
            table.add_row(Text(f"{gap:+.3f}", style), *numbers, *ranks, Text(text.visible(query.query)))
        self.query_one("#answers", Static).update("")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Shows what both runs put first for the query under the cursor."""
        event.stop()
        if event.cursor_row >= len(self.queries):
            return
        self.query_one("#answers", Static).update(self._answers(self.queries[event.cursor_row]))

    def _answers(self, query: QueryDifference) -> Table:
        """Returns both answers side by side, the right document in green."""
        from twotower.reports.compare import document_texts

        rows, tables = self._tables
        row = rows[query.query_id]
        hits = [(table["top_ids"][row].as_py() or [])[:HITS] for table in tables]
        texts = document_texts(self.runs, [item for part in hits for item in part])
        shown = Table(box=None, expand=True, pad_edge=False, show_header=True, header_style="bold")
        for letter, run in zip("AB", self.runs, strict=True):
            shown.add_column(Text(f"{letter}  {text.visible(run.name)}"), ratio=1, no_wrap=True, overflow="ellipsis")
        for place in range(max(map(len, hits), default=0)):
            cells = zip(hits, query.ranks, strict=True)
            shown.add_row(*(_hit(part, place, rank, texts) for part, rank in cells))
        return shown


def _hit(hits: list[str], place: int, rank: int | None, texts: dict[str, str]) -> Text:
    if place >= len(hits):
        return Text()
    right = rank == place + 1
    line = Text(f"{place + 1} ", "dim").append(text.visible(hits[place]), "bold green" if right else "cyan")
    body = " ".join(str(texts.get(hits[place]) or "").split())[:160]
    return line.append(" ✓ " if right else "   ", "bold green").append(text.visible(body), "dim")


def headline(runs: list[Run], metric: str, difference: Difference) -> Text:
    """Returns which of two runs is better, by how much, and whether that is luck."""
    line = Text("A ", "bold").append(text.visible(runs[0].name), "cyan").append("   B ", "bold")
    line.append(text.visible(runs[1].name), "cyan").append(f"\n{metric}: A - B = {difference.difference:+.4f} ")
    line.append(f"[{difference.low:+.4f}, {difference.high:+.4f}]", "bold")
    line.append(
        f"  p = {difference.p_value:.4f}; {difference.wins} won, {difference.ties} tied, {difference.losses} lost  "
    )
    if not difference.real:
        return line.append("not told apart", "yellow")
    return line.append("A is better" if difference.difference > 0 else "B is better", "bold green")
