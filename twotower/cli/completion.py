"""What a shell may complete: the names and folders of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from twotower.runs.ledger import load

if TYPE_CHECKING:
    import click


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the runs here whose name or folder begins so, newest first, with their verdicts; then folders and files.

    Args:
        context: click's.
        parameter: the option or argument.
        incomplete: what was typed.
    """
    items = []
    for run in sorted(load().readable, key=lambda run: run.age):
        for text in (run.name, str(run.path)):
            if text.startswith(incomplete):
                items.append(CompletionItem(text, help=run.verdict or run.status))
    unique = {item.value: item for item in reversed(items)}
    return list(reversed(unique.values())) or [CompletionItem(incomplete, type="file")]
