"""Draws pairs seen against the evaluation metric for some runs, as one SVG.

    python experiments/learning_curve.py OUT.svg "LABEL=RUN" ...

Pairs seen are epochs times the judgements of the training split (held-out queries included); 0 is the model before
its first pair: untrained, or after pre-training on the corpus where there was any.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt


def curve(run: Path) -> tuple[list[float], list[float], str]:
    """Returns pairs seen (thousands), the metric at each, and the metric's name."""
    record = json.loads((run / "run.json").read_text())
    objective = record["config"]["evaluation"]["objective"]
    protocol, metric = objective.split("/")
    report = record["data"]["report"]
    pairs = report["splits"][report["train_split"]]["relevant"] / 1000
    untrained = record["evaluation"][protocol]["metrics"][metric]["untrained"]
    first = (record.get("pretrain") or {}).get("metrics", {}).get(objective, untrained)
    history = record["history"]
    seen = [0.0, *(entry["epoch"] * pairs for entry in history)]
    return seen, [first, *(entry["metrics"][objective] for entry in history)], objective


def main(out: str, *named: str) -> None:
    """Draws the curves.

    Args:
        out: the SVG to write.
        named: `LABEL=RUN` of each run folder.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for item in named:
        label, _, run = item.partition("=")
        seen, values, objective = curve(Path(run))
        axes.plot(seen, values, marker="o", markersize=3, label=label)
    axes.set(xlabel="pairs seen (thousands)", ylabel=objective, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    mpl.rcParams["svg.hashsalt"] = "learning curve"
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
