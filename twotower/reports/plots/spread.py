"""How sure is it, and at what price: seeds with intervals, and quality against time, speed and size."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from twotower.core import format as text
from twotower.reports.plots import style
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

Point = tuple[float, float, Run]
"""A run with its cost and its quality."""

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
    points = [
        [(float(cost), run.scores[metric].value, run) for run in shown if (cost := entry[1](run))] for entry in known
    ]
    fronts = [unbeaten(places, larger=entry[2]) for places, entry in zip(points, known, strict=True)]
    order = sorted({run.group: value for front in fronts for _, value, run in front}.items(), key=lambda item: -item[1])
    numbers = {group: number for number, (group, _) in enumerate(order, start=1)}
    figure, axes = style.new_figure(
        1, len(known), width=4.2 * max(len(known), 2), height=4.4 + 0.2 * len(numbers), sharey=True
    )
    for number, (panel, (title, _, _)) in enumerate(zip(axes[0], known, strict=True)):
        _cost(panel, points[number], fronts[number], numbers)
        panel.set_xlabel(title)
        style.draw_levels(panel, shown, metric, named=number == 0)
    axes[0, 0].set_ylabel(style.metric_label(metric))
    figure.suptitle(
        "Quality against cost; numbered: no other is both better and cheaper", x=0.01, ha="left", fontsize=11
    )
    names = style.labels_of(shown)
    lines = [f"{number}  {names[group]}" for group, number in numbers.items()]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=9)
    return figure


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


def _cost(axes: Axes, points: list[Point], front: list[Point], numbers: dict[str, int]) -> None:
    leading = {id(run) for _, _, run in front}
    for value, quality, run in points:
        if id(run) not in leading:
            axes.plot(value, quality, "o", ms=5, color=style.PALETTE[0], zorder=3)
    axes.plot([p[0] for p in front], [p[1] for p in front], color=style.PALETTE[1], lw=1.0, alpha=0.6, zorder=1)
    for value, quality, run in front:
        axes.plot(value, quality, "o", ms=13, color=style.PALETTE[1], mec="white", zorder=4)
        axes.annotate(
            str(numbers[run.group]), (value, quality), ha="center", va="center", fontsize=8, color="white", zorder=5
        )
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    axes.margins(x=0.12, y=0.12)
    wide = high > 20 * low
    if wide:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    elif high - low < 0.01 * high:  # all the same but for a few bytes
        axes.set_xlim(0.9 * low, 1.1 * high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)) if wide else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def encode_speed(run: Run) -> float | None:
    """Returns how many documents a second the run encoded, where its record says so."""
    return (run.record.get("timings") or {}).get("encode_documents_per_second")


def index_bytes(run: Run) -> int | None:
    """Returns the bytes of the run's index files by its record, None without an index."""
    sizes = [item.get("bytes") or 0 for item in run.record.get("artefacts") or [] if item.get("kind") == "index"]
    return sum(sizes) or None
