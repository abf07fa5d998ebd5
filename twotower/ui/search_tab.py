"""Search as one types: one column, ways of searching side by side, or another run beside."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, OptionList

from twotower.ui.column import MODE_NAMES, Column
from twotower.ui.hits import HitScreen

WIDE = 120
"""Characters from which all three ways of searching stand side by side; below, two."""


class SearchTab(Vertical):
    """A line for the question, and the answers below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "question", "Question"),
        ("f5", "mode", "Next way"),
        ("f6", "ways", "Side by side"),
        ("ctrl+t", "two", "2 runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.shown, self.other_run = 1, False

    def compose(self) -> ComposeResult:
        """Lays out the question and the columns."""
        yield Input(placeholder="ask: how do I invert a matrix", id="question")
        with Horizontal(id="columns"):
            for number in range(3):
                yield Column(number)

    def on_mount(self) -> None:
        """Starts with one column."""
        self._lay_out(1)
        self.columns[0].note(Text("Choose a run in the first tab and press o.", "dim"))

    @property
    def columns(self) -> list[Column]:
        """The columns from left to right, those that aren't shown too."""
        return list(self.query(Column))

    def open(self, folder: Path) -> None:
        """Searches a run: in the left column, or in the right one while two runs are held against each other."""
        if self.other_run and self.columns[0].engine:
            self.columns[1].open(folder)
        else:
            self._lay_out(1)
            self.columns[0].mode = None
            self.columns[0].open(folder)
        self.ask()
        self.query_one("#question", Input).focus()

    def _lay_out(self, count: int) -> None:
        self.shown = count
        for place, column in enumerate(self.columns):
            column.display = place < count
            if place >= count:
                column.close()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Searches as one types."""
        event.stop()
        self.ask()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the hits."""
        event.stop()
        hits = self.columns[0].query_one(OptionList)
        hits.focus()
        if hits.option_count and hits.highlighted is None:
            hits.highlighted = 0

    def ask(self) -> None:
        """Answers the question as it stands, in every column."""
        question = self.query_one("#question", Input).value
        columns = self.columns[: self.shown]
        answers = [column.ask(question) for column in columns]
        for place, column in enumerate(columns):
            if column.engine is not None:
                beside = (answers[0] if place else answers[1]) if len(columns) > 1 else None
                column.show(answers[place], beside, asked=bool(question.strip()))

    def action_question(self) -> None:
        """Goes back to the question."""
        self.query_one("#question", Input).focus()

    def action_mode(self) -> None:
        """Goes on to the next way of searching in every column, where the run has several."""
        for column in self.columns[: self.shown]:
            if column.engine is not None:
                column.mode = _next(column.mode or column.engine.mode, ways(column))
                column.name_it()
        self.ask()

    def action_ways(self) -> None:
        """Shows the run's ways of searching side by side (all of them in a wide terminal), or one again."""
        left = self.columns[0]
        if left.engine is None or left.folder is None:
            return
        modes = ways(left)
        if self.shown > 1 or len(modes) == 1:
            if len(modes) == 1:
                self.app.notify("This run searches by vectors only: it was trained without a lexical index.")
            self.other_run = False
            self._lay_out(1)
        else:
            first = left.mode or left.engine.mode
            order = [first, *(mode for mode in modes if mode != first)][: 3 if self.app.size.width >= WIDE else 2]
            self._lay_out(len(order))
            for column, mode in zip(self.columns, order, strict=False):
                column.mode = mode
                if column is not left:
                    column.open(left.folder)
                column.name_it()
        self.call_after_refresh(self.ask)  # once the columns know their widths

    def action_two(self) -> None:
        """Shows one run or two; the second column takes the next run that is opened."""
        self.other_run = not self.other_run
        self._lay_out(2 if self.other_run else 1)
        if self.other_run:
            self.columns[1].mode = None
            self.columns[1].note(Text("Choose the other run in the first tab and press o.", "dim"))
        self.call_after_refresh(self.ask)

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


def ways(column: Column) -> list[str]:
    """Returns the ways in which a column's run can be searched."""
    if column.engine is None or column.engine.lexical is None:
        return ["dense"]
    return list(MODE_NAMES)


def _next(item: str, items: list[str]) -> str:
    return items[(items.index(item) + 1) % len(items)]
