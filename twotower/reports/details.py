"""Everything about a run that a click on it in the report shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twotower.core import format as text
from twotower.reports.table import interval
from twotower.runs.run import Run

LEVELS = ("metric", "value", "95 %", "chance", "BM25", "untrained", "hybrid")
"""Columns of a run's final evaluation."""


def details(run: Run) -> dict[str, Any]:
    """Returns facts, final evaluation, history by epoch and settings of a run, as plain data.

    Args:
        run: a readable run.
    """
    facts = {
        "status": run.status,
        "verdict": run.verdict_lines[0] if run.verdict_lines else run.verdict,
        "hybrid": "".join(run.verdict_lines[1:]),
        "data": str((run.record.get("data") or {}).get("name") or ""),
        "set by hand": " ".join(str(item) for item in run.record.get("overrides") or []),
        "epochs measured on": epoch_sample(run),
        "time": text.duration(run.seconds),
        "config hash": str(run.record.get("config_hash") or ""),
        "run again": f"{text.program()} rerun {run.path}",
        "folder": str(run.path),
    }
    history = [
        {"epoch": item.get("epoch"), "train_loss": _short(item.get("train_loss"))}
        | {name: _short(value) for name, value in (item.get("metrics") or {}).items()}
        for item in run.history
    ]
    return {
        "name": f"{run.name} (seed {run.seed})",
        "facts": [[name, value] for name, value in facts.items() if value],
        "metrics": list(_evaluation(run)),
        "history": history,
        "config": [[key, text.value(value)] for key, value in run.flat.items()],
    }


def _evaluation(run: Run) -> Iterator[list[str]]:
    for protocol, part in (run.record.get("evaluation") or {}).items():
        metrics = part.get("metrics") if isinstance(part, dict) else None
        for metric, entry in (metrics or {}).items():
            score = run.final_score(f"{protocol}/{metric}")
            if score is not None:
                rest = [entry.get(name) for name in ("chance", "bm25", "untrained", "hybrid")]
                shown = [text.number(value) if isinstance(value, float) else "–" for value in (score.value, *rest)]
                yield [f"{protocol}/{metric}", shown[0], interval(score), *shown[1:]]


def epoch_sample(run: Run) -> str:
    """Writes `Run.epoch_sample` (`1,000 queries against 100,000 of 758,553 documents`); "" for None."""
    sample = run.epoch_sample
    if sample is None:
        return ""
    drawn = "" if sample.documents is None else f" against {sample.documents:,} of {sample.of:,} documents"
    return f"{sample.queries:,} queries{drawn}"


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
