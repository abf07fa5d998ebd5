"""What a hyper-parameter does to the metric: alone (main effects), in pairs (interactions), all at once (parallel)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from twotower.core import format as text
from twotower.reports.plots import style
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.filters import as_number
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

PANELS = 6
"""Most panels in one picture; the hyper-parameters that move the metric most come first."""


@style.styled
def main_effects(runs: Ledger, metric: str, keys: Sequence[str] | None = None) -> Figure:
    """Draws the metric by each hyper-parameter: every run a dot, and the mean of each value.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
        keys: config keys or groups; None takes those that differ, the strongest first.
    """
    shown, names = _scored(runs, metric, keys)
    keys = list(names)
    if not keys:
        return style.empty_figure("No hyper-parameter differs between the finished runs.")
    keys = keys[:PANELS]
    columns = 2 if len(keys) == 4 else min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure, axes = style.new_figure(rows, columns, width=4.0 * max(columns, 2), height=3.0 * rows + 0.4, sharey=True)
    for number, (panel, key) in enumerate(zip(axes.flat, keys, strict=False)):
        _effect(panel, shown, metric, key)
        panel.set_title(names[key])
        if number % columns == 0:
            panel.set_ylabel(style.metric_label(metric))
    for number, panel in enumerate(axes.flat):
        if number < len(keys):
            style.draw_levels(panel, shown, metric, named=number == 0)
        else:
            panel.axis("off")
    return figure


def _effect(axes: Axes, runs: Ledger, metric: str, key: str) -> None:
    values = _levels(runs, key)
    place = {_shown(value): number for number, value in enumerate(values)}
    points: dict[int, list[float]] = {number: [] for number in place.values()}
    for run in runs:
        points[place[_shown(column_value(run, key))]].append(run.scores[metric].value)
    jitter = np.random.default_rng(0)
    for number, column in points.items():
        spread = jitter.uniform(-0.09, 0.09, len(column))
        axes.scatter(number + spread, column, s=18, color=style.PALETTE[0], alpha=0.45, linewidths=0, zorder=2)
    means = [float(np.mean(column)) for column in points.values()]
    axes.plot(range(len(means)), means, "-", color=style.INK, lw=1.0, alpha=0.35, zorder=2)
    axes.plot(range(len(means)), means, "_", color=style.INK, ms=22, mew=2.4, zorder=3)
    for number, mean in enumerate(means):
        axes.annotate(
            text.number(mean, 3),
            (number, mean),
            xytext=(13, 3),
            textcoords="offset points",
            fontsize=8,
            color=style.INK,
        )
    axes.set_xticks(range(len(values)), [_shown(value) for value in values], rotation=25 if len(values) > 5 else 0)
    axes.set_xlim(-0.5, len(values) - 0.3)
    axes.grid(axis="x", visible=False)


@style.styled
def interactions(runs: Ledger, metric: str, keys: Sequence[str] | None = None) -> Figure:
    """Draws the mean metric for every pair of values of two hyper-parameters, as a table with colours.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
        keys: config keys or groups; None takes those that differ, the strongest first.
    """
    shown, names = _scored(runs, metric, keys)
    keys = list(names)
    pairs = [pair for pair in combinations(keys, 2) if _crossed(shown, *pair)][:PANELS]
    if not pairs:
        return style.empty_figure("No two hyper-parameters were varied together.")
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure, axes = style.new_figure(rows, columns, width=4.0 * max(columns, 2), height=3.4 * rows)
    values = [run.scores[metric].value for run in shown]
    scale = Normalize(min(values), max(values))
    for panel, (one, two) in zip(axes.flat, pairs, strict=False):
        _heat(panel, shown, metric, one, two, scale)
        panel.set_xlabel(names[one])
        panel.set_ylabel(names[two])
    for panel in axes.flat[len(pairs) :]:
        panel.axis("off")
    figure.suptitle(f"Mean {style.metric_label(metric)}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _heat(axes: Axes, runs: Ledger, metric: str, one: str, two: str, scale: Normalize) -> None:
    columns, rows = ([_shown(value) for value in _levels(runs, key)] for key in (one, two))
    cells: dict[tuple[int, int], list[float]] = {}
    for run in runs:
        cell = rows.index(_shown(column_value(run, two))), columns.index(_shown(column_value(run, one)))
        cells.setdefault(cell, []).append(run.scores[metric].value)
    grid = np.full((len(rows), len(columns)), np.nan)
    for cell, entries in cells.items():
        grid[cell] = np.mean(entries)
    axes.imshow(grid, cmap="cividis", norm=scale, aspect="auto")
    for (row, column), entries in cells.items():
        light = scale(float(np.mean(entries))) < 0.55
        label = text.number(float(np.mean(entries)), 3) + (f"\n n={len(entries)}" if len(entries) > 1 else "")
        axes.text(column, row, label, ha="center", va="center", fontsize=9, color="white" if light else style.INK)
    axes.set_xticks(range(len(columns)), columns, rotation=25 if len(columns) > 4 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)


@style.styled
def parallel_coordinates(runs: Ledger, metric: str, keys: Sequence[str] | None = None) -> Figure:
    """Draws every run as a line through its hyper-parameters to its metric; the best stands out.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
        keys: config keys or groups; None takes those that differ.
    """
    shown, names = _scored(runs, metric, keys)
    keys = list(names)
    if not keys:
        return style.empty_figure("No hyper-parameter differs between the finished runs.")
    keys = keys[:10]
    figure, axes = style.new_figure(width=max(8.0, 1.6 * (len(keys) + 2)), height=4.8)
    panel = axes[0, 0]
    scores = np.array([run.scores[metric].value for run in shown])
    span = (scores - scores.min()) / (np.ptp(scores) or 1.0)
    places = np.stack([*(_axis(panel, shown, key, number) for number, key in enumerate(keys)), span], axis=1)
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, places.shape)
    jitter[:, -1] = 0
    colours = matplotlib.colormaps["cividis_r"](0.05 + 0.85 * (1 - span))
    best = int(np.argmax(scores))
    for row in np.argsort(scores):
        line = (
            {"color": style.PALETTE[1], "lw": 3.0, "zorder": 5} if row == best else {"color": colours[row], "lw": 1.1}
        )
        panel.plot(range(places.shape[1]), (places + jitter)[row], alpha=1.0 if row == best else 0.7, **line)
    last = len(keys)
    panel.axvline(last, color="#BDC1C6", lw=1.0, zorder=1)
    for share in (0.0, 0.5, 1.0):
        value = float(scores.min() + share * np.ptp(scores))
        panel.text(last + 0.06, share, text.number(value, 3), fontsize=8, va="center")
    panel.annotate("best", (last, 1.0), xytext=(-6, 6), textcoords="offset points", ha="right", color=style.PALETTE[1])
    heads = [*(names[key] for key in keys), style.metric_label(metric)]
    panel.set_xticks(range(len(heads)), heads)
    panel.tick_params(axis="x", top=False, length=0)
    panel.set_yticks([])
    panel.set_ylim(-0.08, 1.1)
    panel.set_xlim(-0.35, last + 0.45)
    for side in panel.spines.values():
        side.set_visible(False)
    panel.grid(visible=False)
    return figure


def _axis(axes: Axes, runs: Ledger, key: str, at: int) -> np.ndarray:
    values = _levels(runs, key)
    numbers = [as_number(value) for value in values]
    if all(number is not None for number in numbers) and len(values) > 2:
        scale = np.array(numbers, dtype=np.float64)
        if scale.min() > 0 and scale.max() / scale.min() >= 50:
            scale = np.log(scale)
        places = (scale - scale.min()) / np.ptp(scale)
    else:
        places = np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
    axes.axvline(at, color="#BDC1C6", lw=1.0, zorder=1)
    known = {_shown(value): float(place) for value, place in zip(values, places, strict=True)}
    step = max(1, len(known) // 8)
    for name, place in list(known.items())[::step]:
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
        axes.text(at - 0.04, place, name, fontsize=8, va="center", ha="right", zorder=6, bbox=box)
    return np.array([known[_shown(column_value(run, key))] for run in runs])


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
    means = [float(np.mean(values)) for values in groups.values()]
    return max(means) - min(means)


def _crossed(runs: Ledger, one: str, two: str) -> bool:
    """Says whether two keys were varied against each other, not in step."""
    pairs = {(_shown(column_value(run, one)), _shown(column_value(run, two))) for run in runs}
    return len(pairs) > max(len({pair[0] for pair in pairs}), len({pair[1] for pair in pairs}))


def _levels(runs: Sequence[Run], key: str) -> list[Any]:
    values = {_shown(value): value for value in (column_value(run, key) for run in runs)}
    return sorted(values.values(), key=lambda item: (as_number(item) is None, as_number(item) or 0.0, _shown(item)))


def _shown(value: Any) -> str:
    return "none" if value is None else text.value(value)
