"""`twotower clean`: make room without losing a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from twotower.core import format as text
from twotower.core.cache import cache_root
from twotower.core.leftovers import leftovers, remove
from twotower.runs.clean import KINDS, carry_out, plan
from twotower.runs.ledger import DEFAULT_FOLDERS, load


@click.command(name="clean")
@click.argument("folders", nargs=-1, type=click.Path())
@click.option("--yes", is_flag=True, help="Remove; without it the command only shows what it would remove.")
@click.option("--lightning/--no-lightning", default=True, help="Lightning's last.ckpt, best.ckpt (to resume).")
@click.option("--indexes/--no-indexes", default=True, help="Indexes (`twotower index` builds them again).")
@click.option("--documents/--no-documents", default=True, help="Document stores.")
@click.option("--exported/--no-exported", default=False, help="Exported models too.")
@click.option(
    "--keep", default=1, show_default=True, type=click.IntRange(min=1), help="Best runs kept whole per data set."
)
@click.option("--metric", metavar="NAME", help="What best means (default: what most runs were judged by).")
def command(
    folders: tuple[str, ...],
    yes: bool,
    lightning: bool,
    indexes: bool,
    documents: bool,
    exported: bool,
    keep: int,
    metric: str | None,
) -> None:
    """Remove what can be made again from the finished runs under FOLDERS (default: outputs/ and multirun/).

    What killed processes left half-written goes too, in the cache of twotower as well.

    Kept always: the best run of every data set, all records and per-query scores, and every run that is unfinished
    or can't be read. Give all folders at once: best is judged among the runs under them.
    """
    wanted = zip(KINDS, (lightning, indexes, documents, exported), strict=True)
    decided = plan(load(*folders), kinds=[kind for kind, chosen in wanted if chosen], keep=keep, metric=metric)
    console = Console(soft_wrap=True)
    for item in decided.removals:
        console.print(f"{'remove' if yes else 'would remove'} {item.path} [dim]{item.kind}, {text.size(item.bytes)}[/]")
    left = list(dict.fromkeys(path for root in _roots(folders) for path in leftovers(root)))
    for path in left:
        console.print(f"{'remove' if yes else 'would remove'} {path} [dim]left by a process that was killed[/]")
        if yes:
            remove(path)
    for run, reason in decided.kept:
        console.print(f"[green]keep[/] {run.path} [dim]{reason}[/]")
    if not decided.removals and not left:
        console.print("Nothing to remove.")
    elif yes:
        console.print(f"Freed {text.size(carry_out(decided))}.")
    else:
        console.print(f"{text.size(decided.bytes)} could be freed; `twotower clean --yes` does it.")


def _roots(folders: Sequence[str]) -> list[Path]:
    """Returns where runs and the cache lie."""
    return [*map(Path, folders or DEFAULT_FOLDERS), cache_root()]
