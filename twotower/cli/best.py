"""`twotower best`: the best finished run, for people and for scripts."""

from __future__ import annotations

import json

import click
from rich.console import Console

from twotower.core import format as text
from twotower.reports.best import best
from twotower.reports.table import interval, runs_table
from twotower.runs.ledger import load


@click.command(name="best")
@click.argument("folders", nargs=-1, type=click.Path())
@click.option("--metric", metavar="NAME", help="Metric to go by, e.g. mrr_10 (default: what most runs were judged by).")
@click.option(
    "--where", "terms", multiple=True, metavar="FILTER", help="Keep runs with e.g. data_name=tldr, model=gru."
)
@click.option("--path", "only_path", is_flag=True, help="Print the run folder and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    folders: tuple[str, ...], metric: str | None, terms: tuple[str, ...], only_path: bool, as_json: bool
) -> None:
    """Print the best finished run under FOLDERS (default: outputs/ and multirun/).

    Warnings (on standard error) say when it can't be told apart from the next config, or from chance.
    """
    runs = load(*folders, where=terms)
    winner = best(runs, metric)
    for line in winner.warnings:
        click.secho(f"Warning: {line}", fg="yellow", err=True)
    if only_path:
        click.echo(str(winner.run.path))
    elif as_json:
        entry = {
            "path": str(winner.run.path),
            "metric": winner.metric,
            **winner.score._asdict(),
            "warnings": winner.warnings,
        }
        click.echo(json.dumps(entry, indent=2, ensure_ascii=False))
    else:
        console = Console()
        score = f"{text.number(winner.score.value)} ({interval(winner.score)})"
        console.print(f"[bold]{winner.run.path}[/]  {winner.metric} [bold]{score}[/]  {winner.run.verdict}")
        ranked, spreads = runs.ended.sorted(winner.metric), runs.spreads(winner.metric)
        table = runs_table(type(runs)(ranked[:5]), metric=winner.metric, spreads=spreads, width=console.width)
        console.print(table, highlight=False)
