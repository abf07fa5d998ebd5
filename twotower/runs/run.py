"""One run as the ledger sees it: its record read with care, and the few numbers that every view asks for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from twotower.config.canonical import canonical, current
from twotower.config.names import NOT_IN_HASH
from twotower.core.host import is_alive
from twotower.core.nested import flat
from twotower.runs.schema import FILE_NAME, problem_of

SILENT_HOURS = 6.0
"""A running record of another machine that was not renewed for so long is shown as `running?`."""

HYBRID = ("mrr_10", "ndcg_10")
"""Metrics of the hybrid that are kept query by query, and so can be compared."""

ENDED = ("finished", "at_chance", "collapsed")
"""Statuses of a run that came to its end by itself."""


class Score(NamedTuple):
    """One metric of one run, with its 95 % interval and the levels to hold it against (None where unknown)."""

    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    bm25: float | None = None
    untrained: float | None = None


class EpochSample(NamedTuple):
    """What epochs were measured on: queries, against how many of the documents (None: all of them)."""

    queries: int
    documents: int | None = None
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder and what its record says.

    `status` is the record's own, except that a running record whose process is gone reads `interrupted`, and a file
    that can't be understood `unreadable` with the reason in `problem` (its `record` is then empty).
    """

    path: Path
    record: dict[str, Any] = field(repr=False)
    status: str
    problem: str | None = None

    def __fspath__(self) -> str:
        """Lets a run stand wherever its folder may."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The run's name, or its folder's."""
        return str(self.record.get("run_name") or self.path.name)

    @property
    def choices(self) -> dict[str, Any]:
        """Config group -> choice."""
        return self.record.get("choices") or {}

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return self.record.get("seed")

    @property
    def sweep(self) -> str | None:
        """The name of the sweep it belongs to."""
        return (self.record.get("sweep") or {}).get("name")

    @property
    def history(self) -> list[dict[str, Any]]:
        """Per-epoch numbers."""
        return self.record.get("history") or []

    @property
    def epochs(self) -> int:
        """Epochs trained so far."""
        return len(self.history)

    @property
    def seconds(self) -> float | None:
        """How long it took in all (for an unfinished run: its epochs)."""
        timings = self.record.get("timings") or {}
        total = timings.get("total_seconds") or timings.get("fit_seconds")
        return total if total is not None else (sum(item.get("seconds") or 0.0 for item in self.history) or None)

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The config with dotted keys; lists stay whole."""
        return flat(current(canonical(self.record.get("config") or {})))

    def counts(self, key: str) -> bool:
        """Says whether a config key tells what this run computes; `ckpt_path` does for a sweep's job."""
        if key == "ckpt_path" and (self.record.get("sweep") or {}).get("name"):
            return self.flat.get(key) not in (None, "last")
        return key.partition(".")[0] not in NOT_IN_HASH

    @cached_property
    def bytes(self) -> int:
        """Bytes of everything in the run folder now."""
        return folder_bytes(self.path)

    @cached_property
    def age(self) -> float:
        """Seconds since the record was last written; never negative, whatever the clock did."""
        return max(0.0, time.time() - _timestamp(self.record.get("updated"), self.path / FILE_NAME))

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Every metric of the final evaluation, named `protocol/metric`, the hybrid's `protocol/hybrid_mrr_10`."""
        scores = {}
        for protocol, part in (self.record.get("evaluation") or {}).items():
            metrics = (part.get("metrics") or {}) if isinstance(part, dict) else {}
            for name, entry in metrics.items():
                if (score := _score(entry)) is not None:
                    scores[f"{protocol}/{name}"] = score
            for name in HYBRID:
                if (score := _hybrid_score(metrics.get(name))) is not None:
                    scores[f"{protocol}/hybrid_{name}"] = score
        return scores

    def hybrid_score(self, metric: str) -> Score | None:
        """Returns what model and BM25 together reach of a metric named as the model's (`full/mrr_10`), if measured."""
        protocol, _, name = metric.partition("/")
        return self.final_score(f"{protocol}/hybrid_{name}")

    def final_score(self, metric: str) -> Score | None:
        """Returns a metric of the final evaluation by its full name (`full/mrr_10`), without building them all."""
        protocol, _, name = metric.partition("/")
        part = (self.record.get("evaluation") or {}).get(protocol)
        metrics = (part.get("metrics") or {}) if isinstance(part, dict) else {}
        own = _score(metrics.get(name))
        return own if own is not None else _hybrid_score(metrics.get(name.removeprefix("hybrid_")), name)

    def score(self, metric: str) -> Score | None:
        """Returns a metric by its full name (`full/mrr_10`): the final one, else the best epoch's so far."""
        final = self.final_score(metric)
        if final is not None:
            return final
        objective = self.record.get("objective") or {}
        if objective.get("name") == metric and objective.get("value") is not None:
            return Score(objective["value"], objective.get("low"), objective.get("high"))
        values = [(item.get("metrics") or {}).get(metric) for item in self.history]
        known = [value for value in values if value is not None]
        return Score(max(known)) if known else None

    @property
    def objective(self) -> str | None:
        """Full name of the metric the run was judged by."""
        return (self.record.get("objective") or {}).get("name")

    @property
    def verdict(self) -> str:
        """The evaluation's label (AT CHANCE, BELOW BM25, BETTER THAN BM25), or how the run ended without one."""
        evaluation = self.record.get("evaluation") or {}
        protocol = (self.objective or "full/").partition("/")[0]
        for part in (evaluation.get(protocol), *evaluation.values()):
            if isinstance(part, dict) and (part.get("verdict") or {}).get("label"):
                return str(part["verdict"]["label"])
        error = self.record.get("error") or {}
        return str(self.record.get("verdict") or error.get("message") or "")

    @property
    def verdict_lines(self) -> list[str]:
        """What the objective of the model, then that of the hybrid, is worth: figure, verdict, difference, pool."""
        part = (self.record.get("evaluation") or {}).get((self.objective or "full/").partition("/")[0])
        if not isinstance(part, dict):
            return []
        verdicts = (part.get("verdict"), (part.get("hybrid") or {}).get("verdict"))
        return [str(item["line"]) for item in verdicts if isinstance(item, dict) and item.get("line")]

    @property
    def epoch_sample(self) -> EpochSample | None:
        """What each epoch was measured on, None where it was on all that the final evaluation took.

        The record says it where documents were drawn; where only queries were, the config does.
        """
        drawn = self.record.get("epoch_sample")
        counts: list[Any] = [drawn.get(name) for name in EpochSample._fields] if isinstance(drawn, dict) else []
        if counts and all(type(count) is int for count in counts):
            return EpochSample(*counts)
        most = self.flat.get("callbacks.evaluate.max_queries")
        parts = [part for part in (self.record.get("evaluation") or {}).values() if isinstance(part, dict)]
        final = [part["num_queries_evaluated"] for part in parts if type(part.get("num_queries_evaluated")) is int]
        return EpochSample(most) if type(most) is int and most < max(final, default=0) else None

    @cached_property
    def group(self) -> str:
        """What runs that differ in nothing but their seed have in common."""
        seed, kept = self.seed, dict(self.flat)
        for key, value in self.flat.items():
            of_seed = value == seed and key.rpartition(".")[2] == "seed"
            if of_seed or (key.startswith(NOT_IN_HASH) and not self.counts(key)):
                del kept[key]
        return json.dumps([self.data_key[0], kept], sort_keys=True, default=str)

    @property
    def overridden(self) -> set[str]:
        """The config keys and groups that the user set on the command line."""
        return {str(item).partition("=")[0].lstrip("+~") for item in self.record.get("overrides") or []}

    @property
    def data_key(self) -> tuple[str, str]:
        """Data fingerprint and evaluation split: figures may be set side by side only if these agree."""
        data, evaluation = self.record.get("data") or {}, self.record.get("evaluation") or {}
        return str(data.get("fingerprint") or ""), str(evaluation.get("split") or "")


