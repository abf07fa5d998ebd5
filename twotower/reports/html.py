"""A sweep as one HTML file: ranked table, verdicts, tests and pictures, all inside it, readable without a network."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.best import best
from twotower.reports.table import interval, levels
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root{--ink:#202124;--soft:#5f6368;--line:#e8eaed;--accent:#0072B2;--warn:#D55E00;--ground:#fff;--tint:#f8f9fa}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1280px;margin:0 auto;padding:32px 24px 64px}h1{font-size:26px;margin:0 0 4px}
h2{font-size:18px;margin:40px 0 8px;padding-top:16px;border-top:1px solid var(--line)}p{margin:6px 0}
.soft{color:var(--soft)}.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{flex:1 1 180px;background:var(--tint);border-radius:10px;padding:12px 16px}
.tile b{display:block;font-size:22px;overflow-wrap:anywhere}.tile span{color:var(--soft);font-size:13px}
.warn{border-left:4px solid var(--warn);background:#fdf3ec;padding:8px 14px;margin:10px 0;border-radius:0 8px 8px 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;width:100%}
th{text-align:left;color:var(--soft);font-weight:600;border-bottom:2px solid var(--line);padding:6px 10px}
td{border-bottom:1px solid var(--line);padding:6px 10px;vertical-align:top}
th,td.n,td:last-child,td:nth-last-child(2){white-space:nowrap}td:last-child{color:var(--soft);font-size:12px}
.n{text-align:right;font-variant-numeric:tabular-nums}tr.first td{background:#eef6fb}
img{max-width:100%;height:auto;display:block;margin:12px 0}code{font-size:12.5px;overflow-wrap:anywhere}
"""


def report_html(runs: Ledger, *, metric: str | None = None, title: str = "Runs") -> str:
    """Returns the report as HTML.

    Args:
        runs: the runs of a sweep, or any others.
        metric: its name; None takes what most runs were judged by.
        title: heading.

    Raises:
        UserError: when there is no readable run, or no run has the metric.
    """
    if not runs.readable:
        raise UserError("There is no readable run to report on.")
    name = runs.metric(metric)
    ranked = runs.sorted(name)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(name)}, written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC</p>',
        *_summary(ranked, name),
        "<h2>Ranked runs</h2>",
        *(f'<p class="soft">{escape(line)}</p>' for line in levels(ranked.readable, name)),
        _ranked_table(ranked, name),
        *_tests(ranked, name),
        *_pictures(ranked, name),
        *_problems(ranked),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}{view}</head><body><main>\n{body}\n</main></body></html>\n'


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
        tiles.append((_name(top.run, runs), f"best run, {top.run.verdict}"))
    seconds = sum(run.seconds or 0.0 for run in runs.readable)
    tiles.append((text.duration(seconds), "time of all runs together"))
    inner = "".join(f'<div class="tile"><b>{escape(one)}</b><span>{escape(two)}</span></div>' for one, two in tiles)
    yield f'<div class="tiles">{inner}</div>'
    for line in warnings:
        yield f'<p class="warn">{escape(line[:1].upper() + line[1:])}</p>'


def _name(run: Run, runs: Ledger) -> str:
    from twotower.reports.plots.style import labels_of

    label = labels_of(runs).get(run.group, run.name)
    return f"{label}, seed {run.seed}" if run.seed is not None else label


def _ranked_table(runs: Ledger, metric: str) -> str:
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
    return _table(heads, rows, numeric)


def _cell(value: Any) -> str:
    return "–" if value is None else text.value(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[str]) -> str:
    mark = ['class="n"' if head in numeric else "" for head in heads]
    top = "".join(f"<th {how}>{escape(head)}</th>" for head, how in zip(heads, mark, strict=True))
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td {how}>{escape(cell)}</td>" for cell, how in zip(row, mark, strict=True))
        lines.append(f"<tr{' class=first' if number == 0 else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _leaders(runs: Ledger, metric: str, most: int = 6) -> Ledger:
    """The best run of each of the best configs, as far as they have per-query scores of the same data."""
    firsts: dict[str, Run] = {}
    for run in runs.ended.sorted(metric):
        if metric in run.scores and (run.path / "per_query.parquet").is_file():
            firsts.setdefault(run.group, run)
    first = next(iter(firsts.values()), None)
    same = [run for run in firsts.values() if first is not None and run.data_key == first.data_key]
    return Ledger(same[:most])


def _tests(runs: Ledger, metric: str) -> Iterator[str]:
    from twotower.reports.compare import compare

    leaders = _leaders(runs, metric)
    if len(leaders) < 2:
        return
    yield "<h2>Is the best really better?</h2>"
    yield (
        '<p class="soft">The best run against the best run of each next config, on the same queries: paired '
        "randomisation test (p corrected after Holm), bootstrap interval of the difference.</p>"
    )
    try:
        gaps = compare(leaders, metric, baseline=True)
    except UserError as error:
        yield f'<p class="warn">{escape(str(error))}</p>'
        return
    heads = ["against", "difference", "95 %", "p (Holm)", "wins", "ties", "losses", "told apart"]
    rows = [
        [
            _name(leaders[gap.second], runs),
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


def _pictures(runs: Ledger, metric: str) -> Iterator[str]:
    for title, draw in pictures(runs, metric):
        yield f"<h2>{escape(title)}</h2>"
        try:
            yield f'<img alt="{escape(title)}" src="data:image/png;base64,{_png(draw())}">'
        except UserError as error:
            yield f'<p class="soft">{escape(str(error))}</p>'


def pictures(runs: Ledger, metric: str) -> list[tuple[str, Callable[[], Figure]]]:
    """Returns the titles of all pictures of a report, each with the function that draws it."""
    from twotower.reports.plots import curves, effects, queries, spread
    from twotower.runs.per_query import pair

    leaders = _leaders(runs, metric, most=3)
    figures: list[tuple[str, Callable[[], Figure]]] = [
        ("Seeds and intervals", lambda: spread.seed_spread(runs, metric)),
        ("Learning curves", lambda: curves.learning_curves(runs, metric)),
        ("Hyper-parameters one by one", lambda: effects.main_effects(runs, metric)),
        ("Hyper-parameters in pairs", lambda: effects.interactions(runs, metric)),
        ("All hyper-parameters at once", lambda: effects.parallel_coordinates(runs, metric)),
        ("Quality against cost", lambda: spread.quality_against_cost(runs, metric)),
    ]
    if len(leaders) > 1:
        names = [_name(run, runs) for run in leaders]
        figures.append(
            ("Best against next, by query", lambda: queries.query_differences(pair(leaders[:2], metric), names[:2]))
        )
    if leaders:
        protocol = metric.partition("/")[0]
        figures.append(("Scores of pairs", lambda: queries.score_histograms(leaders, protocol, most=3)))
    return figures


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _problems(runs: Ledger) -> Iterator[str]:
    failed = [(run.path, run.status, run.verdict) for run in runs.readable if run.status in ("failed", "interrupted")]
    lines = failed + [(run.path, run.status, str(run.problem)) for run in runs.unreadable]
    if lines:
        yield "<h2>Failed, interrupted, unreadable</h2>"
        yield _table(["folder", "status", "reason"], [[str(item) for item in line] for line in lines], set())
