"""`twotower cache`: what runs share on disk, and clearing it."""

from __future__ import annotations

import json
import time

import click
from rich.console import Console
from rich.table import Table

from twotower.core.cache import cache_root, entries
from twotower.core.cache import clear as clear_cache
from twotower.core.format import age, size


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Shows what runs share on disk (token ids, word vectors, mined negatives ...)."""
    if context.invoked_subcommand is not None:
        return

    kept = entries()
    if as_json:
        listed = [{**vars(entry), "path": str(entry.path)} for entry in kept]
        click.echo(json.dumps({"root": str(cache_root()), "entries": listed}, indent=2))
        return

    table = Table(title=f"{cache_root()}: {size(sum(entry.bytes for entry in kept))}", title_justify="left")
    for heading, side in (("kind", "left"), ("entries", "right"), ("size", "right"), ("unused for", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for kind in sorted({entry.kind for entry in kept}):
        mine = [entry for entry in kept if entry.kind == kind]
        unused = time.time() - max(entry.used for entry in mine)
        table.add_row(kind, str(len(mine)), size(sum(entry.bytes for entry in mine)), age(unused))
    Console().print(table)


@command.command()
@click.argument("kind", required=False)
def clear(kind: str | None) -> None:
    """Removes everything, or what is of one KIND; it will be made again when it is needed."""
    removed = clear_cache(kind)
    click.echo(f"Removed {len(removed)} entries, {size(sum(entry.bytes for entry in removed))}.")
