"""`twotower diff`: the config keys in which runs differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twotower.cli.completion import complete_runs
from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.reports.compare import config_differences
from twotower.runs.find import find_runs
from twotower.runs.run import Run


@click.command(name="diff")
@click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--short", is_flag=True, help="Leave out keys that only follow from a group's choice.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(runs: tuple[str, ...], short: bool, as_json: bool) -> None:
    """Show the config differences between RUNS (folders, run names or config hashes)."""
    if len(runs) < 2:
        raise UserError("diff needs two runs or more: twotower diff A B.")
    chosen = find_runs(runs)
    lines = config_differences(chosen, every=not short)
    if as_json:
        print(json.dumps(dict(lines), indent=2, ensure_ascii=False, default=str))
        return
    console = Console()
    for letter, run in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", chosen, strict=False):
        console.print(f"[bold]{letter}[/] {run.path} [dim]{run.record.get('config_hash')}[/]")
    if not lines:
        console.print("The configs are the same.")
        return
    console.print(differences_table(lines, chosen))


def differences_table(lines: list[tuple[str, list[Any]]], runs: Sequence[Run]) -> Any:
    """Returns a rich table of config keys and the runs' values, "–" for none; what a run's user set himself is bold."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("config key")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(runs)]:
        table.add_column(letter, overflow="fold")
    for key, values in lines:
        cells = [
            Text("–" if value is None and key not in run.flat else text.value(value), "bold" * (key in run.overridden))
            for value, run in zip(values, runs, strict=True)
        ]
        table.add_row(key, *cells)
    return table
