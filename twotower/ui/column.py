"""One column of answers: a run searched in one way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.runs.run import read_run
from twotower.search.results import Hit, Results
from twotower.ui.hits import hit_text, scale_line

if TYPE_CHECKING:
    from twotower.search.engine import SearchEngine

HITS = 10
MODE_NAMES = {"dense": "vectors", "lexical": "words (BM25)", "hybrid": "vectors + words"}
"""The ways of searching as people read them."""


class Column(Vertical):
    """The hits of one run, searched in one way.

    Args:
        number: its place, 0 for the left one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(id=f"column-{number}", classes="column right" if number else "column")
        self.folder: Path | None = None
        self.engine: SearchEngine | None = None
        self.results: Results | None = None
        self.mode: str | None = None

    def compose(self) -> ComposeResult:
        """Lays out the name, the hits and the line below them."""
        yield Static("", classes="column-name")
        yield OptionList(classes="hits")
        yield Static("", classes="column-note")

    def open(self, folder: Path) -> None:
        """Opens a run's model and index; what is wrong with it stands in the column."""
        from twotower.search.engine import SearchEngine

        self.close()
        self.folder = folder
        try:
            self.engine = SearchEngine.open(folder)
        except UserError as error:
            self.note(Text(visible(str(error)), "red"))
            self.query_one(".column-name", Static).update(Text(visible(str(folder)), "bold red"))
            return
        self.name_it()
        self.note(Text("Type a question.", "dim"))

    def name_it(self) -> None:
        """Writes the line above the hits: the way of searching, the run, its documents."""
        if self.engine is None or self.folder is None:
            return
        facts = self.engine.manifest
        line = Text(MODE_NAMES[self.mode or self.engine.mode], "bold")
        line.append(f"  {visible(read_run(self.folder).name)}", "cyan")
        line.append(f"  {facts['count']:,} documents, index {facts['name']}", "dim")
        self.query_one(".column-name", Static).update(line)

    def close(self) -> None:
        """Gives the run's files back."""
        if self.engine is not None:
            self.engine.close()
        self.engine, self.results, self.folder = None, None, None
        self.query_one(OptionList).clear_options()

    def ask(self, question: str) -> Results | None:
        """Returns the answer to a question; None without one, or where it can't be searched, which is then said."""
        if self.engine is None or not question.strip():
            return None
        try:
            return self.engine.search(question, HITS, self.mode)
        except UserError as error:
            self.note(Text(visible(str(error)), "red"))
            return None

    def note(self, line: Text) -> None:
        """Writes the line below the hits."""
        self.query_one(".column-note", Static).update(line)

    def show(self, results: Results | None, beside: Results | None, *, asked: bool) -> None:
        """Shows an answer; ranks that differ from the other column's are marked.

        Args:
            results: the answer.
            beside: the answer that ranks are held against, if there is another column.
            asked: there was a question; without an answer to it the column has said why.
        """
        self.results = results
        options = self.query_one(OptionList)
        options.clear_options()
        if results is None or self.engine is None:
            if not asked:
                self.note(Text("Type a question.", "dim"))
            return
        elsewhere = {hit.doc_id: hit.rank for hit in beside.hits} if beside else None
        width = max(30, self.size.width - 6)
        spans = self.engine.model.tokenizer.token_spans
        options.add_options(
            Option(hit_text(hit, results, spans, width=width, elsewhere=elsewhere)) for hit in results.hits
        )
        self.note(scale_line(results, width=self.size.width))

    def hit_at(self, place: int) -> Hit | None:
        """Returns the hit in a place of the list."""
        return self.results.hits[place] if self.results and place < len(self.results.hits) else None
