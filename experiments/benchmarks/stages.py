"""Where the time and the memory of a run go: functions of the package wrapped, a stage for each, memory watched.

A stage inside another stops the outer one's clock, so that the stages of a run add up to the whole.
"""

from __future__ import annotations

import functools
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES: tuple[tuple[str, str, str], ...] = (
    ("read", "twotower.training.train", "read_collection"),
    ("vocabulary", "twotower.training.train", "train_tokenizer"),
    ("tokenise", "twotower.text.tokenizer", "Tokenizer.encode_cached"),
    ("report on the data", "twotower.training.train", "make_report"),
    ("word vectors", "twotower.training.train", "build_embedding"),
    ("word statistics", "twotower.training.train", "WordStatistics"),
    ("pretrain", "twotower.pretrain.crops", "Crops.run"),
    ("untrained evaluation", "twotower.callbacks.evaluate", "Evaluate.measure"),
    ("evaluation of epochs", "twotower.callbacks.evaluate", "Evaluate.on_train_epoch_end"),
    ("final evaluation", "twotower.callbacks.evaluate", "Evaluate._evaluate_best"),
    ("BM25 index", "twotower.lexical.bm25", "Bm25.cached"),
    ("BM25 ranking", "twotower.evaluation.bm25", "_rank"),
    ("hybrid weight", "twotower.evaluation.hybrid", "fit_weight"),
    ("hybrid ranking", "twotower.evaluation.evaluate", "hybrid_rankings"),
    ("documents.db", "twotower.callbacks.export", "write_documents"),
    ("lexical side", "twotower.callbacks.export", "Export._export_lexical"),
    ("index", "twotower.callbacks.export", "export"),
    ("train", "pytorch_lightning.trainer.trainer", "Trainer.fit"),
)
"""Name, module and function of each stage. What remains of `Trainer.fit` is the training itself."""


@dataclass
class Spent:
    """What a stage took: seconds by the clock and of the processor, the peak of memory in MB, how often it was run."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    anonymous_mb: float = 0.0
    resident_mb: float = 0.0
    calls: int = 0


class Watch(threading.Thread):
    """Keeps the stages' account; reads this process's memory every 20 ms for the stage that is running."""

    def __init__(self, account: Path, outermost: str = "start and other") -> None:
        super().__init__(daemon=True)
        self.account, self._told = account, 0.0
        self.spent: dict[str, Spent] = {}
        self._running = [outermost]
        self._last, self._lock = (time.perf_counter(), time.process_time()), threading.Lock()
        self.start()

    def run(self) -> None:
        """Reads until the process ends."""
        while True:
            lines = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
            )
            anonymous, resident = (int(lines[key].split()[0]) / 1024 for key in ("RssAnon", "VmRSS"))
            entry = self.spent.setdefault(self._running[-1], Spent())
            entry.anonymous_mb = max(entry.anonymous_mb, anonymous)
            entry.resident_mb = max(entry.resident_mb, resident)
            if time.perf_counter() - self._told > 2:
                self.write()
            time.sleep(0.02)

    def _count(self) -> None:
        with self._lock:
            now = (time.perf_counter(), time.process_time())
            entry = self.spent.setdefault(self._running[-1], Spent())
            entry.seconds += now[0] - self._last[0]
            entry.cpu_seconds += now[1] - self._last[1]
            self._last = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside belongs to the stage."""
        self._count()
        self._running.append(name)
        self.spent.setdefault(name, Spent()).calls += 1
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def write(self) -> None:
        """Writes the account so far into its file, by stage."""
        self._count()
        self._told = time.perf_counter()
        rounded = {
            name: {key: round(value, 2) for key, value in vars(item).items()} for name, item in self.spent.items()
        }
        part = self.account.with_suffix(".part")
        part.write_text(json.dumps({"now": self._running[-1], "stages": rounded}, indent=1) + "\n")
        part.replace(self.account)


def wrap(watch: Watch) -> None:
    """Wraps every function of `STAGES`.

    Raises:
        AttributeError: for one that is no longer there: the benchmark would leave its time to another stage.
    """
    for name, module, path in STAGES:
        *owners, last = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        given = vars(owner)[last]
        inner: Callable[..., Any] = given.__func__ if isinstance(given, classmethod) else given

        def wrapped(*args: Any, _inner: Callable[..., Any] = inner, _name: str = name, **named: Any) -> Any:
            with watch.stage(_name):
                return _inner(*args, **named)

        functools.update_wrapper(wrapped, inner, updated=())
        setattr(owner, last, classmethod(wrapped) if isinstance(given, classmethod) else wrapped)
