"""The terminal app: four tabs over the run folders that exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, TabbedContent, TabPane

from twotower.runs.run import Run
from twotower.ui.compare_tab import CompareTab
from twotower.ui.run_tab import RunTab
from twotower.ui.runs_tab import RunChosen, RunsTab
from twotower.ui.search_tab import SearchTab


class TwoTowerApp(App[None]):
    """Runs, one run, search, compare.

    Args:
        folders: where to look for runs; none means outputs/ and multirun/.
        run: a run to open at once.
    """

    TITLE = "twotower"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "tab('runs-tab')", "Runs", show=False),
        Binding("f2", "tab('run-tab')", "Run", show=False),
        Binding("f3", "tab('search-tab')", "Search", show=False),
        Binding("f4", "tab('compare-tab')", "Compare", show=False),
        ("f10", "help", "Help"),
        Binding("question_mark", "help", "Help", show=False),
        ("ctrl+q", "quit", "Quit"),
    ]

    def __init__(self, folders: Sequence[str] = (), run: Run | None = None) -> None:
        super().__init__()
        self.folders, self.first, self.opened = tuple(folders), run, False

    def compose(self) -> ComposeResult:
        """Lays out the tabs."""
        with TabbedContent(initial="runs-tab"):
            with TabPane("F1 Runs", id="runs-tab"):
                yield RunsTab(self.folders)
            with TabPane("F2 Run", id="run-tab"):
                yield RunTab()
            with TabPane("F3 Search", id="search-tab"):
                yield SearchTab()
            with TabPane("F4 Compare", id="compare-tab"):
                yield CompareTab()
        yield Footer()

    def on_mount(self) -> None:
        """Opens the run that was asked for."""
        if self.first is not None:
            self.open(self.first)

    def open(self, run: Run) -> None:
        """Shows a run's page, and makes it the one that is searched."""
        self.opened = True
        self.query_one(RunTab).show(run, self.query_one(RunsTab).runs)
        self.action_tab("run-tab")

    def search(self, folder: Path) -> None:
        """Opens a run for searching."""
        self.action_tab("search-tab")
        self.query_one(SearchTab).open(folder)

    def on_run_chosen(self, event: RunChosen) -> None:
        """Does with a run what was asked for in the table."""
        if event.action == "open":
            self.open(event.run)
        elif event.action == "search":
            self.search(event.run.path)
        elif self.query_one(CompareTab).mark(event.run, self.query_one(RunsTab).runs.metric()):
            self.action_tab("compare-tab")
        else:
            self.notify(f"{event.run.name} is marked; mark another with c.")

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """As long as no run was opened, F2 shows the one under the cursor of the table; the search takes its first."""
        runs, search = self.query_one(RunsTab), self.query_one(SearchTab)
        if event.pane.id == "run-tab" and not self.opened and runs.chosen is not None:
            self.query_one(RunTab).show(runs.chosen, runs.runs)
        elif event.pane.id == "search-tab" and search.columns[0].folder is None and runs.chosen is not None:
            search.open(runs.chosen.path)

    def action_help(self) -> None:
        """Shows or hides what every key does here."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def action_tab(self, name: str) -> None:
        """Goes to a tab and puts the keys where one would type next."""
        self.query_one(TabbedContent).active = name
        place = {"runs-tab": "#runs", "run-tab": "RunTab", "search-tab": "#question", "compare-tab": "#queries"}[name]
        self.query_one(place).focus()

    @property
    def table(self) -> DataTable[object]:
        """The table of runs."""
        return self.query_one("#runs", DataTable)
