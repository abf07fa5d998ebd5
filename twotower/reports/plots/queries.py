"""Below the mean: on which queries two runs differ, and how far relevant pairs lie from random ones.

Shapes: Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.compare import differences
from twotower.reports.plots import style
from twotower.reports.plots.style import Picture, Row
from twotower.runs.ledger import Ledger
from twotower.runs.per_query import Paired, read_per_query
from twotower.runs.run import Run

MOST_QUERIES = 1500
"""Queries drawn one by one; of more, evenly many along the order."""
LONGEST = 80
"""Characters of a query when it is pointed at."""
EDGES = ((1, "1"), (3, "2–3"), (10, "4–10"), (100, "11–100"), (10**9, "later"))
"""Classes of ranks: the last rank of each, and its name; what was not found at all comes later too."""
BINS = 60


@style.styled
def query_differences(paired: Paired, names: Sequence[str] = ("A", "B")) -> Picture:
    """Draws the per-query difference of the first two runs, sorted, beside where each query moved.

    Args:
        paired: the runs lined up by query.
        names: what to call them.
    """
    gap_Q = paired.values_RQ[0] - paired.values_RQ[1]
    order_Q = np.argsort(-gap_Q, kind="stable")
    first_two = Paired(
        metric=paired.metric,
        query_ids=paired.query_ids,
        queries=paired.queries,
        values_RQ=paired.values_RQ[:2],
        tables=paired.tables[:2],
    )
    (pair,) = differences(first_two)
    label = style.metric_label(paired.metric)
    mean = f"mean {text.number(pair.difference, 3)} [{text.number(pair.low, 3)}, {text.number(pair.high, 3)}]"
    p = f"{mean}, p = {pair.p_value:.4f}"
    counts = f"{names[0]} better: {pair.wins}; {names[1]} better: {pair.losses}; equal: {pair.ties}"
    left = _sorted_gaps(paired, gap_Q, order_Q, names, pair.difference).properties(
        width=520,
        height=280,
        title=style.title(f"Difference in {label} by query", [counts, p]),
    )
    return alt.concat(left, _movement(paired, names), columns=2).properties(
        description=f"Difference in {label} by query: {counts}; {p}."
    )


def _sorted_gaps(paired: Paired, gap_Q: np.ndarray, order_Q: np.ndarray, names: Sequence[str], mean: float) -> Any:
    places = np.unique(np.linspace(0, len(gap_Q) - 1, min(len(gap_Q), MOST_QUERIES)).astype(int))
    step = 1 / len(places)
    rows = [
        {
            "from": round(number * step, 5),
            "to": round((number + 1) * step, 5),
            "gap": round(float(gap_Q[order_Q[place]]), 4),
            "query": text.shortened(str(paired.queries[order_Q[place]]), LONGEST),
        }
        for number, place in enumerate(places)
    ]
    better = alt.condition("datum.gap > 0", alt.value(style.PALETTE[0]), alt.value(style.PALETTE[1]))
    x = alt.X("from:Q", title="share of queries", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(grid=False, format="%"))
    y = alt.Y("gap:Q", title=f"{names[0]} − {names[1]}")
    bars = style.chart_of(rows).mark_bar(opacity=0.8).encode(x=x, x2="to:Q", y=y, y2=alt.datum(0), color=better)
    bars = bars.encode(tooltip=["query:N", alt.Tooltip("gap:Q", format="+.3f")])
    line = style.chart_of([{"gap": mean}]).mark_rule(opacity=0.7, strokeDash=[6, 4]).encode(y="gap:Q")
    return alt.layer(bars, line)


def _movement(paired: Paired, names: Sequence[str]) -> Any:
    """A table of rank classes: where the first relevant document stood in one run and in the other."""
    classes = []
    for table in paired.tables[:2]:
        ranks = table["first_relevant_rank"].fill_null(10**8).to_numpy()
        classes.append(np.searchsorted([edge for edge, _ in EDGES], ranks))
    counts = np.zeros((len(EDGES), len(EDGES)), dtype=int)
    np.add.at(counts, (classes[0], classes[1]), 1)
    labels = [name for _, name in EDGES]
    rows = [
        {"first": labels[row], "second": labels[column], "queries": int(counts[row, column])}
        | {"shade": float(counts[row, column]) ** 0.5, "dark": bool(counts[row, column] > 0.3 * counts.max())}
        for row, column in np.argwhere(counts > 0)
    ]
    quiet = alt.Axis(grid=False, labelAngle=0)
    x = alt.X("second:N", sort=labels, scale=alt.Scale(domain=labels), title=f"rank in {names[1]}", axis=quiet)
    y = alt.Y("first:N", sort=labels, scale=alt.Scale(domain=labels), title=f"rank in {names[0]}", axis=quiet)
    colour = alt.Color("shade:Q", scale=alt.Scale(scheme="blues", domainMin=0), legend=None)
    base = style.chart_of(rows).encode(x=x, y=y, tooltip=["first:N", "second:N", "queries:Q"])
    ink = alt.condition("datum.dark", alt.value("#ffffff"), alt.value("#202124"))
    layers = base.mark_rect().encode(color=colour), base.mark_text().encode(text="queries:Q", color=ink)
    return alt.layer(*layers).properties(width=260, height=280, title="Queries by rank of the right answer")


@style.styled
def score_histograms(runs: Sequence[Run], protocol: str = "full", *, most: int = 4) -> Picture:
    """Draws the similarity of relevant pairs against that of random pairs, a panel per run.

    A model that has learnt holds the two apart; a collapsed one puts them on top of each other. Records without
    random pairs are drawn with what they have: right answers among the ten best, against the hits ranked tenth.

    Args:
        runs: the runs; those without per-query scores are passed over.
        protocol: full or rerank.
        most: panels.
    """
    drawn: list[tuple[Run, list[tuple[str, np.ndarray]]]] = []
    for run in runs:
        if len(drawn) == most:
            break
        try:
            drawn.append((run, pair_scores(read_per_query(run, protocol))))
        except UserError:
            continue
    if not drawn:
        return style.empty_figure(f"No run has per-query scores under '{protocol}'.")
    values = np.concatenate([scores for _, series in drawn for _, scores in series])
    edges = np.linspace(values.min(), values.max() + 1e-9, BINS)
    names = _names([run for run, _ in drawn])
    panels, sentences = [], []
    for name, (_, series) in zip(names, drawn, strict=True):
        above = _separation(series[0][1], series[1][1])
        words = f"{name}: a relevant pair scores above the other in {above:.0%} of draws"
        sentences.append(words)
        panels.append(_histogram(series, edges).properties(title=words, width=640, height=110))
    return alt.concat(*panels, columns=1).properties(description="Scores of pairs. " + "; ".join(sentences) + ".")


def _histogram(series: list[tuple[str, np.ndarray]], edges: np.ndarray) -> Any:
    rows: list[Row] = []
    lines: list[Row] = []
    for name, scores in series:
        counts, _ = np.histogram(scores, bins=edges)
        share = counts / max(1, counts.sum())
        rows += [
            {
                "kind": name,
                "pairs": len(scores),
                "from": float(edges[place]),
                "to": float(edges[place + 1]),
                "share": float(share[place]),
            }
            for place in np.flatnonzero(counts)
        ]
        lines += [{"kind": name, "median": float(np.median(scores))}] if len(scores) else []
    kinds = [name for name, _ in series]
    colour = alt.Color(
        "kind:N", scale=alt.Scale(domain=kinds, range=list(style.PALETTE[:2])), legend=alt.Legend(title=None)
    )
    scale = alt.Scale(domain=[float(edges[0]), float(edges[-1])], nice=False)
    x = alt.X("from:Q", title="cosine similarity (lines: medians)", scale=scale)
    tips = ["kind:N", "pairs:Q", alt.Tooltip("from:Q", format=".3f"), alt.Tooltip("share:Q", format=".1%")]
    y = alt.Y("share:Q", axis=None, stack=None)
    bars = (
        style.chart_of(rows)
        .mark_bar(opacity=0.55)
        .encode(x=x, x2="to:Q", y=y, y2=alt.datum(0), color=colour, tooltip=tips)
    )
    rules = (
        style.chart_of(lines)
        .mark_rule(strokeWidth=2)
        .encode(x="median:Q", color=colour, tooltip=["kind:N", "median:Q"])
    )
    return alt.layer(bars, rules)


def _names(runs: Sequence[Run]) -> list[str]:
    """Names runs by what differs between them, their seeds too where a config has several."""
    groups = [run.group for run in runs]
    labels = style.labels_of(Ledger(runs))
    return [labels[run.group] + (f", seed {run.seed}" if groups.count(run.group) > 1 else "") for run in runs]


def pair_scores(table: Any) -> list[tuple[str, np.ndarray]]:
    """Returns two named series of similarities from a per-query table: relevant pairs, and what to hold them against.

    Args:
        table: one protocol's rows; columns relevant_score and random_score are used where present.
    """
    if {"relevant_score", "random_score"} <= set(table.column_names):
        pairs = (("relevant pairs", table["relevant_score"]), ("random pairs", table["random_score"]))
        return [(name, column.drop_null().to_numpy().astype(np.float64)) for name, column in pairs]
    ranks, scores = table["first_relevant_rank"].to_pylist(), table["top_scores"].to_pylist()
    ranked = [(rank, row) for rank, row in zip(ranks, scores, strict=True) if row]
    right = [row[rank - 1] for rank, row in ranked if rank is not None and rank <= len(row)]
    tenth = [row[-1] for rank, row in ranked if rank != len(row)]
    return [("right answers in the top ten", np.array(right)), ("hits ranked last of ten", np.array(tenth))]


def _separation(first: np.ndarray, second: np.ndarray) -> float:
    """The share of pairs (one of each) in which the first is larger; ties count half."""
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left") + np.searchsorted(ordered, first, side="right")
    return float(below.sum() / (2 * len(first) * len(second)))
