"""Results as a coloured table in a terminal, and the prompt that asks for queries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.search.engine import SearchEngine
from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.results import Hit, Results

MATCH = "bold black on yellow"


def render(results: Results, spans: Spans, *, width: int = 100) -> RenderableType:
    """Returns the table of hits with the lines that say where the time went and what a random document scores."""
    parts: list[RenderableType] = []
    if results.notice:
        parts.append(Text(visible(results.notice), style="yellow"))
    if results.hits:
        parts.append(_table(results, spans, width))
    elif not results.notice:
        parts.append(Text("Nothing found.", style="yellow"))
    if results.random is not None:
        parts.append(_scale(results))
    if results.scale and results.hits:
        parts.append(Text(results.scale, style="dim"))
    if results.hits:
        parts.append(_timing(results))
    return Group(*parts)


def _table(results: Results, spans: Spans, width: int) -> Table:
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", expand=True, padding=(0, 1, 0, 0)
    )
    table.add_column("#", justify="right", style="dim", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("id", style="cyan", overflow="fold", max_width=max(12, width // 5))
    table.add_column("text", ratio=1, overflow="fold")
    for hit in results.hits:
        body = _body(hit, results, spans, width)
        if hit is not results.hits[-1]:
            body.append("\n")  # air between the hits
        table.add_row(str(hit.rank), _score(hit, results), Text(visible(hit.doc_id)), body)
    return table


def _score(hit: Hit, results: Results) -> Text:
    random = results.random
    if random is None or hit.score > random.best_by_chance:
        return Text(f"{hit.score:.3f}", style="bold green")
    # No higher than the best of so many documents that are about something else: not a find.
    return Text(f"{hit.score:.3f}", style="yellow" if hit.score > random.mean else "red")


def _body(hit: Hit, results: Results, spans: Spans, width: int) -> Text:
    body = Text()
    if hit.title:
        body.append(_coloured(marked(hit.title, results.words, spans), "bold"))
        body.append("\n")
    body.append(_coloured(snippet(hit.text, results.words, spans, width=max(120, 2 * width)), ""))
    return body


def _coloured(piece: Snippet, style: str) -> Text:
    text = Text()
    for part, highlighted in piece.parts():
        text.append(visible(part), style=MATCH if highlighted else style)
    return text


def _scale(results: Results) -> Text:
    random = results.random
    assert random is not None
    line = Text("random document ", style="dim")
    line.append(f"{random.mean:.3f}", style="bold")
    line.append(f" (mean of {random.documents}); the best by chance ", style="dim")
    line.append(f"{random.best_by_chance:.3f}", style="bold")
    if results.hits:
        lead = results.hits[0].score - random.mean
        poor = results.hits[0].score <= random.best_by_chance
        line.append(f"  first hit {lead:+.3f} above random", style="yellow" if poor else "dim")
    return line


def _timing(results: Results) -> Text:
    times = results.timings
    stages = (
        ("tokenise", times.tokenise_ms),
        ("encode", times.encode_ms),
        ("search", times.search_ms),
        ("fetch", times.fetch_ms),
    )
    line = Text(f"{times.total_ms:.2f} ms", style="bold")
    line.append(" = " + " + ".join(f"{name} {value:.2f}" for name, value in stages), style="dim")
    line.append(f"  ({results.index}, {results.mode})", style="dim")
    return line


def prompt(engine: SearchEngine, console: Console, *, k: int, history: Path, mode: str | None = None) -> None:
    """Asks for queries until end of input (Ctrl-D); arrow keys bring back earlier ones, of earlier sessions too."""
    with _line_editing(history):
        while True:
            try:
                text = console.input("[bold cyan]search[/]> ")
            except EOFError:
                console.print()
                return
            except KeyboardInterrupt:
                console.print()
                continue
            if not text.strip():
                continue
            try:
                console.print(
                    render(engine.search(text, k, mode), engine.model.tokenizer.token_spans, width=console.width)
                )
            except UserError as error:
                console.print(Text(str(error), style="red"))
            console.print()


@contextlib.contextmanager
def _line_editing(history: Path) -> Iterator[None]:
    try:
        import readline
    except ImportError:  # a Python built without it still reads lines
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.set_history_length(1000)
            readline.write_history_file(history)
