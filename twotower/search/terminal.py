"""Results as a coloured table in a terminal."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from twotower.core.format import id_parts, visible
from twotower.search.highlight import Snippet, Spans, marked, snippet
from twotower.search.results import Hit, Results

MATCH = "bold black on yellow"
HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])")
"""Where a word in a camel's hump begins."""


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
    ids = [broken(visible(hit.doc_id), max(12, width // 5)) for hit in results.hits]
    room = max(2, max(cell_len(line) for lines in ids for line in lines))
    table.add_column("id", style="cyan", overflow="fold", min_width=room, max_width=room)
    table.add_column("text", ratio=1, overflow="fold")
    for hit, lines in zip(results.hits, ids, strict=True):
        body = _body(hit, results, spans, width)
        if hit is not results.hits[-1]:
            body.append("\n")  # air between the hits
        table.add_row(str(hit.rank), _score(hit, results), Text("\n".join(lines)), body)
    return table


def broken(doc_id: str, width: int) -> list[str]:
    """Returns an id in lines of at most `width`, broken after dots, slashes, dashes and underscores, not in a word.

    A part that is longer than a line by itself is broken before its capitals, then where the line ends.
    """
    lines = [""]
    parts = id_parts(doc_id)
    whole = [HUMP.split(part) if cell_len(part) > width else [part] for part in parts]
    for part in (piece for pieces in whole for piece in pieces):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
        while cell_len(lines[-1]) > width:
            line = lines.pop()
            cut = next(at for at in range(len(line), 0, -1) if cell_len(line[:at]) <= width or at == 1)
            lines += [line[:cut], line[cut:]]
    return [line for line in lines if line] or [""]


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
    line.append(f" (mean of {random.documents:,}); the best by chance ", style="dim")
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
