"""A hit as one sees it: in the list with its score on a scale, and in full with what brought it and what is near it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.search.explain import NEAR, word_effects
from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.results import Hit, Results

if TYPE_CHECKING:
    from twotower.search.engine import SearchEngine

MATCH = "bold black on yellow"
SCALE = 10
INDENT = (0, 0, 0, 3)
NEIGHBOURS = 5
WHOLE_NOTE = 60
"""Characters of a column from which the line below it says what the scores are."""


def scale(score: float, results: Results) -> Text:
    """Returns where a score stands from a random document (left end) to the most there can be; | is the best by chance.

    The right end is 1 for cosines, the first hit's score where words count.
    """
    limit = results.by_chance
    if limit is None:
        return Text()
    place, mark = round(SCALE * results.place(score)), min(SCALE - 1, round(SCALE * results.place(limit)))
    line = Text()
    for step in range(SCALE):
        if step == mark:
            line.append("|", "dim")
        elif step < place:
            line.append("█", "green" if score > limit else "yellow")
        else:
            line.append("·", "dim")
    return line


def hit_text(
    hit: Hit, results: Results, spans: Spans, *, width: int, elsewhere: Mapping[str, int] | None = None
) -> RenderableType:
    """Returns a hit for the list: rank, scale, score, id; title; a piece of the text with the query's words marked.

    Args:
        hit: the hit.
        results: the answer it belongs to.
        spans: finds the words of a text.
        width: characters of a line.
        elsewhere: the ranks of the other column's documents; None where there is no other.
    """
    line = Text(f"{hit.rank:>2} ", "dim")
    line.append_text(scale(hit.score, results)).append(f" {hit.score:.3f}", "bold")
    parts: list[RenderableType] = []
    if elsewhere is not None:
        line.append_text(_moved(hit, elsewhere.get(hit.doc_id)))
    line.append("  ").append(visible(hit.doc_id), "cyan")
    line.no_wrap, line.overflow = True, "ellipsis"
    if hit.title and hit.title != hit.doc_id:
        parts.append(Padding(_coloured(marked(hit.title, results.words, spans), "bold"), INDENT))
    piece = snippet(hit.text, results.words, spans, width=max(50, 2 * (width - 4)))
    return Group(line, *parts, Padding(_coloured(piece, ""), INDENT))


def _moved(hit: Hit, other: int | None) -> Text:
    if other is None:
        return Text("  only here", "bold magenta")
    if other == hit.rank:
        return Text("  =", "dim")
    return Text(f"  {'▲' if other > hit.rank else '▼'} {other} there", "green" if other > hit.rank else "red")


def _coloured(piece: Snippet, style: str) -> Text:
    line = Text()
    for part, highlighted in piece.parts():
        line.append(visible(part), MATCH if highlighted else style)
    return line


def scale_line(results: Results, width: int = WHOLE_NOTE) -> Text:
    """Returns the line below an answer: the time it took, what is unknown, what a random document scores.

    Args:
        results: the answer.
        width: characters of the column; in a narrow one, what the scores are is left to the document's own page.
    """
    line = Text(f"{results.timings.total_ms:.1f} ms", "bold")
    if results.notice:
        line.append(f"  {visible(results.notice)}", "yellow")
    if results.random is not None:
        chance = results.random.best_by_chance
        line.append(f"  random document {results.random.mean:.3f}, best by chance {chance:.3f}", "dim")
    if results.scale and width >= WHOLE_NOTE:
        line.append(f"  {results.scale}", "dim")
    return line


class HitScreen(ModalScreen[None]):
    """One document in full: its score, what brought it, its text, and its neighbours, which open in turn.

    Args:
        engine: where it was found.
        results: the answer it belongs to.
        hit: the document.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "Back"), ("q", "dismiss", "Back")]

    def __init__(self, engine: SearchEngine, results: Results, hit: Hit) -> None:
        super().__init__()
        self.engine, self.results, self.hit = engine, results, hit
        self.near: Results | None = None

    def compose(self) -> ComposeResult:
        """Lays out title, scores, text and neighbours."""
        spans = self.engine.model.tokenizer.token_spans
        listed = any(hit.doc_id == self.hit.doc_id for hit in self.results.hits)
        with VerticalScroll(id="hit"):
            head = Text(visible(self.hit.title or self.hit.doc_id), "bold")
            head.append(f"\n{visible(self.hit.doc_id)}", "cyan")
            if listed:
                head.append(f"   rank {self.hit.rank}, {self.hit.score:.3f} ")
                head.append_text(scale(self.hit.score, self.results))
                if self.results.scale:
                    head.append(f"\n{self.results.scale}", "dim")
            yield Static(head)
            if listed:
                yield Static(words_line(self.engine, self.results, self.hit))
            yield Static(_coloured(marked(self.hit.text, self.results.words, spans), ""), id="hit-text")
            yield Static(Text("More like this", "bold") + Text("  (Tab, then Enter opens one)", "dim"))
            yield OptionList(id="near")
        yield Footer()

    def on_mount(self) -> None:
        """Looks up the neighbours, and puts the keys on the text, so that it scrolls."""
        self.query_one("#hit").focus()
        options = self.query_one("#near", OptionList)
        try:
            near = self.engine.search(f"{self.hit.title} {self.hit.text}", NEIGHBOURS + 1, "dense")
        except UserError as error:
            options.add_option(Option(Text(visible(str(error)), "red"), disabled=True))
            return
        hits = [hit for hit in near.hits if hit.doc_id != self.hit.doc_id][:NEIGHBOURS]
        self.near = dataclasses.replace(near, hits=hits)
        for hit in hits:
            line = Text(f"{hit.score:.3f}  ", "bold").append(visible(hit.doc_id), "cyan")
            options.add_option(Option(line.append(f"  {visible(' '.join(hit.text.split()))[:70]}", "dim")))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter on a neighbour opens it."""
        event.stop()
        if self.near is not None:
            self.app.push_screen(HitScreen(self.engine, self.results, self.near.hits[event.option_index]))


def words_line(engine: SearchEngine, results: Results, hit: Hit) -> Text:
    """Returns how much of the hit's score each word of the query brings: what the score changes by without it."""
    effects = word_effects(engine, results, hit.doc_id)
    if not effects:
        return Text("The only word the model knows brought it.", "dim")
    line = Text("Without the word, the score changes by ", "dim")
    for word, change in effects:
        shown = f"{change:+.3f}" if change is not None else f"out of the first {NEAR}"
        line.append(f" {visible(word)} ", "bold").append(shown, "green" if change is None or change < 0 else "red")
    return line
