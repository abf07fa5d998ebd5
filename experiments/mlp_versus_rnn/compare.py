"""Averages each condition's runs over their seeds, tests the conditions query by query, and draws them.

    python experiments/mlp_versus_rnn/compare.py multirun/mlp_versus_rnn

Shapes: C conditions, S seeds, Q queries.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from twotower.core.files import write_json
from twotower.evaluation.statistics import bootstrap_interval
from twotower.reports.compare import differences
from twotower.reports.plots.queries import pair_scores
from twotower.reports.plots.style import GREY, PALETTE
from twotower.runs.ledger import load
from twotower.runs.per_query import Paired, pair
from twotower.runs.run import Run

METRIC = "full/mrr_10"
CONDITIONS = {"gru_pad_step": "GRU read at a\npad step", "gru": "GRU read\nproperly", "mlp": "MLP"}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition: its runs' means by seed [S], and per query their mean over seeds [Q]."""

    name: str
    means_S: np.ndarray
    values_Q: np.ndarray
    bm25: float
    chance: float
    untrained: float
    scores: list[tuple[str, np.ndarray]]
    seconds: float


def main() -> None:
    """Reads the sweep's folder, prints the table and the tests, writes picture.png and result.json beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    conditions, paired = read(options.sweep)
    tested = differences(
        Paired(
            metric=METRIC,
            query_ids=paired.query_ids,
            queries=paired.queries,
            values_RQ=np.stack([condition.values_Q for condition in conditions]),
            tables=[],
        )
    )
    result = {"metric": METRIC, "queries": len(paired.query_ids), "conditions": [], "differences": []}
    for condition in conditions:
        interval = bootstrap_interval(condition.values_Q[:, None])
        result["conditions"].append(
            {
                "condition": condition.name,
                "seeds": [round(float(mean), 4) for mean in condition.means_S],
                **{key: round(float(getattr(interval, key)[0]), 4) for key in ("mean", "low", "high")},
                "untrained": round(condition.untrained, 4),
                "median_relevant_score": round(float(np.median(condition.scores[0][1])), 3),
                "median_random_score": round(float(np.median(condition.scores[1][1])), 3),
                "fit_seconds": round(condition.seconds, 1),
            }
        )
    for gap in tested:
        result["differences"].append(
            {
                "pair": f"{conditions[gap.second].name} - {conditions[gap.first].name}",
                "difference": round(-gap.difference, 4),
                "low": round(-gap.high, 4),
                "high": round(-gap.low, 4),
                "p_holm": round(gap.p_holm, 4),
            }
        )
    result |= {"bm25": round(conditions[0].bm25, 4), "chance": round(conditions[0].chance, 4)}
    write_json(options.out / "result.json", result)
    draw(conditions, result).savefig(options.out / "picture.png", dpi=110)
    for line in [*result["conditions"], *result["differences"]]:
        print(line)


def read(sweep: str) -> tuple[list[Condition], Paired]:
    """Returns the conditions of a sweep, each with the mean of its seeds, and all its runs lined up by query."""
    runs = [run for run in load(sweep).ended if str(run.choices.get("experiment", "")).startswith("mlp_versus_rnn/")]
    paired = pair(runs, METRIC)
    names = [str(run.choices["experiment"]).partition("/")[2] for run in runs]
    found = []
    for name in CONDITIONS:
        mine = sorted((at for at, other in enumerate(names) if other == name), key=lambda at: runs[at].seed or 0)
        figures = runs[mine[0]].final_score(METRIC)
        assert figures is not None
        found.append(
            Condition(
                name=name,
                means_S=paired.values_RQ[mine].mean(axis=1),
                values_Q=paired.values_RQ[mine].mean(axis=0),
                bm25=float(figures.bm25 or 0),
                chance=float(figures.chance or 0),
                untrained=float(np.mean([_untrained(runs[at]) for at in mine])),
                scores=_together([pair_scores(paired.tables[at]) for at in mine]),
                seconds=float(np.mean([runs[at].record["timings"]["fit_seconds"] for at in mine])),
            )
        )
    return found, paired


def _untrained(run: Run) -> float:
    figures = run.final_score(METRIC)
    return float("nan") if figures is None or figures.untrained is None else figures.untrained


def _together(series: list[list[tuple[str, np.ndarray]]]) -> list[tuple[str, np.ndarray]]:
    return [(parts[0][0], np.concatenate([values for _, values in parts])) for parts in zip(*series, strict=True)]


def draw(conditions: list[Condition], result: dict[str, Any]) -> Figure:
    """Draws what each condition reaches (left) and how it scores relevant and random documents (right)."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, squeeze=False)
    left, right = axes[0]
    for at, (condition, entry) in enumerate(zip(conditions, result["conditions"], strict=True)):
        ends = [[entry["mean"] - entry["low"]], [entry["high"] - entry["mean"]]]
        left.errorbar(at, entry["mean"], yerr=ends, fmt="o", ms=9, capsize=6, lw=2, color=PALETTE[at])
        left.scatter(np.full(len(condition.means_S), at + 0.14), condition.means_S, s=16, color=PALETTE[at], alpha=0.6)
        left.annotate(
            f"{entry['mean']:.3f}", (at, entry["mean"]), xytext=(-12, 4), textcoords="offset points", ha="right"
        )
        _violins(right, at, condition)
    for level, name in ((result["bm25"], f"BM25 {result['bm25']:.2f}"), (result["chance"], "chance")):
        left.axhline(level, color=GREY, lw=1.2, ls="--")
        left.annotate(name, (2.7, level), xytext=(0, 4), textcoords="offset points", ha="right", color="#5F6368")
    left.set(ylim=(-0.03, None), xlim=(-0.6, 2.75), title="MRR@10 in the whole corpus")
    left.set_xlabel("mean of three seeds with its 95 % interval; small dots: seeds")
    right.set(ylabel="cosine similarity", title="Scores of relevant and of random documents")
    for panel in (left, right):
        panel.set_xticks(range(len(conditions)), [CONDITIONS[condition.name] for condition in conditions])
        panel.grid(axis="x", visible=False)
    return figure


def _violins(panel: Any, at: int, condition: Condition) -> None:
    for side, shade, (name, scores) in zip((-0.18, 0.18), (PALETTE[2], GREY), condition.scores, strict=True):
        if np.ptp(scores) < 0.05:
            panel.hlines(float(np.median(scores)), at + side - 0.14, at + side + 0.14, color=shade, lw=5)
        else:
            drawn = panel.violinplot([scores], positions=[at + side], widths=0.34, showextrema=False, showmedians=True)
            drawn["bodies"][0].set(facecolor=shade, alpha=0.75)
            drawn["cmedians"].set(color="#202124", linewidth=1.4)
        if at == 0:
            word = name.split()[0]
            where = (at + side, float(np.median(scores)))
            panel.annotate(word, where, xytext=(0, -16), textcoords="offset points", ha="center", color=shade)


if __name__ == "__main__":
    main()
