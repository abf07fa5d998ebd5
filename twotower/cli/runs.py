"""`twotower runs`: every run under outputs/ and multirun/ in one table."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import click
from rich.console import Console

from twotower.core.errors import UserError
from twotower.core.format import train_command
from twotower.reports.table import groups_table, levels, runs_table, unreadable_table
from twotower.runs.ledger import load, rows

PIPED = 240
"""Characters of a line that goes into a file or another program."""


@click.command(name="runs")
@click.argument("folders", nargs=-1, type=click.Path())
@click.option("--where", "terms", multiple=True, metavar="FILTER", help="Keep runs with e.g. model=gru, lr<0.01.")
@click.option("--sort", "sort", metavar="KEY", help="Sort by a metric (best first) or any key; default: newest first.")
@click.option("--top", type=click.IntRange(min=1), help="Show the first so many.")
@click.option("--metric", metavar="NAME", help="The metric shown (default: what most runs were judged by).")
@click.option("--seeds", is_flag=True, help="One row per config: mean and spread over its seeds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def command(
    folders: tuple[str, ...],
    terms: tuple[str, ...],
    sort: str | None,
    top: int | None,
    metric: str | None,
    seeds: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List all runs under FOLDERS (default: outputs/ and multirun/).

    A filter names a config group (model=gru), a config key (optimizer.lr<0.01, or its end: lr<0.01), a fact of the
    run (status, seed, epochs, seconds, sweep, verdict ...) or a metric (mrr_10>=.4); = != < <= > >= and * as wildcard.
    """
    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other.")
    everything = load(*folders, where=terms, sort=sort or metric)
    runs = type(everything)(everything[:top])
    if as_json:
        print(json.dumps([_plain(run) for run in runs], indent=2, ensure_ascii=False, default=str))
    elif as_csv:
        _write_csv(runs)
    else:
        _show(runs, everything, metric or sort, seeds, fold=not any("status" in term for term in terms))


def _show(runs: Any, everything: Any, metric: str | None, seeds: bool, *, fold: bool) -> None:
    terminal = sys.stdout.isatty()
    console = Console() if terminal else Console(width=PIPED)
    width = console.width
    failed = [run for run in runs if run.status == "failed"] if fold else []
    if len(failed) == len(runs):
        failed = []
    runs = type(runs)([run for run in runs if run not in failed]) if failed else runs
    try:
        name = everything.metric(metric)
    except UserError:  # sorted by something that is no metric
        name = everything.metric()
    if runs.readable:
        spreads = everything.spreads(name)
        table = groups_table(runs, metric=name, width=width) if seeds else None
        table = table or runs_table(runs, metric=name, spreads=spreads, width=width)
        if terminal:
            console.print(table, highlight=False)
        else:
            click.echo(table.plain)
    elif not runs:
        console.print(f"No run matches; `{train_command()}` makes one.")
    if failed:
        shown = "failed run is" if len(failed) == 1 else "failed runs are"
        console.print(
            f"{len(failed)} {shown} not shown: twotower runs --where status=failed", style="red", highlight=False
        )
    for line in levels(runs.readable, name):
        console.print(line, style="dim", highlight=False)
    if runs.unreadable:
        console.print(unreadable_table(runs))


def _plain(run: Any) -> dict[str, Any]:
    if run.problem:
        return {"path": str(run.path), "status": run.status, "reason": run.problem}
    return {
        "path": str(run.path),
        "name": run.name,
        "status": run.status,
        "sweep": run.sweep,
        "seed": run.seed,
        "choices": run.choices,
        "config": run.flat,
        "metrics": {name: score._asdict() for name, score in run.scores.items()},
        "epochs": run.epochs,
        "seconds": run.seconds,
        "bytes": run.bytes,
        "age_seconds": round(run.age, 1),
        "verdict": run.verdict,
    }


def _write_csv(runs: Any) -> None:
    table = rows(runs)
    names = list(dict.fromkeys(name for row in table for name in row))
    writer = csv.DictWriter(sys.stdout, names, restval="")
    writer.writeheader()
    writer.writerows(table)
    for run in runs.unreadable:
        click.echo(f"twotower: {run.path} left out: {run.problem}", err=True)
