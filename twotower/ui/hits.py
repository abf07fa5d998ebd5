"""A hit as one sees it: in the list with its score on a scale, and in full with what brought it and what is near it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.search.engine import SearchEngine
from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.results import Hit, Results

MATCH = "bold black on yellow"
SCALE = 10
INDENT = (0, 0, 0, 3)
NEAR = 100
"""Hits looked through for the score of a document without one of the query's words."""


def scale(score: float, results: Results) -> Text:
    """Returns where a score stands between a random document (left end) and 1 (right end); | is the best by chance."""
    random = results.random
    if random is None:
        return Text()
    span = max(1e-6, 1.0 - random.mean)
    place = round(SCALE * min(1.0, max(0.0, (score - random.mean) / span)))
    limit = round(SCALE * min(1.0, max(0.0, (random.best_by_chance - random.mean) / span)))
    line = Text()
    for step in range(SCALE):
        mark = "|" if step == limit else ("█" if step < place else "·")
        line.append(mark, "dim" if mark != "█" else ("green" if score > random.best_by_chance else "yellow"))
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
    line.append_text(scale(hit.score, results)).append(f" {hit.score:.3f}  ", "bold")
    line.append(visible(hit.doc_id), "cyan")
    parts: list[RenderableType] = []
    if elsewhere is not None:
        line.append_text(_moved(hit, elsewhere.get(hit.doc_id)))
    if hit.title and hit.title != hit.doc_id:
        parts.append(Padding(_coloured(marked(hit.title, results.words, spans), "bold"), INDENT))
    piece = snippet(hit.text, results.words, spans, width=max(60, 2 * (width - 4)))
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


def scale_line(results: Results) -> Text:
    """Returns the line below an answer: what is unknown, what a random document scores, and the time it took."""
    line = Text()
    if results.notice:
        line.append(visible(results.notice) + "  ", "yellow")
    if results.random is not None:
        line.append(
            f"random document {results.random.mean:.3f}, best by chance {results.random.best_by_chance:.3f}", "dim"
        )
    return line.append(f"  {results.timings.total_ms:.1f} ms", "dim")


class HitScreen(ModalScreen[None]):
    """One document in full.

    Args:
        engine: where it was found.
        results: the answer it belongs to.
        hit: the document.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "Back"), ("q", "dismiss", "Back")]

    def __init__(self, engine: SearchEngine, results: Results, hit: Hit) -> None:
        super().__init__()
        self.engine, self.results, self.hit = engine, results, hit

    def compose(self) -> ComposeResult:
        """Lays out title, scores, text and neighbours."""
        spans = self.engine.model.tokenizer.token_spans
        with VerticalScroll(id="hit"):
            head = Text(visible(self.hit.title or self.hit.doc_id), "bold")
            head.append(f"\n{visible(self.hit.doc_id)}", "cyan").append(
                f"   rank {self.hit.rank}, {self.hit.score:.3f} "
            )
            yield Static(head.append_text(scale(self.hit.score, self.results)))
            yield Static(words_line(self.engine, self.results, self.hit))
            yield Static(_coloured(marked(self.hit.text, self.results.words, spans), ""), id="hit-text")
            yield Static(self._near())
        yield Footer()

    def on_mount(self) -> None:
        """Puts the keys on the text, so that it scrolls."""
        self.query_one("#hit").focus()

    def _near(self) -> Text:
        line = Text("More like this\n", "bold")
        try:
            near = self.engine.search(f"{self.hit.title} {self.hit.text}", 6, "dense")
        except UserError as error:
            return line.append(visible(str(error)), "red")
        for other in near.hits:
            if other.doc_id != self.hit.doc_id:
                line.append(f"  {other.score:.3f}  ", "bold").append(visible(other.doc_id), "cyan")
                line.append(f"  {visible(' '.join(other.text.split()))[:70]}\n", "dim")
        return line


def words_line(engine: SearchEngine, results: Results, hit: Hit) -> Text:
    """Returns how much of the hit's score each word of the query brings: the score without it, taken from the score."""
    line = Text("Without the word, the score changes by ", "dim")
    words = list(dict.fromkeys(word for word in results.words if word not in results.unknown))
    if len(words) < 2:
        return Text("The only word the model knows brought it.", "dim")
    for word in words:
        rest = " ".join(other for other in results.words if other != word)
        try:
            scores = {item.doc_id: item.score for item in engine.search(rest, NEAR, results.mode).hits}
        except UserError:
            continue
        change = scores.get(hit.doc_id)
        shown = f"{change - hit.score:+.3f}" if change is not None else f"out of the first {NEAR}"
        style = "green" if change is None or change < hit.score else "red"
        line.append(f" {visible(word)} ", "bold").append(shown, style)
    return line
