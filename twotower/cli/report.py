"""`twotower report`: a sweep as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from twotower.core import format as text
from twotower.core.errors import UserError
from twotower.core.files import write_text
from twotower.reports.html import report_html
from twotower.runs.ledger import load


@click.command(name="report")
@click.argument("sweep", nargs=-1, type=click.Path())
@click.option("--out", type=click.Path(), help="The file to write (default: report.html in the sweep's folder).")
@click.option("--metric", metavar="NAME", help="Metric, e.g. mrr_10 (default: what most runs were judged by).")
@click.option("--where", "terms", multiple=True, metavar="FILTER", help="Keep runs with e.g. model=gru.")
def command(sweep: tuple[str, ...], out: str | None, metric: str | None, terms: tuple[str, ...]) -> None:
    """Write a report on the runs under SWEEP (folders, or a sweep's name; default: outputs/ and multirun/).

    One self-contained file: ranked table, verdicts, paired tests and pictures, readable offline.
    """
    named = [name if Path(name).is_dir() else str(Path("multirun") / name) for name in sweep]
    runs = load(*named, where=terms)
    if not runs:
        raise UserError(f"No runs under {', '.join(sweep) or 'outputs/ and multirun/'} to report on.")
    target = Path(out) if out else Path(named[0] if len(named) == 1 else ".") / "report.html"
    title = ", ".join(Path(name).name for name in named) or "All runs"
    write_text(target, report_html(runs, metric=metric, title=title, folder=target.parent))
    click.echo(f"{target} ({text.size(target.stat().st_size)}, {len(runs)} run{'' if len(runs) == 1 else 's'})")
