"""How sure is it, and at what price: seeds with intervals, and quality against time, speed and size."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twotower.runs import text
from twotower.runs.ledger import Ledger
from twotower.runs.plots import style
from twotower.runs.run import Run

MOST_CONFIGS = 30
"""Configs drawn in the picture of seeds; the best."""


@style.styled
def seed_spread(runs: Ledger, metric: str) -> Figure:
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
    most = max(spreads[group].runs for group in order)
    figure, axes = style.new_figure(width=10.0, height=1.4 + min(0.6, 0.2 + 0.12 * most) * len(order))
    panel = axes[0, 0]
    for row, group in enumerate(order):
        _row(panel, row, groups[group], metric)
        spread = spreads[group]
        panel.plot(spread.mean, row, "D", color=style.PALETTE[1], ms=7, zorder=4)
        deviation = f" ± {text.number(spread.deviation, 3)}" if spread.deviation is not None else ""
        panel.annotate(
            f"{text.number(spread.mean, 3)}{deviation}  (n={spread.runs})",
            (1.01, row),
            xycoords=panel.get_yaxis_transform(),
            va="center",
            fontsize=9,
        )
    panel.set_yticks(range(len(order)), [names[group] for group in order])
    panel.set_ylim(len(order) - 0.4, -0.6)
    panel.set_xlabel(style.metric_label(metric) + (f"   ({hidden} poorer configs not drawn)" if hidden > 0 else ""))
    panel.grid(axis="y", visible=False)
    style.draw_levels(panel, shown, metric, across=False)
    title = "Runs with 95 % intervals over queries; diamonds: mean over seeds"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _row(axes: Axes, row: int, members: Ledger, metric: str) -> None:
    count = len(members)
    for number, run in enumerate(sorted(members, key=lambda run: run.seed or 0)):
        score = run.scores[metric]
        place = row + (0.26 * (2 * number / (count - 1) - 1) if count > 1 else 0.0)
        if score.low is not None and score.high is not None:
            axes.plot([score.low, score.high], [place, place], color=style.PALETTE[0], lw=1.6, alpha=0.45)
        axes.plot(score.value, place, "o", color=style.PALETTE[0], ms=4.5, zorder=3)


@style.styled
def quality_against_cost(runs: Ledger, metric: str) -> Figure:
    """Draws the metric against training time, encoding speed and index size, with the runs nothing beats named.

    Args:
        runs: any runs; those that ended are drawn.
        metric: full name.
    """
    shown = Ledger(run for run in runs.ended if metric in run.scores)
    costs: list[tuple[str, Callable[[Run], float | None], bool]] = [
        ("training time (s)", lambda run: (run.record.get("timings") or {}).get("fit_seconds"), False),
        ("documents encoded per second", encode_speed, True),
        ("index (MB)", lambda run: (size := index_bytes(run)) and size / 1e6, False),
    ]
    known = [entry for entry in costs if any(entry[1](run) for run in shown)]
    if not known:
        return style.empty_figure("No finished run knows its cost.")
    figure, axes = style.new_figure(1, len(known), width=4.2 * max(len(known), 2), height=4.4, sharey=True)
    names = style.labels_of(shown)
    for panel, (title, read, larger) in zip(axes[0], known, strict=True):
        _cost(panel, shown, metric, read, larger, names)
        panel.set_xlabel(title)
    for number, panel in enumerate(axes[0]):
        style.draw_levels(panel, shown, metric, named=number == 0)
    axes[0, 0].set_ylabel(style.metric_label(metric))
    figure.suptitle("Quality against cost; named: no other is both better and cheaper", x=0.01, ha="left", fontsize=11)
    return figure


def _cost(
    axes: Axes, runs: Ledger, metric: str, read: Callable[[Run], float | None], larger: bool, names: dict[str, str]
) -> None:
    points = [(float(cost), run.scores[metric].value, run) for run in runs if (cost := read(run))]
    sign = -1.0 if larger else 1.0
    front, highest = [], float("-inf")
    for cost, value, run in sorted(points, key=lambda point: (sign * point[0], -point[1])):
        if value > highest:
            highest = value
            front.append((cost, value, run))
    best = {id(run) for _, _, run in front}
    for cost, value, run in points:
        leading = id(run) in best
        axes.plot(
            cost,
            value,
            "o",
            ms=8 if leading else 5,
            color=style.PALETTE[1 if leading else 0],
            zorder=4 if leading else 3,
        )
    axes.plot([p[0] for p in front], [p[1] for p in front], color=style.PALETTE[1], lw=1.0, alpha=0.6, zorder=1)
    if max(p[0] for p in points) > 20 * min(p[0] for p in points):
        axes.set_xscale("log")
    axes.margins(x=0.22, y=0.12)
    middle = sum(axes.get_xlim()) / 2
    for cost, value, run in _one_per_config(front):
        left = cost > middle
        axes.annotate(
            names[run.group],
            (cost, value),
            xytext=(-8 if left else 8, 7),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=8,
        )


def _one_per_config(front: list[tuple[float, float, Run]]) -> list[tuple[float, float, Run]]:
    highest = {run.group: (cost, value, run) for cost, value, run in front}
    return list(highest.values())


def encode_speed(run: Run) -> float | None:
    """Returns how many documents a second the run encoded, where its record says so."""
    return (run.record.get("timings") or {}).get("encode_documents_per_second")


def index_bytes(run: Run) -> int | None:
    """Returns the bytes of the run's index files by its record, None without an index."""
    sizes = [item.get("bytes") or 0 for item in run.record.get("artefacts") or [] if item.get("kind") == "index"]
    return sum(sizes) or None
