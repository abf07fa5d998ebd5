"""The runs that the pages may show, and the few whose indexes are open for searching."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from twotower.core.errors import UserError, nearest
from twotower.runs.ledger import DEFAULT_FOLDERS, Ledger, load
from twotower.runs.run import Run, read_run
from twotower.search.engine import SearchEngine

MOST_OPEN = 4
ABSOLUTE = re.compile(r"""(?<![\w./:~-])(?:/[^/\s'"`,;:()]+)+/(?=[^/\s'"`,;:()])""")
"""The folders of an absolute path; of an address nothing, nor of a relative path."""


class Library:
    """Runs by the key that stands in addresses, and their engines.

    A page names a run by its key alone, and only runs of the ledger have one: no address reaches any other folder.

    Args:
        folder: the run that is searched unless a page names another.
        engine: its engine, opened already.
        folders: where to look for other runs; none means outputs/ and multirun/.
    """

    def __init__(self, folder: Path, engine: SearchEngine, folders: Sequence[str] = ()) -> None:
        self.folder, self.folders = folder, tuple(folders)
        self._engines: OrderedDict[Path, SearchEngine] = OrderedDict({folder.resolve(): engine})
        self._lock = threading.Lock()  # held for moments, so that searches don't wait for a run that is being opened
        self._opening = threading.Lock()

    def runs(self) -> Ledger:
        """Returns every run, the searched one among them, best first."""
        runs = load(*self.folders)
        if self.folder.resolve() not in {run.path.resolve() for run in runs}:
            own = read_run(self.folder)
            runs = Ledger([*runs, own]) if own.status != "unreadable" else runs
        return runs.readable.sorted()

    def key(self, run: Run) -> str:
        """Returns what stands for a run in an address."""
        return "/".join(run.path.resolve().parts[-3:])

    def run(self, key: str) -> Run:
        """Returns the run that a key stands for; "" is the one that is searched.

        Raises:
            UserError: for a key that no run here has.
        """
        if not key:
            return read_run(self.folder)
        keys = {self.key(run): run for run in self.runs()}
        if key not in keys:
            raise UserError(f"No run '{key[:200]}' here.{nearest(key[:200], list(keys))}")
        return keys[key]

    def engine(self, key: str = "") -> SearchEngine:
        """Returns a run's engine, opened if need be; the one unused for longest is closed when there are too many.

        Raises:
            UserError: for an unknown run, or one that cannot be searched.
        """
        path = (self.folder if not key else self.run(key).path).resolve()
        if (engine := self._opened(path)) is not None:
            return engine
        with self._opening:
            engine = self._opened(path) or SearchEngine.open(path)
            with self._lock:
                self._engines[path] = engine
                own = self.folder.resolve()
                extra = [other for other in self._engines if other != own][: max(0, len(self._engines) - MOST_OPEN)]
                for other in extra:
                    self._engines.pop(other)  # closed by the collector once no request uses it any more
        return engine

    def public(self, message: str) -> str:
        """Returns a message without the places of this machine: runs by their keys, other files by their names."""
        if "/" not in message:
            return message
        own = self.folder.resolve()
        names = {str(own): "/".join(own.parts[-3:]), str(Path.cwd()): "."}
        names |= {str(Path(name).resolve()): Path(name).name for name in self.folders or DEFAULT_FOLDERS}
        for place in sorted(names, key=len, reverse=True):
            message = names[place].join(re.split(rf"{re.escape(place)}(?![\w.-])", message))
        return ABSOLUTE.sub("", message)

    def _opened(self, path: Path) -> SearchEngine | None:
        with self._lock:
            if (engine := self._engines.get(path)) is not None:
                self._engines.move_to_end(path)
            return engine
