"""One run: learning curves, the table of metrics, what was set, its artefacts and the command to repeat it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from twotower.core import format as text
from twotower.reports.details import epoch_sample
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run
from twotower.ui import cells


class RunTab(VerticalScroll):
    """The page of one run."""

    def compose(self) -> ComposeResult:
        """Lays out an empty page."""
        yield Static(Text("Choose a run in the first tab and press Enter.", "dim"), id="run-page")

    def show(self, run: Run, others: Ledger) -> None:
        """Shows a run.

        Args:
            run: the run.
            others: the runs around it; those of its sweep are held against it.
        """
        self.query_one("#run-page", Static).update(page(run, others, self.app.size.width))
        self.scroll_home(animate=False)


def page(run: Run, others: Ledger, width: int) -> RenderableType:
    """Returns everything about a run, as wide as the terminal."""
    head = Text(text.visible(run.name), "bold")
    head.append("  ").append_text(cells.status(run))
    parts: list[RenderableType] = [head]
    if run.verdict:
        parts += [Text(text.visible(line), cells.colour(line.partition(": ")[2])) for line in run.verdict_lines]
        parts += [] if run.verdict_lines else [cells.verdict(run)]
    parts += [Text(), cells.facts(run), Text(), cells.metrics_table(run), Text()]
    if run.history:
        heading = Text("Learning curves", "bold")
        if sample := epoch_sample(run):
            heading.append(f"  each epoch on a sample of {sample}, the table above on all", "dim")
        parts += [heading, cells.curves(run, max(12, min(60, width - 60))), Text()]
    parts += [_differences(run, others), Text(), _artefacts(run)]
    return Group(*parts)


def _differences(run: Run, others: Ledger) -> RenderableType:
    """Returns the settings in which a run differs from its parent or its sweep, this run's value first."""
    parent = _parent(run, others)
    if parent is not None:
        return _settings(run, [parent], f"Beside {parent.name}, which it repeats or varies")
    family = [other for other in others.readable if run.sweep and other.sweep == run.sweep and other.path != run.path]
    if not family:
        return Text("It has no parent and no sweep here to differ from.", "dim")
    return _settings(run, family, f"Beside {len(family)} other runs of {run.sweep}")


def _parent(run: Run, others: Ledger) -> Run | None:
    """Returns the run that this one was made from with `twotower rerun`, if it is here."""
    origin = run.record.get("rerun_of")
    path = Path(str(origin.get("path"))) if isinstance(origin, dict) else None
    places = (path, *path.parents) if path else ()
    return next((other for other in others.readable if other.path in places and other.path != run.path), None)


def _settings(run: Run, family: list[Run], title: str) -> RenderableType:
    from twotower.reports.compare import config_differences

    table = Table(box=None)
    table.add_column("setting")
    table.add_column("here", style="bold")
    table.add_column("others", style="dim", overflow="fold")
    for key, values in config_differences([run, *family], every=False):
        rest = dict.fromkeys(text.value(value) for value in values[1:])
        table.add_row(*map(Text, (key, text.value(values[0]), "  ".join(rest))))
    return Group(Text(text.visible(title), "bold"), table)


def _artefacts(run: Run) -> RenderableType:
    table = Table(title="Files", title_justify="left", box=None, show_header=False)
    for item in run.record.get("artefacts") or []:
        there = (run.path / str(item.get("path"))).exists()
        state = Text("" if there else "gone", "red")
        path = Text(text.visible(str(item.get("path"))))
        table.add_row(Text(str(item.get("kind")), "dim"), path, text.size(item.get("bytes")), state)
    return table
