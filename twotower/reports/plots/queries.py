"""Below the mean: on which queries two runs differ, and how far relevant pairs lie from random ones.

Shapes: Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.compare import differences
from twotower.reports.plots import style
from twotower.runs.ledger import Ledger
from twotower.runs.per_query import Paired, read_per_query
from twotower.runs.run import Run


@style.styled
def query_differences(paired: Paired, names: Sequence[str] = ("A", "B")) -> Figure:
    """Draws the per-query difference of the first two runs, sorted, beside where each query moved.

    Args:
        paired: the runs lined up by query.
        names: what to call them.
    """
    first_Q, second_Q = paired.values_RQ[:2]
    gap_Q = np.sort(first_Q - second_Q)[::-1]
    (pair,) = differences(
        Paired(
            metric=paired.metric,
            query_ids=paired.query_ids,
            queries=paired.queries,
            values_RQ=paired.values_RQ[:2],
            tables=paired.tables[:2],
        )
    )
    figure, axes = style.new_figure(1, 2, width=12.0, height=4.6, width_ratios=(3, 2))
    left, right = axes[0]
    share = (np.arange(len(gap_Q)) + 0.5) / len(gap_Q)
    left.fill_between(share, gap_Q, 0, where=gap_Q > 0, color=style.PALETTE[0], alpha=0.75, step="mid", lw=0)
    left.fill_between(share, gap_Q, 0, where=gap_Q < 0, color=style.PALETTE[1], alpha=0.75, step="mid", lw=0)
    left.axhline(0, color=style.INK, lw=0.8)
    left.axhline(pair.difference, color=style.INK, lw=1.2, ls=(0, (5, 3)))
    low, high = left.get_ylim()
    left.set_ylim(low - 0.2 * (high - low), high + 0.15 * (high - low))  # room for the words
    marks = (
        (f"{names[0]} better: {pair.wins}", 0.01, 0.97, style.PALETTE[0], "left"),
        (f"{names[1]} better: {pair.losses}", 0.99, 0.06, style.PALETTE[1], "right"),
        (f"equal: {pair.ties}", 0.01, 0.06, "#5F6368", "left"),
    )
    for label, x, y, colour, side in marks:
        left.text(x, y, label, transform=left.transAxes, color=colour, fontsize=9, ha=side, va="top")
    note = f"mean {text.number(pair.difference, 3)} [{text.number(pair.low, 3)}, {text.number(pair.high, 3)}]"
    left.set_title(f"Difference in {style.metric_label(paired.metric)} by query")
    left.set_xlabel(f"share of queries   ({note}, p = {pair.p_value:.4f})")
    left.set_xlim(0, 1)
    _movement(right, paired, names)
    return figure


def _movement(axes: Any, paired: Paired, names: Sequence[str]) -> None:
    """A table of rank classes: where the first relevant document stood in one run and in the other."""
    edges = ((1, "1"), (3, "2–3"), (10, "4–10"), (100, "11–100"), (10**9, ">100"))
    classes = []
    for table in paired.tables[:2]:
        ranks = table["first_relevant_rank"].fill_null(10**8).to_numpy()
        classes.append(np.searchsorted([edge for edge, _ in edges], ranks))
    counts = np.zeros((len(edges), len(edges)))
    np.add.at(counts, (classes[0], classes[1]), 1)
    axes.imshow(np.sqrt(counts), cmap="Blues", aspect="auto")
    for row, column in np.argwhere(counts > 0):
        dark = counts[row, column] > 0.35 * counts.max()
        colour = "white" if dark else style.INK
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=9, color=colour)
    labels = [name for _, name in edges]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(title="Queries by rank of the right answer", xlabel=f"rank in {names[1]}", ylabel=f"rank in {names[0]}")
    axes.grid(visible=False)


@style.styled
def score_histograms(runs: Sequence[Run], protocol: str = "full", *, most: int = 4) -> Figure:
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
    figure, axes = style.new_figure(len(drawn), 1, width=9.0, height=0.8 + 2.1 * len(drawn), sharex=True)
    values = np.concatenate([scores for _, series in drawn for _, scores in series])
    bins = np.linspace(values.min(), values.max() + 1e-9, 60)
    names = _names([run for run, _ in drawn])
    for panel, name_of_run, (_, series) in zip(axes[:, 0], names, drawn, strict=True):
        for (name, scores), colour in zip(series, (style.PALETTE[0], style.PALETTE[1]), strict=True):
            panel.hist(scores, bins=bins, density=True, color=colour, alpha=0.55, label=f"{name} ({len(scores)})")
            if len(scores):
                panel.axvline(float(np.median(scores)), color=colour, lw=1.6)
        above = _separation(series[0][1], series[1][1])
        panel.set_title(f"{name_of_run}: a relevant pair scores above the other in {above:.0%} of draws", fontsize=10)
        panel.set_yticks([])
        panel.legend(fontsize=8, loc="upper left")
    axes[-1, 0].set_xlabel("cosine similarity (lines: medians)")
    return figure


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
