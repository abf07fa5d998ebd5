"""The prompt of `twotower search`: questions, and commands that begin with a colon."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from twotower.core.errors import UserError, nearest
from twotower.core.format import visible
from twotower.index.lexical import MODES
from twotower.runs.ledger import load
from twotower.search.engine import SearchEngine
from twotower.search.terminal import render

COMMANDS = {
    ":help": "what there is to type",
    ":mode [dense|lexical|hybrid]": "search by vectors, by words (BM25) or by both; alone: what was measured best",
    ":k NUMBER": "how many documents",
    ":run [RUN]": "search another run (folder, name or config hash); alone: which runs there are",
    ":history [NUMBER]": "the last questions; arrow keys bring them back, Ctrl-R finds them",
    ":q": "leave (Ctrl-D does too)",
}
"""The commands, each with what it does."""
NAMES = [line.split()[0] for line in COMMANDS]
REMEMBERED = 1000
"""Lines kept of this session and those before."""
LONGEST_NUMBER = 9
"""Digits of a number that is typed: there are fewer documents than that."""


class Prompt:
    """Asks for queries until `:q` or the end of input.

    Args:
        engine: the run that is searched first.
        folder: that run's folder.
        open_run: finds the folder and opens the engine of a run that a user names.
        console: where answers go.
        k: how many documents.
        mode: how to search; None for what the run was measured to do best.
        history: file that keeps the lines typed.
    """

    def __init__(
        self,
        engine: SearchEngine,
        folder: Path,
        *,
        open_run: Callable[[str], tuple[Path, SearchEngine]],
        console: Console,
        k: int,
        mode: str | None = None,
        history: Path,
    ) -> None:
        self.engine, self.folder, self.open_run = engine, folder, open_run
        self.console, self.k, self.mode, self.history = console, k, mode, history
        self.asked: list[str] = []

    def loop(self) -> None:
        """Reads lines and answers them."""
        with _line_editing(self.history):
            while True:
                try:
                    text = self.console.input("[bold cyan]search[/]> ").strip()
                    if text and not self.answer(text):
                        return
                except EOFError:
                    self.console.print()
                    return
                except KeyboardInterrupt:  # gives up the line, or the answer
                    self.console.print()
                except UserError as error:
                    self.console.print(Text(visible(str(error)), style="red"))

    def answer(self, text: str) -> bool:
        """Does what one line asks for.

        Returns:
            Whether to go on.

        Raises:
            UserError: for an unknown command, or a question that can't be searched.
        """
        if text.startswith(":"):
            return self._command(text)
        self.asked.append(text)
        results = self.engine.search(text, self.k, self.mode)
        self.console.print(render(results, self.engine.model.tokenizer.token_spans, width=self.console.width))
        self.console.print()
        return True

    def _command(self, text: str) -> bool:
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        actions: dict[str, Callable[[str], None]] = {
            ":help": self._help,
            ":mode": self._set_mode,
            ":k": self._set_k,
            ":run": self._set_run,
            ":history": self._history,
        }
        if name in (":q", ":quit"):
            return False
        if name not in actions:
            known = ", ".join(NAMES)
            raise UserError(f"No command '{name}'; there are {known}.{nearest(name, NAMES)}")
        actions[name](rest)
        return True

    def _help(self, _: str) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column(style="dim")
        for command, does in COMMANDS.items():
            table.add_row(Text(command), does)
        self.console.print(table)

    def _set_mode(self, wanted: str) -> None:
        self.mode = self.engine.check_mode(wanted) if wanted else None
        shown = self.mode or f"{self.engine.mode}, as measured best"
        self.console.print(Text(f"Searching by {shown}.", "dim"))

    def _set_k(self, wanted: str) -> None:
        self.k = _number(wanted, ":k", "documents")
        self.console.print(Text(f"Showing {self.k} document{'' if self.k == 1 else 's'}.", "dim"))

    def _set_run(self, wanted: str) -> None:
        if not wanted:
            for run in load().ended:
                here = "→" if run.path.resolve() == self.folder.resolve() else " "
                line = Text(f"{here} ").append(visible(run.name), "bold").append(f"  {visible(run.verdict)}  ")
                self.console.print(line.append(str(run.path), "dim"), soft_wrap=True)
            return
        folder, engine = self.open_run(wanted)
        self.engine.close()
        self.folder, self.engine = folder, engine
        if self.mode is not None and self.mode != "dense" and engine.lexical is None and not engine.served:
            self.mode = None
        facts = f"{engine.manifest['count']:,} documents, {self.mode or engine.mode} search"
        self.console.print(Text(f"{folder}: {facts}.", "dim"))

    def _history(self, wanted: str) -> None:
        for line in self.asked[-(_number(wanted, ":history", "questions") if wanted else 20) :]:
            self.console.print(Text(visible(line)))


def _number(typed: str, command: str, what: str) -> int:
    if not (typed.isascii() and typed.isdecimal()) or len(typed) > LONGEST_NUMBER or int(typed) < 1:
        shown = typed[:20] or "(nothing)"
        raise UserError(f"{command} {shown}: give a number of {what} from 1 on, e.g. {command} 20.")
    return int(typed)


def completions(text: str, line: str) -> list[str]:
    """Returns what a line of the prompt may go on with: commands, ways of searching, runs.

    Args:
        text: the word being typed.
        line: the whole line.
    """
    name, blank, _ = line.lstrip().partition(" ")
    if not blank:
        return [item for item in NAMES if item.startswith(text)] if text.startswith(":") else []
    if name == ":mode":
        return [mode for mode in MODES if mode.startswith(text)]
    if name == ":run":
        ended = load().ended
        names = dict.fromkeys([*(run.name for run in ended), *(str(run.path) for run in ended)])
        return [item for item in names if item.startswith(text)]
    return []


@contextlib.contextmanager
def _line_editing(history: Path) -> Iterator[None]:
    try:
        import readline
    except ImportError:  # a Python built without it still reads lines
        yield
        return

    def complete(text: str, state: int) -> str | None:
        matches = completions(text, readline.get_line_buffer())
        return matches[state] if state < len(matches) else None

    before = readline.get_completer(), readline.get_completer_delims()
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before[0])
        readline.set_completer_delims(before[1])
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.set_history_length(REMEMBERED)
            readline.write_history_file(history)