def read_run(folder: Path) -> Run:
    """Reads the record in a run folder; one that can't be read becomes a Run of status `unreadable`, not an error."""
    path = folder / FILE_NAME
    try:
        record = json.loads(path.read_bytes())
        problem = problem_of(record)
    except OSError as error:
        record, problem = {}, f"can't be opened: {error.strerror or error}"
    except (ValueError, RecursionError) as error:
        record, problem = {}, f"not JSON, perhaps cut short: {str(error).splitlines()[0]}"
    if problem:
        return Run(path=folder, record={}, status="unreadable", problem=problem)
    return Run(path=folder, record=record, status=shown_status(record))


def shown_status(record: Mapping[str, Any]) -> str:
    """Returns a record's status, checked against the process it names if it says `running`."""
    if record["status"] != "running":
        return str(record["status"])
    alive = is_alive(record["host"])
    if alive is None:
        silent = time.time() - _timestamp(record.get("updated"), None)
        return "running?" if silent > SILENT_HOURS * 3600 else "running"
    return "running" if alive else "interrupted"


def folder_bytes(folder: Path, seen: set[int] | None = None) -> int:
    """Returns the bytes of all files under a folder; links are not followed, and a file of two names counts once.

    Args:
        folder: where to look.
        seen: the numbers of the files with several names that have been counted already.
    """
    total, seen = 0, set() if seen is None else seen
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += folder_bytes(Path(entry.path), seen)
                else:
                    total += file_bytes(entry.stat(follow_symlinks=False), seen)
    except OSError:
        pass  # a folder that vanishes or is closed to us while we look counts as empty
    return total


def file_bytes(facts: os.stat_result, seen: set[int]) -> int:
    """Returns a file's bytes, or 0 if it was counted under another of its names (`best.ckpt` may be `last.ckpt`)."""
    if facts.st_nlink > 1:
        if facts.st_ino in seen:
            return 0
        seen.add(facts.st_ino)
    return facts.st_size


def _score(entry: Any) -> Score | None:
    if isinstance(entry, dict) and isinstance(entry.get("value"), (int, float)):
        return Score(entry["value"], *(entry.get(key) for key in Score._fields[1:]))
    return None


def _hybrid_score(entry: Any, name: str = "hybrid_") -> Score | None:
    """Returns the hybrid's part of a metric's entry as a score of its own, None where there is none."""
    hybrid = name.startswith("hybrid_") and isinstance(entry, dict) and isinstance(entry.get("hybrid"), (int, float))
    if not hybrid:
        return None
    return Score(*(entry.get(key) for key in ("hybrid", "hybrid_low", "hybrid_high", "chance", "bm25")))


def _timestamp(text: Any, file: Path | None) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        pass
    try:
        return file.stat().st_mtime if file else 0.0
    except OSError:
        return 0.0
