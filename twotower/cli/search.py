"""`twotower search`: ask a trained run, in the terminal, as JSON, or in a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console

from twotower.cli.completion import complete_runs
from twotower.cli.options import trust_option
from twotower.core.cache import cache_root
from twotower.core.errors import UserError
from twotower.core.format import visible
from twotower.index.manifest import recall_line
from twotower.runs.find import resolve_run
from twotower.runs.questions import questions
from twotower.runs.run import read_run
from twotower.search.engine import SearchEngine
from twotower.search.prompt import Prompt
from twotower.search.terminal import render

if TYPE_CHECKING:
    from pathlib import Path


@click.command(name="search")
@click.argument("query", nargs=-1)
@click.option(
    "--run",
    "run",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Run folder, name or config hash (default: the newest finished run).",
)
@click.option("--index", "index", metavar="NAME", help="Which of the run's indexes (default: the one of best recall).")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="How many documents.")
@click.option("--mode", type=click.Choice(["dense", "lexical", "hybrid"]), help="By vectors, by words (BM25), or by "
              "both (default: what the run measured as best).")  # fmt: skip
@click.option("--served", is_flag=True, help="Let the index's own server search by words, not the run's BM25: Redis.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--web", is_flag=True, help="Serve the web app instead: search, documents, runs.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address the page listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the page.")
@trust_option
def command(
    query: tuple[str, ...],
    run: str | None,
    index: str | None,
    k: int,
    mode: str | None,
    served: bool,
    as_json: bool,
    web: bool,
    host: str,
    port: int,
) -> None:
    """Search the documents of a trained run for QUERY; without one, ask for queries until Ctrl-D."""
    text = " ".join(query)
    if query and not text.strip():
        raise UserError("The query is empty: write what you are looking for.")
    if as_json and not query:
        raise UserError("--json needs a query: twotower search --json 'how do I invert a matrix'.")
    if web and query:
        raise UserError("--web takes no query: it is asked for in the page.")

    console, notes = Console(), Console(stderr=True)
    folder = resolve_run(run)
    with notes.status(f"Opening {folder}"):
        engine = SearchEngine.open(folder, index, served=served)
    facts, wanted, mode = engine.manifest, mode, engine.check_mode(mode)
    about = f"{facts['count']:,} documents, index {facts['name']}, {recall_line(facts, k)}, {mode} search"
    if as_json:
        click.echo(
            json.dumps({"run": str(folder), **engine.search(text, k, mode).to_dict()}, ensure_ascii=False, indent=2)
        )
    elif web:
        from twotower.web.serve import serve

        serve(engine, folder, host=host, port=port, started=lambda url: notes.print(f"[bold]{url}[/]  {about}"))
    elif query:
        notes.print(f"[dim]{folder}: {about}[/]", highlight=False)
        console.print(render(engine.search(text, k, mode), engine.model.tokenizer.token_spans, width=console.width))
    else:
        notes.print(f"[dim]{folder}: {about}. :help tells what there is, :q leaves.[/]", highlight=False)
        for number, item in enumerate(questions(read_run(folder), 3)):
            notes.print(f"{'Try:' if number == 0 else '    '} {visible(item.text)}", markup=False, highlight=False)
        history = cache_root() / "search_history"
        Prompt(engine, folder, open_run=_open, console=console, k=k, mode=wanted, history=history).loop()


def _open(text: str) -> tuple[Path, SearchEngine]:
    """Opens a run that is named at the prompt."""
    path = resolve_run(text)
    return path, SearchEngine.open(path)
