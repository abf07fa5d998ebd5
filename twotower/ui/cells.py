"""What runs look like in the terminal app: cells, learning curves as one line, and a run's facts as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from twotower.core import format as text
from twotower.evaluation.names import label
from twotower.reports.table import STYLES, interval
from twotower.runs.run import Run

BARS = "▁▂▃▄▅▆▇█"
VERDICTS = {"BETTER": "bold green", "ABOVE": "green", "NOT": "yellow", "BELOW": "red", "AT": "magenta"}
"""Colour of a verdict by its first word; the words stand beside it, so nothing hangs on the colour."""
SIGNS = {"BETTER": "> BM25", "NOT DIST": "≈ BM25", "BELOW": "< BM25", "ABOVE": "> chance", "AT": "≈ chance"}
"""A verdict as a sign, by its first letters."""
LEVELS = ("value", "interval", "chance", "bm25", "untrained", "hybrid")
"""Columns of the table of metrics; those that a run's record lacks are left out."""


def curve(values: Sequence[float], width: int = 12) -> str:
    """Returns numbers as one line of bars, the lowest one eighth high; more than `width` are thinned evenly."""
    if not values:
        return ""
    if len(values) > width:
        values = [values[round(place * (len(values) - 1) / (width - 1))] for place in range(width)]
    low, high = min(values), max(values)
    if high == low:
        return BARS[3] * len(values)
    return "".join(BARS[int((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def history(run: Run, name: str) -> list[float]:
    """Returns a metric's numbers by epoch, those of epochs that lack it left out."""
    values = [item.get(name, (item.get("metrics") or {}).get(name)) for item in run.history]
    return [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]


def verdict(run: Run, width: int | None = None) -> Text:
    """Returns a run's verdict in its colour, cut to `width` characters."""
    words = text.visible(" ".join(run.verdict.split()))
    if width is not None and len(words) > width:
        words = words[: width - 1] + "…"
    return Text(words, colour(words))


def colour(verdict: str) -> str:
    """Returns the style of a verdict."""
    return VERDICTS.get(verdict.partition(" ")[0], "")


def short_verdict(run: Run) -> Text:
    """Returns a run's verdict as a sign for narrow terminals, or how a run without one stands."""
    words = run.verdict
    sign = next((sign for start, sign in SIGNS.items() if words.startswith(start)), "")
    return Text(sign, colour(words)) if sign else status(run)


def status(run: Run) -> Text:
    """Returns a run's status in its colour."""
    return Text(run.status, STYLES[run.status])


def metrics_table(run: Run) -> RenderableType:
    """Returns every metric of the final evaluation with its interval, chance, BM25 and the other levels recorded."""
    evaluation = run.record.get("evaluation") or {}
    parts: list[RenderableType] = []
    for protocol, part in evaluation.items():
        if not isinstance(part, dict) or not part.get("metrics"):
            continue
        parts.append(_protocol(run, protocol, part))
    return Group(*parts) if parts else Text("Not evaluated to the end.", "yellow")


def _protocol(run: Run, protocol: str, part: dict[str, Any]) -> Table:
    pool = part.get("pool") or {}
    size = f", {pool['mean_size']:,.0f} candidates" if isinstance(pool.get("mean_size"), (int, float)) else ""
    table = Table(title=f"{protocol}{size}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    shown = [name for name in LEVELS if any(_level(run, protocol, metric, name) for metric in part["metrics"])]
    table.add_column("metric")
    for name in shown:
        table.add_column({"bm25": "BM25", "interval": "95 %"}.get(name, name), justify="right")
    objective = (run.objective or "").partition("/")[2]
    for metric in part["metrics"]:
        cells = [_level(run, protocol, metric, name) for name in shown]
        table.add_row(Text(label(metric)), *cells, style="bold" if metric == objective else "")
    return table


def _level(run: Run, protocol: str, metric: str, name: str) -> str:
    score = run.final_score(f"{protocol}/{metric}")
    if score is None:
        return ""
    if name == "interval":
        return interval(score)
    entry = ((run.record["evaluation"].get(protocol) or {}).get("metrics") or {}).get(metric) or {}
    value = entry.get(name)
    return f"{value:.4f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def curves(run: Run, width: int = 40) -> Table:
    """Returns the learning curves of a run: one line a metric, with its first, best and last number."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for heading in ("", "by epoch", "first", "lowest", "highest", "last"):
        table.add_column(heading, justify="left" if heading in ("", "by epoch") else "right")
    measured = (name for item in run.history for name in item.get("metrics") or {})
    names = dict.fromkeys(["train_loss", "train_accuracy", str(run.objective), *measured])
    for name in names:
        values = history(run, name)
        if values:
            numbers = [f"{value:.4f}" for value in (values[0], min(values), max(values), values[-1])]
            table.add_row(Text(name), Text(curve(values, width), "cyan"), *numbers)
    return table


def facts(run: Run) -> Table:
    """Returns what a run was: its folder, choices, what was set by hand, time, size, and the command to repeat it."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    data = run.record.get("data") or {}
    rows = {
        "folder": str(run.path),
        "data": str(data.get("name") or ""),
        "choices": "  ".join(f"{key}={value}" for key, value in run.choices.items()),
        "set by hand": "  ".join(str(item) for item in run.record.get("overrides") or []),
        "seed": str(run.seed),
        "epochs": str(run.epochs),
        "time": text.duration(run.seconds),
        "size": text.size(run.bytes),
        "config hash": str(run.record.get("config_hash") or ""),
        "run again": f"{text.program()} rerun {run.path}",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(text.visible(value)))
    return table
