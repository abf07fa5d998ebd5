"""How the pictures look: a palette that colour-blind readers can tell apart, quiet axes, labels beside the lines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twotower.core import format as text
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

P = ParamSpec("P")

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5D4FA3", "#8C6D31")
"""Okabe and Ito's colours (2008) without black and yellow, and two more; told apart with every colour vision."""

GREY = "#9AA0A6"
"""What stays in the background."""

INK = "#202124"
"""Text and marks."""

LABEL = 44
"""Characters of a config's name in a picture; what is cut off stands in the tables."""

_RULES: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": "#5F6368",
    "axes.edgecolor": "#BDC1C6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8EAED",
    "grid.linewidth": 0.8,
    "xtick.color": "#5F6368",
    "ytick.color": "#5F6368",
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 10.0, height: float = 4.5, **keys: Any
) -> tuple[Figure, np.ndarray]:
    """Returns a Figure (no window, no global state) and its axes as an array [rows, columns].

    Args:
        rows: axes downwards.
        columns: axes across.
        width: inches.
        height: inches.
        **keys: passed to `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **keys)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorates a function that returns a Figure: what it draws follows this file's rules, what others draw doesn't."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **keys: P.kwargs) -> Figure:
        with matplotlib.rc_context(_RULES):
            return draw(*args, **keys)

    return wrapper


@styled
def empty_figure(message: str) -> Figure:
    """Returns a picture that says why there is nothing to see."""
    figure, axes = new_figure(height=1.6)
    axes[0, 0].axis("off")
    axes[0, 0].text(0.0, 0.5, message, transform=axes[0, 0].transAxes, color="#5F6368", va="center")
    return figure


def labels_of(runs: Ledger) -> dict[str, str]:
    """Returns a short name for every config (by `Run.group`) out of what differs: `mlp, contrastive, lr 0.01`."""
    keys = differing(runs.readable)
    names = short_names(keys)
    labels: dict[str, str] = {}
    for run in runs.readable:
        parts = [_part(run, key, names[key]) for key in keys if column_value(run, key) is not None]
        label = ", ".join(parts) or run.name
        labels.setdefault(run.group, label if len(label) <= LABEL else label[: LABEL - 1].rstrip(", ") + "…")
    doubles = {name for name in labels.values() if list(labels.values()).count(name) > 1}
    return {key: f"{name} [{number}]" if name in doubles else name for number, (key, name) in enumerate(labels.items())}


def _part(run: Run, key: str, name: str) -> str:
    value = column_value(run, key)
    shown = text.value(value)
    return shown if key in run.choices and isinstance(value, str) else f"{name} {shown}"


def colours_of(runs: Ledger, metric: str) -> dict[str, str]:
    """Returns a colour per config, the best first; configs beyond the palette share the grey of the background."""
    spreads = runs.spreads(metric)
    order = sorted(runs.groups(), key=lambda key: -spreads[key].mean if key in spreads else 1.0)
    return {key: PALETTE[number] if number < len(PALETTE) else GREY for number, key in enumerate(order)}


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], *, gap: float = 0.055) -> None:
    """Writes names beside the ends of lines, pushed apart where they would overlap.

    Args:
        axes: where.
        ends: x, y, name and colour of each line's end.
        gap: least distance between two names, as a share of the axes' height.
    """
    if not ends:
        return
    low, high = axes.get_ylim()
    order = sorted(range(len(ends)), key=lambda number: ends[number][1])
    places = [(ends[number][1] - low) / (high - low) for number in order]
    for number in range(1, len(places)):
        places[number] = max(places[number], places[number - 1] + gap)
    overflow = max(0.0, places[-1] - 1.0)
    places = [place - overflow for place in places]
    for number in range(len(places) - 2, -1, -1):
        places[number] = min(places[number], places[number + 1] - gap)
    for place, number in zip(places, order, strict=True):
        x, y, name, colour = ends[number]
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(1.015, place),
            textcoords=axes.transAxes,
            color=colour if colour != GREY else "#5F6368",
            va="center",
            fontsize=9,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.6,
                "alpha": 0.6,
                "shrinkA": 0,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )


def reference_levels(runs: Sequence[Run], metric: str) -> list[tuple[str, float]]:
    """Returns the chance and BM25 level of a metric where all runs agree on them."""
    scores = [run.scores[metric] for run in runs if metric in run.scores]
    levels = []
    for name, values in (("chance", [s.chance for s in scores]), ("BM25", [s.bm25 for s in scores])):
        known = [value for value in values if value is not None]
        if known and max(known) - min(known) < 1e-6:
            levels.append((name, known[0]))
    return levels


def draw_levels(
    axes: Axes, runs: Sequence[Run], metric: str, *, across: bool = True, named: bool = True, reach: float = 1.0
) -> None:
    """Draws chance and BM25 as dashed lines with their names on them; call it after the data.

    A level so far off that drawing it would squeeze the data is named at the edge with an arrow instead.

    Args:
        axes: where.
        runs: the runs, which know the levels.
        metric: full name.
        across: the metric is on the y axis (else on the x axis).
        named: writes the names.
        reach: how far outside the data a level may lie and still be drawn, in widths of the data's range.
    """
    low, high = axes.get_ylim() if across else axes.get_xlim()
    margin = reach * (high - low)
    for name, level in reference_levels(runs, metric):
        label = f"{name} {text.number(level, 3 if level >= 0.01 else 4)}"
        if low - margin <= level <= high + margin:
            dashes: Any = (0, (1, 2)) if name == "chance" else (0, (5, 3))
            draw = axes.axhline if across else axes.axvline
            draw(level, color=INK, lw=1.0, ls=dashes, zorder=1)
            how = axes.get_yaxis_transform() if across else axes.get_xaxis_transform()
            where, side = ((0.01, level), "left") if across else ((level, 1.0), "center")
        else:
            arrows = "↓↑" if across else "←→"
            label = f"{arrows[int(level > high)]} {label}"
            right, top = across or level > high, across and level > high
            height = (0.92 if top else 0.01) if across else 1.0
            where, how = (0.99 if right else 0.01, height), axes.transAxes
            side = "right" if right else "left"
        if named:
            offset: Any = {"xytext": (0, 2), "textcoords": "offset points", "fontsize": 8, "color": INK}
            offset["bbox"] = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75}
            axes.annotate(label, xy=where, xycoords=how, ha=side, va="bottom", **offset)


def metric_label(metric: str) -> str:
    """Returns a metric as people write it: `full/mrr_10` -> `MRR@10 (full)`."""
    from twotower.evaluation.names import LABELS

    protocol, _, name = metric.rpartition("/")
    return f"{LABELS.get(name, name)} ({protocol})" if protocol else LABELS.get(name, name)
