"""How sure is it, and at what price: seeds with intervals, and quality against time, speed and size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt

from twotower.core import format as text
from twotower.reports.plots import style
from twotower.reports.plots.style import Picture, Row
from twotower.runs.ledger import Ledger, Spread
from twotower.runs.run import Run

Point = tuple[float, float, Run]
"""A run with its cost and its quality."""

WIDTH = 2 * style.WIDTH - 200
"""Pixels of the picture of seeds."""
MOST_CONFIGS = 30
"""Configs drawn in the picture of seeds; the best."""


@style.styled
def seed_spread(runs: Ledger, metric: str) -> Picture:
    """Draws one row per config: each seed's value with its interval over queries, and their mean.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
    """
    shown = Ledger(run for run in runs.ended if metric in run.scores)
    if not shown:
        return style.empty_figure("No finished run to draw.")
    spreads, groups, names = shown.spreads(metric), shown.groups(), style.labels_of(shown)
    order = sorted(groups, key=lambda key: -spreads[key].mean)
    hidden = len(order) - MOST_CONFIGS
    order = order[:MOST_CONFIGS]
    rows = [row for group in order for row in _seeds(groups[group], metric, names)]
    means = [_mean(group, spreads[group], names) for group in order]
    drawn = [row[key] for row in rows for key in ("low", "value", "high", "both") if row[key] is not None]
    ends, levels, notes = style.scale_of(shown, metric, drawn)
    hybrid = "triangles: model and BM25 together (hybrid)" if any(row["both"] is not None for row in rows) else ""
    more = f"{hidden} poorer configs not drawn" if hidden > 0 else ""
    scale = alt.Scale(domain=list(ends), nice=True, zero=False)
    x = alt.X("value:Q", title=style.metric_label(metric), scale=scale)
    y = alt.Y("config:N", title=None, sort=[names[group] for group in order], axis=alt.Axis(grid=False))
    seeds = style.chart_of(rows).encode(y=y, yOffset=alt.YOffset("seed:N"), color=alt.value(style.PALETTE[0]))
    tips: list[Any] = ["name:N", "config:N", "seed:N", "value:Q", "interval:N", "hybrid:N", "BM25:N"]
    bars = seeds.mark_rule(strokeWidth=2, opacity=0.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q", tooltip=tips)
    dots = seeds.mark_circle(size=70, opacity=1).encode(x=x, tooltip=tips)
    triangles = style.chart_of([row for row in rows if row["both"] is not None]).encode(y=y, tooltip=tips)
    triangles = triangles.encode(x=alt.X("both:Q", scale=scale), yOffset=alt.YOffset("seed:N"))
    both = triangles.mark_point(shape="triangle-right", filled=True, size=60, color=style.PALETTE[2])
    middle = style.chart_of(means).encode(x=x, y=y)
    diamonds = middle.mark_point(shape="diamond", filled=True, size=110, color=style.PALETTE[1])
    words = style.chart_of(means).mark_text(align="left", x=alt.expr("width + 8")).encode(y=y, text="label:N")
    most = max(spreads[group].runs for group in order)
    chart = alt.layer(*style.draw_levels(levels, across=False), bars, dots, both, diamonds, words)
    return chart.properties(
        width=WIDTH,
        height=alt.Step(max(34, 16 * most), **{"for": "position"}),
        title=style.title("Runs with 95 % intervals over queries; diamonds: mean over seeds", [*notes, hybrid, more]),
        description="Seeds and intervals: " + "; ".join(f"{row['config']} {row['label']}" for row in means[:6]) + ".",
    )


def _seeds(members: Ledger, metric: str, names: dict[str, str]) -> list[Row]:
    rows = []
    for run in members:
        score = run.scores[metric]
        known = score.low is not None and score.high is not None
        both = run.hybrid_score(metric)
        ends: Row = {"low": score.low if known else score.value, "high": score.high if known else score.value}
        facts = {"interval": f"{ends['low']:.3f} to {ends['high']:.3f}" if known else "unknown"}
        facts |= {"hybrid": "–" if both is None else f"{both.value:.4f}"}
        facts |= {"BM25": "–" if score.bm25 is None else f"{score.bm25:.4f}"}
        ends["both"] = None if both is None else both.value
        rows.append({**style.facts(run, names), "value": score.value, **ends, **facts})
    return rows


def _mean(group: str, spread: Spread, names: dict[str, str]) -> Row:
    mean, deviation, runs = spread.mean, spread.deviation, spread.runs
    margin = f" ± {text.number(deviation, 3)}" if deviation is not None else ""
    return {"config": names[group], "value": mean, "label": f"{text.number(mean, 3)}{margin}  (n={runs})"}


COSTS: tuple[tuple[str, Callable[[Run], float | None], bool], ...] = (
    ("training time (s)", lambda run: (run.record.get("timings") or {}).get("fit_seconds"), False),
    ("documents encoded per second", lambda run: encode_speed(run), True),
    ("index (MB)", lambda run: (size := index_bytes(run)) and size / 1e6, False),
)
"""What quality is held against: a name, how to read it from a run, and whether more is better."""


@style.styled
def quality_against_cost(runs: Ledger, metric: str) -> Picture:
    """Draws the metric against training time, encoding speed and index size, with the runs nothing beats named.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
    """
    shown = Ledger(run for run in runs.ended if metric in run.scores)
    known = [entry for entry in COSTS if any(entry[1](run) for run in shown)]
    if not known:
        return style.empty_figure("No finished run knows its cost.")
    points = [
        [(float(cost), run.scores[metric].value, run) for run in shown if (cost := entry[1](run))] for entry in known
    ]
    fronts = [unbeaten(places, larger=entry[2]) for places, entry in zip(points, known, strict=True)]
    order = sorted({run.group: value for front in fronts for _, value, run in front}.items(), key=lambda item: -item[1])
    numbers = {group: number for number, (group, _) in enumerate(order, start=1)}
    names = style.labels_of(shown)
    ends, levels, notes = style.scale_of(shown, metric, [run.scores[metric].value for run in shown])
    y = alt.Y("value:Q", title=style.metric_label(metric), scale=alt.Scale(domain=list(ends), nice=True, zero=False))
    panels: list[alt.LayerChart] = []
    for (title, _, _), places, front in zip(known, points, fronts, strict=True):
        rows = [_cost_row(point, front, names, numbers) for point in places]
        drawn = style.draw_levels(levels, named=not panels)
        panels.append(alt.layer(*drawn, *_cost(rows, title, y)).properties(width=250, height=style.HEIGHT))  # type: ignore[arg-type]
    lines = [f"{number}  {names[group]}" for group, number in numbers.items()]
    heading = style.title("Quality against cost; numbered: no other is both better and cheaper", [*lines, *notes])
    description = f"{style.metric_label(metric)} against {', '.join(entry[0] for entry in known)}. Nothing beats: "
    return alt.concat(*panels, columns=3).properties(title=heading, description=description + "; ".join(lines) + ".")


def _cost_row(point: Point, front: list[Point], names: dict[str, str], numbers: dict[str, int]) -> Row:
    cost, value, run = point
    leads = any(run is other for _, _, other in front)
    number = str(numbers[run.group]) if leads else ""
    return {**style.facts(run, names), "cost": cost, "value": value, "number": number}


def _cost(rows: list[Row], title: str, y: alt.Y) -> list[alt.Chart]:
    low, high = min(row["cost"] for row in rows), max(row["cost"] for row in rows)
    if high > 20 * low:
        scale = alt.Scale(type="log", domain=[low / 1.5, high * 1.5])
    else:  # some room around, more where all cost the same but for a few bytes
        room = 0.1 * high if high - low < 0.01 * high else 0.12 * (high - low)
        scale = alt.Scale(domain=[max(0.0, low - room), high + room], zero=False)
    x = alt.X("cost:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4, format="~s", grid=False))
    tips = ["name:N", "config:N", "seed:N", alt.Tooltip("value:Q", format=".4f")]
    tips.append(alt.Tooltip("cost:Q", title=title, format=",.4~r"))
    leading = [row for row in rows if row["number"]]
    front = style.chart_of(leading).encode(x=x, y=y)
    others = style.chart_of([row for row in rows if not row["number"]])
    return [
        front.mark_line(color=style.PALETTE[1], opacity=0.6, strokeWidth=1),
        others.mark_circle(size=50, color=style.PALETTE[0], opacity=0.8).encode(x=x, y=y, tooltip=tips),
        front.mark_circle(size=230, color=style.PALETTE[1], opacity=1).encode(tooltip=tips),
        front.mark_text(color="white", fontSize=10, fontWeight="bold").encode(text="number:N", tooltip=tips),
    ]


def unbeaten(points: list[Point], *, larger: bool) -> list[Point]:
    """Returns the points that no other beats in both cost and quality, the cheapest first.

    Args:
        points: cost, quality and run; costs that agree to three digits count as the same.
        larger: a larger cost is the better one (a speed).
    """

    def cost(point: Point) -> float:
        return (-1.0 if larger else 1.0) * float(f"{point[0]:.3g}")

    front: list[Point] = []
    for point in sorted(points, key=lambda point: (cost(point), -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def encode_speed(run: Run) -> float | None:
    """Returns how many documents a second the run encoded, where its record says so."""
    return (run.record.get("timings") or {}).get("encode_documents_per_second")


def index_bytes(run: Run) -> int | None:
    """Returns the bytes of the run's index files by its record, None without an index."""
    sizes = [item.get("bytes") or 0 for item in run.record.get("artefacts") or [] if item.get("kind") == "index"]
    return sum(sizes) or None
