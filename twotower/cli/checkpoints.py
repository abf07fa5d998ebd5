"""`twotower checkpoints`: every exported model in a folder, ranked by its score."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.evaluation.names import LABELS
from twotower.runs.checkpoints import COLUMNS, canonical, list_checkpoints, ranked


@click.command(name="checkpoints")
@click.argument("folder", type=click.Path(), default=".")
@click.option(
    "--metric", default="mrr", show_default=True, help="Metric to rank by: mrr, mrr_10, recall_1, ndcg_10 ..."
)
@click.option("--top", type=click.IntRange(min=1), help="Show the first so many.")
@click.option("--open/--no-open", "open_files", default=True, help="Open files whose scores are written nowhere else.")
@click.option("--path", "only_path", is_flag=True, help="Print the best file's path and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: str, metric: str, top: int | None, open_files: bool, only_path: bool, as_json: bool) -> None:
    """Rank the checkpoints (.pt) under FOLDER, of this version or of the old layout.

    Scores come from a run's record, from training_history_*.json beside the file, or from the file itself.
    """
    files = ranked(list_checkpoints(folder, open_files=open_files), metric)[:top]
    if only_path:
        if canonical(metric) not in files[0].metrics:
            raise UserError(f"No checkpoint under {folder} has a score ({files[0].path.name}: {files[0].problem}).")
        click.echo(str(files[0].path))
    elif as_json:
        entries = [{"rank": rank, **vars(file)} for rank, file in enumerate(files, start=1)]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False, default=str))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=200)
        table = checkpoints_table(files, canonical(metric))
        wide = Console(width=1000)
        least = Measurement.get(wide, wide.options, table).minimum  # narrower, figures would be cut
        console.print(table, width=max(console.width, least), crop=False, soft_wrap=least > console.width)


def checkpoints_table(files: list[Any], metric: str) -> Any:
    """Returns the analysis as a rich table: rank, file, metrics, size, modified, history file, sweep name."""
    shown = list(dict.fromkeys([metric, *COLUMNS]))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("file", overflow="fold", min_width=32)
    for name in (*(LABELS.get(name, name) for name in shown), "size", "modified"):
        table.add_column(name, justify="right", no_wrap=True)
    for rank, file in enumerate(files, start=1):
        label = Text(file.path.name)
        for name, value in (
            ("history", file.history and file.history.name),
            ("sweep", file.sweep),
            ("!", file.problem),
        ):
            label.append(f"\n  {name}: {value}" if value else "", "red" if name == "!" else "dim")
        modified = datetime.fromtimestamp(file.modified).strftime("%Y-%m-%d %H:%M")
        scores = [text.number(file.metrics.get(name)) for name in shown]
        table.add_row(str(rank), label, *scores, text.size(file.bytes), modified)
    return table
