"""What a hyper-parameter does to the metric: alone (main effects), in pairs (interactions), all at once (parallel)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import altair as alt

from twotower.core import format as text
from twotower.reports.plots import style
from twotower.reports.plots.style import Picture, Row
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.filters import as_number
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

PANELS = 6
"""Most panels in one picture; the hyper-parameters that move the metric most come first."""
NOTHING_DIFFERS = "No hyper-parameter differs between the finished runs."


@style.styled
def main_effects(runs: Ledger, metric: str, keys: Sequence[str] | None = None) -> Picture:
    """Draws the metric by each hyper-parameter: every run a dot, and the mean of each value.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
        keys: config keys or groups; None takes those that differ, the strongest first.
    """
    shown, names = _scored(runs, metric, keys)
    if not names:
        return style.empty_figure(NOTHING_DIFFERS)
    label = style.metric_label(metric)
    ends, levels, notes = style.scale_of(shown, metric, [run.scores[metric].value for run in shown])
    y = alt.Y("value:Q", title=label, scale=alt.Scale(domain=list(ends), nice=True, zero=False))
    panels = [
        alt.layer(*style.draw_levels(levels, named=number == 0), *_effect(shown, metric, key, y)).properties(
            title=names[key], width=250, height=220
        )
        for number, key in enumerate(list(names)[:PANELS])
    ]
    description = f"{label} by {', '.join(list(names.values())[:PANELS])}, each alone: every run a dot, and the mean."
    heading = style.title("Every run a dot; bars: means", notes)
    return alt.concat(*panels, columns=3).properties(title=heading, description=description)


def _effect(runs: Ledger, metric: str, key: str, y: alt.Y) -> list[alt.Chart]:
    order = [_shown(value) for value in _levels(runs, key)]
    x = alt.X("level:N", title=None, sort=order, axis=alt.Axis(grid=False, labelAngle=-25 if len(order) > 4 else 0))
    draw = random.Random(0).uniform
    labels = style.labels_of(runs)
    rows = [
        {**style.facts(run, labels), "level": _shown(column_value(run, key)), "value": run.scores[metric].value}
        | {"aside": draw(-0.2, 0.2)}
        for run in runs
    ]
    means = [
        {"level": level, "value": mean, "label": text.number(mean, 3), "runs": len(values)}
        for level in order
        if (values := [row["value"] for row in rows if row["level"] == level])
        for mean in [fmean(values)]
    ]
    tips = ["name:N", "config:N", "seed:N", alt.Tooltip("value:Q", format=".4f")]
    offset = alt.XOffset("aside:Q", scale=alt.Scale(domain=[-0.5, 0.5]))
    dots = style.chart_of(rows).mark_circle(size=44, opacity=0.55, color=style.PALETTE[0])
    middle = style.chart_of(means).encode(x=x, y=y)
    hover = [alt.Tooltip("level:N"), alt.Tooltip("label:N", title="mean"), alt.Tooltip("runs:Q")]
    return [
        dots.encode(x=x, y=y, xOffset=offset, tooltip=tips),
        middle.mark_tick(thickness=3, width=34).encode(tooltip=hover),
        middle.mark_text(dy=-9, align="center").encode(text="label:N"),
    ]


@style.styled
def interactions(runs: Ledger, metric: str, keys: Sequence[str] | None = None) -> Picture:
    """Draws the mean metric for every pair of values of two hyper-parameters, as a table with colours.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
        keys: config keys or groups; None takes those that differ, the strongest first.
    """
    shown, names = _scored(runs, metric, keys)
    pairs = [pair for pair in combinations(names, 2) if _crossed(shown, *pair)][:PANELS]
    if not pairs:
        return style.empty_figure("No two hyper-parameters were varied together.")
    values = [run.scores[metric].value for run in shown]
    ends = (min(values), max(values) if max(values) > min(values) else min(values) + 1e-6)
    panels = [_heat(shown, metric, (first, second), names, ends) for first, second in pairs]
    label = f"Mean {style.metric_label(metric)}"
    description = (
        f"{label} for pairs: " + "; ".join(f"{names[first]} by {names[second]}" for first, second in pairs) + "."
    )
    return alt.concat(*panels, columns=3).properties(title=style.title(label), description=description)


def _heat(runs: Ledger, metric: str, keys: tuple[str, str], names: dict[str, str], ends: tuple[float, float]) -> Any:
    orders = [[_shown(value) for value in _levels(runs, key)] for key in keys]
    cells: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        cell = _shown(column_value(run, keys[0])), _shown(column_value(run, keys[1]))
        cells.setdefault(cell, []).append(run.scores[metric].value)
    rows: list[Row] = []
    for (first, second), values in cells.items():
        mean = fmean(values)
        shade = (mean - ends[0]) / (ends[1] - ends[0])
        several = f"  n={len(values)}" if len(values) > 1 else ""
        label = text.number(mean, 3) + several
        rows.append(
            {"one": first, "two": second, "mean": mean, "label": label, "runs": len(values), "light": shade > 0.55}
        )
    sides: list[Any] = []
    for channel, name, key, order in ((alt.X, "one", keys[0], orders[0]), (alt.Y, "two", keys[1], orders[1])):
        axis = alt.Axis(grid=False, labelAngle=0) if channel is alt.Y else alt.Axis(grid=False)
        sides.append(channel(f"{name}:N", title=names[key], sort=order, axis=axis))
    colour = alt.Color("mean:Q", scale=alt.Scale(scheme="cividis", domain=list(ends)), legend=None)
    base = style.chart_of(rows).encode(x=sides[0], y=sides[1], tooltip=["one:N", "two:N", "label:N", "runs:Q"])
    ink = alt.condition("datum.light", alt.value("#202124"), alt.value("#ffffff"))
    size = {"width": max(160, 80 * len(orders[0])), "height": max(80, 40 * len(orders[1]))}
    layers = base.mark_rect().encode(color=colour), base.mark_text(fontSize=11).encode(text="label:N", color=ink)
    return alt.layer(*layers).properties(**size)


@style.styled
def parallel_coordinates(runs: Ledger, metric: str, keys: Sequence[str] | None = None) -> Picture:
    """Draws every run as a line through its hyper-parameters to its metric; the best stands out.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
        keys: config keys or groups; None takes those that differ.
    """
    shown, names = _scored(runs, metric, keys)
    if not names:
        return style.empty_figure(NOTHING_DIFFERS)
    keys = list(names)[:10]
    label = style.metric_label(metric)
    heads = [*(names[key] for key in keys), label]
    places = {key: _places(_levels(shown, key)) for key in keys}
    scores = [run.scores[metric].value for run in shown]
    low, width = min(scores), (max(scores) - min(scores)) or 1.0
    labels, draw = style.labels_of(shown), random.Random(0).uniform
    rows: list[Row] = []
    for run, score in zip(shown, scores, strict=True):
        facts = {**style.facts(run, labels), "score": score, "best": score == max(scores)}
        for key in keys:
            value = _shown(column_value(run, key))
            rows.append({**facts, "axis": names[key], "place": places[key][value] + draw(-0.012, 0.012)})
        rows.append({**facts, "axis": label, "place": (score - low) / width})
    ticks = [
        {"axis": names[key], "place": place, "label": value}
        for key in keys
        for value, place in list(places[key].items())[:: max(1, len(places[key]) // 8)]
    ]
    ticks += [{"axis": label, "place": at, "label": text.number(low + at * width, 3)} for at in (0.0, 0.5, 1.0)]
    top = shown[scores.index(max(scores))]
    description = f"Every run as a line through {', '.join(heads)}; the best is {labels.get(top.group, top.name)}."
    size = {"width": max(480, 130 * len(heads)), "height": 300}
    return alt.layer(*_lines(rows, ticks, heads)).properties(**size, description=description)


def _lines(rows: list[Row], ticks: list[Row], heads: list[str]) -> list[alt.Chart]:
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, orient="top", grid=True)
    x = alt.X("axis:N", sort=heads, title=None, scale=alt.Scale(type="point", padding=0.35), axis=axis)
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.06, 1.06]))
    tips = ["name:N", "config:N", "seed:N", alt.Tooltip("score:Q", format=".4f")]
    colour = alt.Color("score:Q", scale=alt.Scale(scheme="cividis", reverse=True), legend=None)
    lines = style.chart_of([row for row in rows if not row["best"]]).mark_line(opacity=0.65, strokeWidth=1.4)
    best = style.chart_of([row for row in rows if row["best"]]).mark_line(strokeWidth=3.2, color=style.PALETTE[1])
    words = style.chart_of(ticks).mark_text(align="right", dx=-5)
    return [
        lines.encode(x=x, y=y, color=colour, detail="run:N", tooltip=tips),
        best.encode(x=x, y=y, detail="run:N", tooltip=tips),
        words.encode(x=x, y=y, text="label:N"),
    ]


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Returns where a key's values stand on its axis: numbers by size (by magnitude where wide), others evenly."""
    numbers = [as_number(value) for value in values]
    known = [float(number) for number in numbers if number is not None]
    if len(known) == len(values) > 2:
        if min(known) > 0 and max(known) / min(known) >= 50:
            known = [math.log(number) for number in known]
        places = [(number - min(known)) / (max(known) - min(known)) for number in known]
    else:
        places = [number / (len(values) - 1) for number in range(len(values))] if len(values) > 1 else [0.5]
    return {_shown(value): place for value, place in zip(values, places, strict=True)}


