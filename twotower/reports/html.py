"""A sweep as one HTML file that needs no network: table to sort and filter, tests, pictures, every run's settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.best import best
from twotower.reports.compare import compare
from twotower.reports.details import LEVELS
from twotower.reports.details import details as run_details
from twotower.reports.figures import charts, leaders, name_of
from twotower.reports.table import interval, levels
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

PAGE = Path(__file__).parent / "page"


def report_html(
    runs: Ledger, *, metric: str | None = None, title: str = "Runs", folder: str | os.PathLike[str] = "."
) -> str:
    """Returns the report as HTML.

    Args:
        runs: the runs of a sweep, or any others.
        metric: its name; None takes what most runs were judged by.
        title: heading.
        folder: where the report will lie; links to run folders start there, so that both can be moved together.

    Raises:
        UserError: when there is no readable run, or no run has the metric.
    """
    if not runs.readable:
        raise UserError("There is no readable run to report on.")
    name = runs.metric(metric)
    ranked = runs.sorted(name)
    drawn = charts(ranked, name)
    parts = [
        '<div class="top"><div>',
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(name)}, written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC</p>',
        '</div><button id="theme" type="button">Dark</button></div>',
        "<noscript><p class=warn>The pictures, sorting and filtering need JavaScript; the tables don't.</p></noscript>",
        *_summary(ranked, name),
        "<h2>Ranked runs</h2>",
        *(f'<p class="soft">{escape(line)}</p>' for line in levels(ranked.readable, name)),
        '<div class="filter"><input id="filter" type="search" aria-label="Filter the runs" placeholder="filter: '
        'model=gru lr&lt;0.01, or any words"><span id="count" class="soft" role="status"></span>'
        '<span class="soft">A heading sorts; a row or a point opens the run.</span></div>',
        _ranked_table(ranked, name, Path(folder)),
        *_tests(ranked, name),
        *_figures(drawn),
        *_problems(ranked),
        '<dialog aria-label="A run"><form method="dialog"><button>Close</button></form><h3></h3><div></div></dialog>',
    ]
    return _document(title, parts, _page_data(ranked, drawn))


def _document(title: str, parts: Sequence[str], data: dict[str, Any]) -> str:
    """Sets the page with its style, its data, the chart library and its script, all inside it."""
    from twotower.reports.plots.style import library

    inner = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str).replace("<", "\\u003c")
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8"><title>{escape(title)}</title>{view}<style>\n{style}</style>'
    body = "\n".join(parts)
    scripts = f'<script type="application/json" id="page">{inner}</script>\n<script>{library()}</script>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main>\n'
        f"{scripts}\n<script>\n{script}</script></body></html>\n"
    )


def _page_data(runs: Ledger, pictures: Sequence[tuple[str, dict[str, Any] | str]]) -> dict[str, Any]:
    from twotower.reports.plots.style import theme

    drawn = [chart for _, chart in pictures if isinstance(chart, dict)]
    details = {str(run.path): run_details(run) for run in runs.readable}
    return {"charts": drawn, "runs": details, "levels": LEVELS, "light": theme(), "dark": theme(dark=True)}


def _summary(runs: Ledger, metric: str) -> Iterator[str]:
    counts = {status: sum(run.status == status for run in runs) for status in dict.fromkeys(r.status for r in runs)}
    tiles = [(str(len(runs)), "runs: " + ", ".join(f"{count} {status}" for status, count in counts.items()))]
    warnings: list[str] = []
    try:
        top = best(runs, metric)
    except UserError as error:
        warnings.append(str(error))
    else:
        warnings += top.warnings
        tiles.append((text.number(top.score.value), f"best {metric} [{interval(top.score)}]"))
        tiles.append((name_of(top.run, runs), f"best run, {top.run.verdict}"))
    seconds = sum(run.seconds or 0.0 for run in runs.readable)
    tiles.append((text.duration(seconds), "time of all runs together"))
    inner = "".join(
        f'<div class="tile"><b>{escape(figure)}</b><span>{escape(caption)}</span></div>' for figure, caption in tiles
    )
    yield f'<div class="tiles">{inner}</div>'
    for line in warnings:
        yield f'<p class="warn">{escape(line[:1].upper() + line[1:])}</p>'


def _ranked_table(runs: Ledger, metric: str, folder: Path) -> str:
    shown, spreads = runs.readable, runs.spreads(metric)
    names = short_names(differing(shown))
    seeded = any(spread.runs > 1 for spread in spreads.values())
    hybrid = [run.hybrid_score(metric) for run in shown]
    heads = ["#", "status", *names.values(), "seed", metric, "95 %", *(["hybrid"] if any(hybrid) else [])]
    heads += ["over seeds"] if seeded else []
    heads += ["epochs", "time", "verdict", "folder"]
    numeric = {"#", "seed", metric, "95 %", "hybrid", "over seeds", "epochs", "time"}
    root = os.path.commonpath([run.path.parent for run in shown])
    rows = []
    for rank, run in enumerate(shown, start=1):
        score, spread = run.score(metric), spreads.get(run.group)
        over = "–" if spread is None else text.number(spread.mean)
        over += f" ± {text.number(spread.deviation)}" if spread and spread.deviation is not None else ""
        values: list[Any] = [rank, run.status, *(_cell(column_value(run, key)) for key in names), _cell(run.seed)]
        values += [
            text.number(score.value if score else None),
            interval(score),
            *([text.number(both.value if (both := hybrid[rank - 1]) else None)] if any(hybrid) else []),
            *([over] if seeded else []),
            run.epochs,
        ]
        values += [text.duration(run.seconds), run.verdict, os.path.relpath(run.path, root)]
        rows.append([str(value) for value in values])
    return _table(heads, rows, numeric, runs=shown, folder=folder)


def _cell(value: Any) -> str:
    return "–" if value is None else text.value(value)


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: set[str],
    *,
    runs: Sequence[Run] | None = None,
    folder: Path = Path("."),
) -> str:
    """Returns a table; one of runs has a link to each folder, the seconds to sort by, and opens what is clicked."""
    mark = ['class="n"' if head in numeric else "" for head in heads]
    top = "".join(f'<th scope="col" {how}>{escape(head)}</th>' for head, how in zip(heads, mark, strict=True))
    lines = []
    for number, row in enumerate(rows):
        cells = [f"<td {how}>{escape(cell)}</td>" for cell, how in zip(row, mark, strict=True)]
        kind = " class=first" if number == 0 else ""
        if runs is not None:
            run = runs[number]
            link = quote(os.path.relpath(run.path.resolve(), folder.resolve()).replace(os.sep, "/"))
            cells[-1] = f'<td><a href="./{link}/">{escape(row[-1])}</a></td>'
            if run.seconds is not None:
                place = list(heads).index("time")
                cells[place] = f'<td class="n" data-value="{run.seconds:.1f}">{escape(row[place])}</td>'
            kind += f' tabindex="0" data-run="{escape(str(run.path))}"'
        lines.append(f"<tr{kind}>{''.join(cells)}</tr>")
    name = ' id="runs"' if runs is not None else ""
    body = f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table{name}>{body}</table></div>'


def _tests(runs: Ledger, metric: str) -> Iterator[str]:
    best_runs = leaders(runs, metric)
    if len(best_runs) < 2:
        return
    yield "<h2>Is the best really better?</h2>"
    yield (
        '<p class="soft">The best run against the best run of each next config, on the same queries: paired '
        "randomisation test (p corrected after Holm), bootstrap interval of the difference.</p>"
    )
    try:
        gaps = compare(best_runs, metric, baseline=True)
    except UserError as error:
        yield f'<p class="warn">{escape(str(error))}</p>'
        return
    heads = ["against", "difference", "95 %", "p (Holm)", "wins", "ties", "losses", "told apart"]
    rows = [
        [
            name_of(best_runs[gap.second], runs),
            text.number(gap.difference),
            f"{text.number(gap.low)} to {text.number(gap.high)}",
            f"{gap.p_holm:.4f}",
            str(gap.wins),
            str(gap.ties),
            str(gap.losses),
            "yes" if gap.real else "no",
        ]
        for gap in gaps
    ]
    yield _table(heads, rows, set(heads[1:7]))


def _figures(drawn: Sequence[tuple[str, dict[str, Any] | str]]) -> Iterator[str]:
    pictures = [(title, chart) for title, chart in drawn if isinstance(chart, dict)]
    for number, (title, chart) in enumerate(pictures):
        description = escape(f"{title}. {chart.get('description', '')}")
        yield f"<h2>{escape(title)}</h2>"
        yield f'<figure role="img" aria-label="{description}"><div id="chart-{number}"></div></figure>'
    if missing := [(title, why) for title, why in drawn if isinstance(why, str)]:
        yield "<h2>Not drawn</h2>"
        yield from (f'<p class="soft">{escape(title)}: {escape(why)}</p>' for title, why in missing)


def _problems(runs: Ledger) -> Iterator[str]:
    failed = [(run.path, run.status, run.verdict) for run in runs.readable if run.status in ("failed", "interrupted")]
    lines = failed + [(run.path, run.status, str(run.problem)) for run in runs.unreadable]
    if lines:
        yield "<h2>Failed, interrupted, unreadable</h2>"
        yield _table(["folder", "status", "reason"], [[str(item) for item in line] for line in lines], set())
