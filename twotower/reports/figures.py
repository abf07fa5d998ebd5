"""Which pictures a report has, and the runs they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twotower.core.errors import UserError
from twotower.runs.ledger import Ledger
from twotower.runs.per_query import pair
from twotower.runs.run import Run

if TYPE_CHECKING:
    from twotower.reports.plots.style import Picture


def charts(runs: Ledger, metric: str) -> list[tuple[str, dict[str, Any] | str]]:
    """Returns the title of every picture with its chart, or with why there is none."""
    from twotower.reports.plots.style import EMPTY

    drawn: list[tuple[str, dict[str, Any] | str]] = []
    for title, draw in pictures(runs, metric):
        try:
            chart = draw().to_dict()
            if chart.get("name") == EMPTY:
                raise UserError(chart["description"])
            chart.pop("config", None)  # the page has its own, light and dark
            drawn.append((title, chart))
        except UserError as error:
            drawn.append((title, str(error)))
    return drawn


def pictures(runs: Ledger, metric: str) -> list[tuple[str, Callable[[], Picture]]]:
    """Returns the titles of all pictures of a report, each with the function that draws it."""
    from twotower.reports.plots import curves, effects, queries, spread

    best = leaders(runs, metric, most=3)
    figures: list[tuple[str, Callable[[], Picture]]] = [
        ("Seeds and intervals", lambda: spread.seed_spread(runs, metric)),
        ("Learning curves", lambda: curves.learning_curves(runs, metric)),
        ("Hyper-parameters one by one", lambda: effects.main_effects(runs, metric)),
        ("Hyper-parameters in pairs", lambda: effects.interactions(runs, metric)),
        ("All hyper-parameters at once", lambda: effects.parallel_coordinates(runs, metric)),
        ("Quality against cost", lambda: spread.quality_against_cost(runs, metric)),
    ]
    if len(best) > 1:
        names = [name_of(run, runs) for run in best]
        figures.append(
            ("Best against next, by query", lambda: queries.query_differences(pair(best[:2], metric), names[:2]))
        )
    if best:
        protocol = metric.partition("/")[0]
        figures.append(("Scores of pairs", lambda: queries.score_histograms(best, protocol, most=3)))
    return figures


def leaders(runs: Ledger, metric: str, most: int = 6) -> Ledger:
    """Returns the best run of each of the best configs, as far as they have per-query scores of the same data."""
    firsts: dict[str, Run] = {}
    for run in runs.ended.sorted(metric):
        if metric in run.scores and (run.path / "per_query.parquet").is_file():
            firsts.setdefault(run.group, run)
    first = next(iter(firsts.values()), None)
    same = [run for run in firsts.values() if first is not None and run.data_key == first.data_key]
    return Ledger(same[:most])


def name_of(run: Run, runs: Ledger) -> str:
    """Returns what a report calls a run: what differs in its config, and its seed."""
    from twotower.reports.plots.style import labels_of

    label = labels_of(runs).get(run.group, run.name)
    return f"{label}, seed {run.seed}" if run.seed is not None else label
