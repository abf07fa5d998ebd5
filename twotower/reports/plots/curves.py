"""Learning curves: loss and metric by epoch, a colour per config, a thin line per seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from twotower.reports.plots import style
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run


@style.styled
def learning_curves(runs: Ledger, metric: str) -> Figure:
    """Draws training loss and a metric by epoch.

    Args:
        runs: any runs; unfinished ones end where they stopped.
        metric: full name (`full/mrr_10`).
    """
    shown = Ledger(run for run in runs.readable if run.history)
    if not shown:
        return style.empty_figure("No run has finished an epoch yet.")
    figure, axes = style.new_figure(1, 2, width=12.0, height=4.6)
    left, right = axes[0]
    names, colours = style.labels_of(shown), style.colours_of(shown, metric)
    _lines(left, shown, lambda item: item.get("train_loss"), colours)
    left.set_title("Training loss")
    ends = _lines(right, shown, lambda item: (item.get("metrics") or {}).get(metric), colours)
    right.set_title(style.metric_label(metric))
    style.draw_levels(right, shown, metric)
    named = [(x, y, names[group], colours[group]) for group, (x, y) in ends.items() if colours[group] != style.GREY]
    style.label_ends(right, named)
    grey = sum(colour == style.GREY for colour in colours.values())
    if grey:
        right.set_xlabel(f"epoch   (grey: {grey} more configs)")
    return figure


def _lines(
    axes: Axes, runs: Ledger, read: Callable[[dict[str, Any]], Any], colours: dict[str, str]
) -> dict[str, tuple[float, float]]:
    """Draws thin lines for seeds and their mean; returns each config's last point."""
    ends: dict[str, tuple[float, float]] = {}
    for group, members in sorted(runs.groups().items(), key=lambda pair: colours[pair[0]] != style.GREY):
        curves = [_points(run, read) for run in members]
        curves = [curve for curve in curves if len(curve)]
        for curve in curves if len(curves) > 1 else []:
            axes.plot(curve[:, 0], curve[:, 1], color=colours[group], lw=0.7, alpha=0.45)
        if not curves:
            continue
        mean = _mean(curves)
        front = colours[group] != style.GREY
        axes.plot(mean[:, 0], mean[:, 1], color=colours[group], lw=2.2 if front else 1.0, zorder=3 if front else 2)
        if len(mean) == 1:
            axes.plot(*mean[0], "o", color=colours[group])
        ends[group] = (float(mean[-1, 0]), float(mean[-1, 1]))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ends


def _points(run: Run, read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
    pairs = [(item["epoch"], read(item)) for item in run.history if read(item) is not None and "epoch" in item]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _mean(curves: list[np.ndarray]) -> np.ndarray:
    """Averages over seeds at the epochs that all of them reached."""
    common = sorted(set.intersection(*(set(curve[:, 0]) for curve in curves)))
    if not common:
        return max(curves, key=len)
    return np.array([[x, np.mean([curve[curve[:, 0] == x, 1][0] for curve in curves])] for x in common])