def _scored(runs: Ledger, metric: str, keys: Sequence[str] | None) -> tuple[Ledger, dict[str, str]]:
    """Returns the runs to draw, and the keys (strongest first) with their names.

    Keys that were only ever changed together can't be told apart by any picture, so they share one place and name.
    """
    shown = Ledger(run for run in runs.ended if metric in run.scores)
    if keys is None:
        keys = sorted(differing(shown), key=lambda key: -_strength(shown, metric, key))
    short = short_names(keys)
    together: dict[tuple[int, ...], list[str]] = {}
    for key in keys:
        together.setdefault(_partition([_shown(column_value(run, key)) for run in shown]), []).append(key)
    return shown, {same[0]: _joined([short[key] for key in same]) for same in together.values()}


def _partition(values: Sequence[str]) -> tuple[int, ...]:
    first: dict[str, int] = {}
    return tuple(first.setdefault(value, len(first)) for value in values)


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} (and {', '.join(names[1:3])}{' …' if len(names) > 3 else ''})"


def _strength(runs: Ledger, metric: str, key: str) -> float:
    """How far the means of a key's values lie apart."""
    groups: dict[str, list[float]] = {}
    for run in runs:
        groups.setdefault(_shown(column_value(run, key)), []).append(run.scores[metric].value)
    means = [fmean(values) for values in groups.values()]
    return max(means) - min(means)


def _crossed(runs: Ledger, first: str, second: str) -> bool:
    """Says whether two keys were varied against each other, not in step."""
    pairs = {(_shown(column_value(run, first)), _shown(column_value(run, second))) for run in runs}
    return len(pairs) > max(len({pair[0] for pair in pairs}), len({pair[1] for pair in pairs}))


def _levels(runs: Sequence[Run], key: str) -> list[Any]:
    values = {_shown(value): value for value in (column_value(run, key) for run in runs)}
    return sorted(values.values(), key=lambda item: (as_number(item) is None, as_number(item) or 0.0, _shown(item)))


def _shown(value: Any) -> str:
    return "none" if value is None else text.value(value)
