"""One progress bar for work whose share done is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def bar(title: str, *, console: Console | None = None, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """Yields what takes the share that is done, 0 to 1; the bar goes away at the end.

    Args:
        title: stands before it.
        console: where to draw; None: standard error.
        shown: False draws nothing; nor is anything drawn where there is no terminal.
    """
    console = console or Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda share: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as drawn:
        task = drawn.add_task(title, total=1.0)
        yield lambda share: drawn.update(task, completed=share)
