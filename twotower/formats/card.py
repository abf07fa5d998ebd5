"""The model card: what the model is, what it is worth, and how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from twotower.evaluation.names import label

COLUMNS = ("value", "low", "high", "chance", "bm25", "hybrid", "untrained")


def model_card(record: Mapping[str, Any], usage: str, *, library: str = "twotower") -> str:
    """Returns the card in Markdown with the metadata that the hub reads.

    Args:
        record: the run's record (run.json); one without an evaluation says so.
        usage: lines of code that show how to open the folder.
        library: what opens it, as the hub names libraries.
    """
    evaluation, data = record.get("evaluation") or {}, record.get("data") or {}
    parts = {name: part for name, part in evaluation.items() if isinstance(part, Mapping)}
    lines = ["---", "tags: [sentence-similarity, two-tower, retrieval]", f"library_name: {library}", "---", ""]
    lines += [f"# {record.get('run_name') or 'two-tower model'}", "", "```python", usage.strip(), "```", ""]
    fingerprint = str(data.get("fingerprint") or "not recorded")
    lines += ["## What it is worth", "", f"Data: {data.get('name') or 'not recorded'}, fingerprint `{fingerprint}`."]
    if not parts:
        lines += ["", "This model was not evaluated to the end: there are no figures."]
    for name, part in parts.items():
        lines += ["", *_table(name, part, str(evaluation.get("split") or ""))]
    command = ["python", "train.py", *(str(item) for item in record.get("overrides") or [])]
    lines += ["", "## Make it again", "", "```", shlex.join(command), "```", ""]
    lines += [f"Config hash `{record.get('config_hash') or 'not recorded'}`, seed {record.get('seed')}.", ""]
    return "\n".join(lines)


def _table(name: str, part: Mapping[str, Any], split: str) -> list[str]:
    size = (part.get("pool") or {}).get("mean_size") or 0
    queries = part.get("num_queries_with_relevance")
    shown = [key for key in COLUMNS if any(entry.get(key) is not None for entry in part["metrics"].values())]
    rows = [
        f"| {label(metric)} | " + " | ".join(_number(entry.get(key)) for key in shown) + " |"
        for metric, entry in part["metrics"].items()
    ]
    verdict = (part.get("verdict") or {}).get("line") or "none"
    return [
        f"### {name}: {queries:,} queries of split {split}, {size:,.1f} documents each",
        "",
        "| metric | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 1) + "|",
        *rows,
        "",
        f"Verdict: {verdict}. `low` and `high` are the ends of the bootstrap interval.",
    ]


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}"
