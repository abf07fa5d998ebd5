"""How the pictures look: a palette that colour-blind readers can tell apart, quiet axes, light and dark.

A picture is an Altair chart: a Vega-Lite description with its data, drawn by a notebook, by the report's page, or by
vl-convert into a file. Words, rules and ticks without a colour of their own take the theme's ink.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeAlias

import altair as alt

from twotower.core import format as text
from twotower.evaluation.names import LABELS
from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import Ledger
from twotower.runs.run import Run

P = ParamSpec("P")
Picture: TypeAlias = alt.TopLevelMixin
"""What every drawing function returns."""
Row: TypeAlias = dict[str, Any]
"""One datum of a chart; `run` holds the folder of the run it belongs to, which the report opens on a click."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B6FD0", "#A8843C")
"""Okabe and Ito's colours (2008) without black and yellow, and two more; told apart with every colour vision."""

GREY = "#9AA0A6"
"""What stays in the background."""

LABEL = 44
"""Characters of a config's name in a picture; what is cut off stands in the tables."""

EMPTY = "empty"
"""Name of a chart that only says why there is nothing to see."""

WIDTH, HEIGHT = 420, 260
"""Pixels of a panel where there are two beside each other."""


def theme(*, dark: bool = False) -> dict[str, Any]:
    """Returns the Vega-Lite config of all pictures."""
    ink, soft, line = ("#e8eaed", "#9aa0a6", "#3c4043") if dark else ("#202124", "#5f6368", "#e8eaed")
    return {
        "background": "transparent" if dark else "white",
        "font": "system-ui, 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": soft,
            "titleColor": soft,
            "titleFontWeight": "normal",
            "gridColor": line,
            "domainColor": soft,
            "tickColor": soft,
            "labelLimit": 260,
        },
        "legend": {
            "labelColor": ink,
            "titleColor": soft,
            "labelLimit": 320,
            "symbolLimit": 40,
            "symbolOpacity": 1,
            "orient": "bottom",
        },
        "title": {"color": ink, "subtitleColor": soft, "anchor": "start", "fontSize": 13, "subtitleFontSize": 11},
        "text": {"color": ink, "fontSize": 10},
        "rule": {"color": ink},
        "tick": {"color": ink},
    }


def library() -> str:
    """Returns the script that draws the pictures in a page (Vega, Vega-Lite, Vega-Embed), safe within a script tag."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def styled(draw: Callable[P, Picture]) -> Callable[P, Picture]:
    """Decorates a drawing function: its chart carries the light theme, which the report's page replaces by its own."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **keys: P.kwargs) -> Picture:
        chart: Any = draw(*args, **keys)
        chart.config = alt.Config.from_dict(theme())
        return chart  # type: ignore[no-any-return]

    return wrapper


def chart_of(rows: Iterable[Row]) -> alt.Chart:
    """Returns a chart over rows, without its marks."""
    return alt.Chart(alt.InlineData(values=list(rows)))


@styled
def empty_figure(message: str) -> Picture:
    """Returns a picture that says why there is nothing to see."""
    words = chart_of([{"message": message}]).mark_text(align="left", x=0, fontSize=12)
    words = words.encode(text="message:N")
    empty: Picture = words.properties(width=WIDTH, height=24, description=message, name=EMPTY)
    return empty


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


def colour_scale(names: dict[str, str], colours: dict[str, str]) -> alt.Color:
    """Returns the colour of a config with its legend: those with a colour of their own, best first."""
    groups = [group for group in colours if group in names]
    legend = [names[group] for group in groups if colours[group] != GREY]
    scale = alt.Scale(domain=[names[group] for group in groups], range=[colours[group] for group in groups])
    columns = 1 if any(len(name) > LABEL / 2 for name in legend) else 4
    return alt.Color("config:N", scale=scale, legend=alt.Legend(title=None, values=legend, columns=columns))


def span(values: Iterable[float], *, least: float = 0.04, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Returns the ends of an axis around values: a margin, and at least `least` wide, so that one value has a scale.

    Args:
        values: what is to be seen.
        least: the least width.
        low: the lowest end there can be.
        high: the highest end there can be.
    """
    known = list(values) or [low]
    bottom, top = min(known), max(known)
    room = max(0.06 * (top - bottom), (least - (top - bottom)) / 2)
    return max(low, bottom - room), min(high, top + room)


def reference_levels(runs: Sequence[Run], metric: str) -> list[tuple[str, float]]:
    """Returns the chance and BM25 level of a metric where all runs agree on them."""
    scores = [run.scores[metric] for run in runs if metric in run.scores]
    levels = []
    for name, values in (("chance", [s.chance for s in scores]), ("BM25", [s.bm25 for s in scores])):
        known = [value for value in values if value is not None]
        if known and max(known) - min(known) < 1e-6:
            levels.append((name, known[0]))
    return levels


def scale_of(
    runs: Sequence[Run], metric: str, values: Iterable[float]
) -> tuple[tuple[float, float], list[Row], list[str]]:
    """Returns the ends of a metric's axis, the levels drawn in it, and notes on those too far off to be drawn.

    A level is drawn where it does not squeeze what is measured into less than half of the axis.

    Args:
        runs: the runs, which know the levels.
        metric: full name.
        values: the measured ones.
    """
    low, high = span(values)
    reach = high - low
    drawn: list[Row] = []
    notes: list[str] = []
    ends = [low, high]
    for name, level in reference_levels(runs, metric):
        label = f"{name} {text.number(level, 3 if level >= 0.01 else 4)}"
        if low - reach <= level <= high + reach:
            drawn.append({"level": level, "label": label, "kind": name})
            ends += [level - 0.02 * reach, level + 0.04 * reach]
        else:
            notes.append(f"{'↓' if level < low else '↑'} {label}")
    return (max(0.0, min(ends)), min(1.0, max(ends))), drawn, notes


def draw_levels(rows: list[Row], *, across: bool = True, named: bool = True) -> list[alt.Chart]:
    """Returns chance and BM25 as dashed lines with their names on them, as layers.

    Args:
        rows: as `scale_of` returns them.
        across: the metric is on the y axis (else on the x axis).
        named: writes the names.
    """
    if not rows:
        return []
    base = chart_of(rows)
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=["chance", "BM25"], range=[[1, 3], [6, 4]]), legend=None)
    if across:
        lines = base.mark_rule(opacity=0.7).encode(y="level:Q", strokeDash=dash)
        names = base.mark_text(align="left", dy=-6, x=4).encode(y="level:Q", text="label:N")
    else:
        lines = base.mark_rule(opacity=0.7).encode(x="level:Q", strokeDash=dash)
        names = base.mark_text(align="left", baseline="top", dx=3, y=1).encode(x="level:Q", text="label:N")
    return [lines, names] if named else [lines]


def title(words: str, notes: Sequence[str] = ()) -> alt.TitleParams:
    """Returns a panel's title with notes below it."""
    return alt.TitleParams(words, subtitle=[note for note in notes if note])


def facts(run: Run, names: dict[str, str]) -> Row:
    """Returns what every datum of a run says when it is pointed at."""
    return {"run": str(run.path), "name": run.name, "config": names.get(run.group, run.name), "seed": run.seed}


def metric_label(metric: str) -> str:
    """Returns a metric as people write it: `full/mrr_10` -> `MRR@10 (full)`."""
    protocol, _, name = metric.rpartition("/")
    return f"{LABELS.get(name, name)} ({protocol})" if protocol else LABELS.get(name, name)
