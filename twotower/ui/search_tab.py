"""Search as one types: one column of hits, or two side by side (another run, or another way of searching)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.search.engine import SearchEngine
from twotower.search.results import Hit, Results
from twotower.ui.hits import HitScreen, hit_text, scale_line

HITS = 10


class Column(Vertical):
    """The hits of one run.

    Args:
        number: 0 for the left column, 1 for the right one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(id=f"column-{number}", classes="column")
        self.folder: Path | None = None
        self.engine: SearchEngine | None = None
        self.results: Results | None = None

    def compose(self) -> ComposeResult:
        """Lays out the name, the hits and the line below them."""
        yield Static("", classes="column-name")
        yield OptionList(classes="hits")
        yield Static("", classes="column-note")

    def open(self, folder: Path) -> None:
        """Opens a run's model and index; what is wrong with it stands in the column."""
        self.close()
        self.folder = folder
        try:
            self.engine = SearchEngine.open(folder)
        except UserError as error:
            self.note(Text(visible(str(error)), "red"))
            self.query_one(".column-name", Static).update(Text(visible(str(folder)), "bold red"))
            return
        facts = self.engine.manifest
        name = Text(visible(folder.name), "bold")
        name.append(f"  {facts['count']:,} documents, index {facts['name']}", "dim")
        self.query_one(".column-name", Static).update(name)
        self.note(Text("Type a question.", "dim"))

    def close(self) -> None:
        """Gives the run's files back."""
        if self.engine is not None:
            self.engine.close()
        self.engine, self.results = None, None
        self.query_one(OptionList).clear_options()

    def note(self, line: Text) -> None:
        """Writes the line below the hits."""
        self.query_one(".column-note", Static).update(line)

    def show(self, results: Results | None, beside: Results | None) -> None:
        """Shows an answer; ranks that differ from the other column's are marked."""
        self.results = results
        options = self.query_one(OptionList)
        options.clear_options()
        if results is None or self.engine is None:
            self.note(Text("Type a question.", "dim"))
            return
        elsewhere = {hit.doc_id: hit.rank for hit in beside.hits} if beside else None
        width = max(40, self.size.width - 6)
        spans = self.engine.model.tokenizer.token_spans
        options.add_options(
            Option(hit_text(hit, results, spans, width=width, elsewhere=elsewhere)) for hit in results.hits
        )
        self.note(scale_line(results))

    def hit_at(self, place: int) -> Hit | None:
        """Returns the hit in a place of the list."""
        return self.results.hits[place] if self.results and place < len(self.results.hits) else None


class SearchTab(Vertical):
    """A line for the question, and the answers below it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "question", "Question"), ("ctrl+t", "two", "Two columns")]

    def __init__(self) -> None:
        super().__init__()
        self.two = False

    def compose(self) -> ComposeResult:
        """Lays out the question and two columns."""
        yield Input(placeholder="ask: how do I invert a matrix", id="question")
        with Horizontal(id="columns"):
            yield Column(0)
            yield Column(1)

    def on_mount(self) -> None:
        """Starts with one column."""
        self.columns[1].display = False
        self.columns[0].note(Text("Choose a run in the first tab and press o.", "dim"))

    @property
    def columns(self) -> list[Column]:
        """The left and the right column."""
        return list(self.query(Column))

    def open(self, folder: Path) -> None:
        """Searches a run: in the left column, or in the right one while there are two."""
        self.columns[1 if self.two and self.columns[0].engine else 0].open(folder)
        self._ask()
        self.query_one("#question", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Searches as one types."""
        event.stop()
        self._ask()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the hits."""
        event.stop()
        self.columns[0].query_one(OptionList).focus()

    def _ask(self) -> None:
        question = self.query_one("#question", Input).value
        shown = self.columns[: 2 if self.two else 1]
        answers = [self._answer(column, question) for column in shown]
        for place, column in enumerate(shown):
            if column.engine is not None:
                column.show(answers[place], answers[1 - place] if len(answers) == 2 else None)

    def _answer(self, column: Column, question: str) -> Results | None:
        if column.engine is None or not question.strip():
            return None
        try:
            return column.engine.search(question, HITS)
        except UserError as error:
            column.note(Text(visible(str(error)), "red"))
            return None

    def action_question(self) -> None:
        """Goes back to the question."""
        self.query_one("#question", Input).focus()

    def action_two(self) -> None:
        """Shows one column or two; the second one takes the next run that is opened."""
        self.two = not self.two
        right = self.columns[1]
        right.display = self.two
        if self.two and right.engine is None:
            right.note(Text("Choose the other run in the first tab and press o.", "dim"))
        if not self.two:
            right.close()
        self._ask()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter on a hit opens it in full."""
        event.stop()
        column = next(item for item in self.columns if event.option_list in item.query(OptionList))
        hit = column.hit_at(event.option_index)
        if hit is not None and column.engine is not None and column.results is not None:
            self.app.push_screen(HitScreen(column.engine, column.results, hit))

    def on_unmount(self) -> None:
        """Gives the files back."""
        for column in self.columns:
            if column.engine is not None:
                column.engine.close()
