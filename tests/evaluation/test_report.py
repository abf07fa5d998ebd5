from __future__ import annotations

import numpy as np
from rich.console import Console

from twotower.evaluation.evaluate import evaluate_vectors
from twotower.evaluation.names import LABELS, METRICS
from twotower.evaluation.report import STYLES, evaluation_tables, verdict_line


def shown(result, width=140):
    console = Console(width=width, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    for item in evaluation_tables(result):
        console.print(item)
    return console.export_text()


def test_tables_hold_every_metric_its_neighbours_and_the_verdict(random_collection, unit):
    collection, rows = random_collection(), np.arange(40)
    result = evaluate_vectors(unit(40), unit(200, seed=1), collection, rows, "dev")
    text = shown(result)
    for name in METRICS:
        assert text.count(f"│ {LABELS[name]} ") == 2
    for part in result:
        figures = part.metrics["ndcg_10"]
        row = f"{figures['value']:.4f} │ {figures['low']:.4f}–{figures['high']:.4f} │ {figures['chance']:.4f}"
        assert row in text
        assert part.verdict.line in text
    assert "full corpus of 200" in text
    assert "candidates a query" in text


def test_every_verdict_has_a_colour(random_collection, unit):
    result = evaluate_vectors(unit(40), unit(200, seed=1), random_collection(), np.arange(40), "dev")
    for part in result:
        assert verdict_line(part).style == STYLES[part.verdict.label]


def test_it_fits_eighty_columns(random_collection, unit):
    result = evaluate_vectors(unit(40), unit(200, seed=1), random_collection(), np.arange(40), "dev")
    table_lines = [line for line in shown(result, width=80).splitlines() if "│" in line]
    assert all("…" not in line for line in table_lines)
    assert len(table_lines) == 2 * len(METRICS)  # no figure goes on to a second line
