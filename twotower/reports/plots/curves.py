"""Learning curves: loss and metric by epoch, a colour per config, a thin line per seed."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import altair as alt

from twotower.reports.details import epoch_sample
from twotower.reports.plots import style
from twotower.reports.plots.style import Picture, Row
from twotower.runs.ledger import Ledger

Read = Callable[[dict[str, Any]], Any]
"""Takes a number out of an epoch's entry of the history."""


@style.styled
def learning_curves(runs: Ledger, metric: str) -> Picture:
    """Draws training loss and a metric by epoch.

    Args:
        runs: any runs; unfinished ones end where they stopped.
        metric: full name (`full/mrr_10`).
    """
    shown = Ledger(run for run in runs.readable if run.history)
    if not shown:
        return style.empty_figure("No run has finished an epoch yet.")
    names, colours = style.labels_of(shown), style.colours_of(shown, metric)
    grey = sum(colour == style.GREY for colour in colours.values())
    label = style.metric_label(metric)
    losses = _rows(shown, lambda item: item.get("train_loss"), names)
    values = _rows(shown, lambda item: (item.get("metrics") or {}).get(metric), names)
    ends, levels, notes = style.scale_of(shown, metric, [row["value"] for row in values])
    low, high = style.span([row["value"] for row in losses], least=0.1, high=float("inf"))
    colour = style.colour_scale(names, colours)
    left = _panel(losses, colour, (low, high)).properties(title=style.title("Training loss"))
    lines = alt.layer(*style.draw_levels(levels), _panel(values, colour, ends))
    more = f"grey: {grey} more configs" if grey else ""
    samples = sorted({epoch_sample(run) for run in shown} - {""})
    sample = f"epochs: a sample of {' or '.join(samples[:2])}; the final figure is of all" if samples else ""
    title = style.title(label, [*notes, sample, more])
    right = lines.properties(width=style.WIDTH, height=style.HEIGHT, title=title)
    last = ", ".join(f"{row['config']} {row['value']:.3f}" for row in _last(values)[:5])
    return alt.concat(left, right, columns=2).properties(
        description=f"Learning curves: training loss and {label} by epoch. At the end: {last or 'nothing measured'}."
    )


def _panel(rows: list[Row], colour: alt.Color, ends: tuple[float, float]) -> Any:
    epochs = sorted({row["epoch"] for row in rows}) or [1]
    ticks = epochs[:: max(1, len(epochs) // 10)]
    x = alt.X(
        "epoch:Q",
        title="epoch",
        axis=alt.Axis(values=ticks, format="d", grid=False),
        scale=alt.Scale(domain=[epochs[0] - 0.5, epochs[-1] + 0.5], nice=False),
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=list(ends), nice=True, zero=False))
    tips = [alt.Tooltip(f"{name}") for name in ("name:N", "config:N", "seed:N", "epoch:Q")]
    tips.append(alt.Tooltip("value:Q", format=".4f"))
    seeds = style.chart_of(rows).encode(x=x, y=y, color=colour, detail="run:N", tooltip=tips)
    means = style.chart_of(_means(rows)).mark_line(strokeWidth=2.6).encode(x=x, y=y, color=colour)
    thin = seeds.mark_line(strokeWidth=1, opacity=0.45)
    dots = seeds.mark_circle(size=46, opacity=0.9)
    return alt.layer(thin, means, dots).properties(width=style.WIDTH, height=style.HEIGHT)


def _rows(runs: Ledger, read: Read, names: dict[str, str]) -> list[Row]:
    return [
        {**style.facts(run, names), "epoch": item["epoch"], "value": float(value)}
        for run in runs
        for item in run.history
        if "epoch" in item and (value := read(item)) is not None
    ]


def _means(rows: list[Row]) -> list[Row]:
    """Averages over seeds at the epochs that all of a config's runs reached."""
    runs: dict[str, set[str]] = {}
    values: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        runs.setdefault(row["config"], set()).add(row["run"])
        values.setdefault((row["config"], row["epoch"]), []).append(row["value"])
    return [
        {"config": config, "epoch": epoch, "value": fmean(each)}
        for (config, epoch), each in sorted(values.items())
        if len(each) == len(runs[config])
    ]


def _last(rows: list[Row]) -> list[Row]:
    ends = {row["config"]: row for row in _means(rows)}
    return sorted(ends.values(), key=lambda row: -row["value"])
