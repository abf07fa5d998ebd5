"""`twotower ui`: the terminal app."""

from __future__ import annotations

import sys

import click

from twotower.cli.completion import complete_runs
from twotower.core.errors import UserError
from twotower.runs.find import find_run


@click.command(name="ui")
@click.argument("folders", nargs=-1, type=click.Path())
@click.option(
    "--run",
    "run",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Open this run at once: folder, name or config hash.",
)
def command(folders: tuple[str, ...], run: str | None) -> None:
    """Look at runs, search and compare them in the terminal (FOLDERS default to outputs/ and multirun/)."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("`twotower ui` needs a terminal; `twotower runs` prints the same table anywhere.")
    from twotower.ui.app import TwoTowerApp

    TwoTowerApp(folders, find_run(run, folders) if run else None).run()
