"""`twotower cache`: what runs share on disk, and clearing it."""

from __future__ import annotations

import json
import time

import click


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Shows what runs share on disk (token ids, word vectors, mined negatives ...)."""
    if context.invoked_subcommand is not None:
        return
    from twotower.core.cache import cache_root, entries

    found = entries()
    if as_json:
        listed = [{**vars(entry), "path": str(entry.path)} for entry in found]
        click.echo(json.dumps({"root": str(cache_root()), "entries": listed}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{cache_root()}: {_size(sum(entry.bytes for entry in found))}", title_justify="left")
    for heading, side in (("kind", "left"), ("entries", "right"), ("size", "right"), ("last used", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for kind in sorted({entry.kind for entry in found}):
        mine = [entry for entry in found if entry.kind == kind]
        age = _age(time.time() - max(entry.used for entry in mine))
        table.add_row(kind, str(len(mine)), _size(sum(entry.bytes for entry in mine)), age)
    Console().print(table)


@command.command()
@click.argument("kind", required=False)
def clear(kind: str | None) -> None:
    """Removes everything, or what is of one KIND; it will be made again when it is needed."""
    from twotower.core.cache import clear as clear_cache

    removed = clear_cache(kind)
    click.echo(f"Removed {len(removed)} entries, {_size(sum(entry.bytes for entry in removed))}.")


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def _age(seconds: float) -> str:
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
