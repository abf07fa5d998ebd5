"""`twotower index`: builds an index for a run that was trained earlier."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from twotower.cli.completion import complete_runs
from twotower.cli.options import config_dir_option, trust_option
from twotower.config.compose import compose
from twotower.core.format import search_command, size
from twotower.index.bars import bars
from twotower.runs.find import resolve_run


@click.command(name="index")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--run",
    "run",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Run folder, name or config hash (default: the newest finished run).",
)
@click.option("--index", "names", metavar="NAME[,NAME...]", multiple=True, default=("faiss_flat",), show_default=True,
              help="Choices of conf/index.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the manifests as JSON.")
@config_dir_option
@trust_option
def command(overrides: tuple[str, ...], run: str | None, names: tuple[str, ...], as_json: bool) -> None:
    """Build indexes for an earlier run: its documents are encoded again with its exported model.

    Settings are changed by KEY=VALUE, e.g. ef_search=64 or faiss_hnsw.factory=HNSW48.
    """
    from twotower.index.rebuild import rebuild

    chosen = [name for part in names for name in part.strip("[] ").split(",") if name]
    config = compose(chosen, overrides)
    folder = resolve_run(run)
    with bars(Console(stderr=True)) as report:
        manifests = rebuild(folder, config, progress=report)
    if as_json:
        click.echo(json.dumps(manifests, indent=2, ensure_ascii=False))
    elif not manifests:
        click.echo("Nothing to build.")
    else:
        Console().print(_table(manifests))
        click.echo(search_command(folder, "what you are looking for", index=next(iter(manifests))))


def _table(manifests: dict[str, dict[str, Any]]) -> Any:
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for name, side in (("index", "left"), ("documents", "right"), ("recall@10", "right"), ("seconds", "right"),
                       ("size", "right"), ("settings", "left")):  # fmt: skip
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for name, facts in manifests.items():
        settings = ", ".join(f"{key}={value}" for key, value in facts["settings"].items())
        recall, seconds = f"{facts['recall_at_10']:.3f}", f"{facts['build_seconds']:.1f}"
        table.add_row(name, f"{facts['count']:,}", recall, seconds, size(facts["bytes"]), settings)
        for note in facts["notes"]:
            table.add_row("", "", "", "", "", f"[yellow]{note}[/]")
    return table
