"""Every run under some folders as one list: read fast, filtered, sorted, as a table or a pandas DataFrame."""

from __future__ import annotations

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twotower.core.errors import UserError
from twotower.runs.columns import differing
from twotower.runs.filters import parse, resolve_metric, value_getter
from twotower.runs.run import ENDED, Run, read_run
from twotower.runs.schema import FILE_NAME

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_FOLDERS = ("outputs", "multirun")
"""Where Hydra puts runs, relative to the folder one works in."""


class Spread(NamedTuple):
    """A metric over the seeds of one config: mean, standard deviation (None for one run) and how many runs."""

    mean: float
    deviation: float | None
    runs: int


class Ledger(list[Run]):
    """A list of runs that can be narrowed, sorted and shown.

    Args:
        source: runs, or a folder under which all runs are read, as `load` does.
    """

    def __init__(self, source: Iterable[Run] | str | os.PathLike[str] = ()) -> None:
        super().__init__(load(Path(source)) if isinstance(source, (str, os.PathLike)) else source)

    @property
    def readable(self) -> Ledger:
        """The runs whose record could be read."""
        return Ledger(run for run in self if run.status != "unreadable")

    @property
    def unreadable(self) -> Ledger:
        """The folders whose record could not be read; `problem` says why."""
        return Ledger(run for run in self if run.status == "unreadable")

    @property
    def ended(self) -> Ledger:
        """The runs that came to their end by themselves."""
        return Ledger(run for run in self if run.status in ENDED)

    def where(self, *terms: str) -> Ledger:
        """Returns the runs that meet every filter (grammar: `twotower.runs.filters`); unreadable ones never do.

        Raises:
            UserError: for a filter that isn't one, or a key that no run has.
        """
        runs = self.readable
        tests = [parse(term, runs) for term in terms] if runs else []
        return Ledger(run for run in runs if all(test(run) for test in tests)) if terms else Ledger(self)

    def metric(self, name: str | None = None) -> str:
        """Returns a metric's full name; without a name, that by which most of the runs were judged."""
        if name is not None:
            return resolve_metric(name, self.readable)
        named = Counter(run.objective for run in self.readable if run.objective)
        return str(named.most_common(1)[0][0]) if named else "full/mrr_10"

    def sorted(self, key: str | None = None, *, ascending: bool | None = None) -> Ledger:
        """Returns the runs by a metric (best first), or by any key a filter can name (smallest first).

        Args:
            key: the metric or key; None sorts by the runs' own objective.
            ascending: turns the order round.

        Runs without a value come last, unreadable ones at the very end.
        """
        runs = self.readable
        get, best_first = self._sort_key(key)
        pairs = [(get(run), run) for run in runs]
        known = [pair for pair in pairs if pair[0] is not None]
        numeric = all(isinstance(value, (int, float)) for value, _ in known)
        falling = best_first if ascending is None else not ascending
        known.sort(key=lambda pair: pair[0] if numeric else str(pair[0]), reverse=falling)
        return Ledger([run for _, run in known] + [run for value, run in pairs if value is None] + self.unreadable)

    def _sort_key(self, key: str | None) -> tuple[Callable[[Run], Any], bool]:
        """Returns what to sort by, and whether large comes first (a metric's best)."""
        runs = self.readable
        try:
            metric = self.metric(key)
        except UserError:
            return value_getter(str(key), runs), False
        if key is None and not any(run.score(metric) for run in runs):
            return (lambda run: run.age), False
        return (lambda run: score.value if (score := run.score(metric)) else None), True

    def groups(self) -> dict[str, Ledger]:
        """Returns the runs by config without the seed, in the order of first appearance."""
        groups: dict[str, Ledger] = defaultdict(Ledger)
        for run in self.readable:
            groups[run.group].append(run)
        return dict(groups)

    def spreads(self, metric: str) -> dict[str, Spread]:
        """Returns mean and spread of a metric over the seeds of each config, by `Run.group`; ended runs only."""
        spreads = {}
        for key, runs in self.ended.groups().items():
            values = [score.value for run in runs if (score := run.score(metric))]
            if values:
                deviation = statistics.stdev(values) if len(values) > 1 else None
                spreads[key] = Spread(statistics.fmean(values), deviation, len(values))
        return spreads

    def to_frame(self, *, every_key: bool = False) -> pd.DataFrame:
        """Returns one row per readable run as a pandas DataFrame, made for notebooks.

        Columns: path, name, status, sweep, seed, the config groups' choices, the config keys that differ (all of
        them with `every_key`), each metric with `.low`, `.high`, `.chance`, `.bm25`, then epochs, seconds, bytes,
        updated, verdict and group (equal for runs that differ only in seed).
        """
        import pandas as pd

        return pd.DataFrame(rows(self, every_key=every_key))


def load(*folders: str | Path, where: Iterable[str] = (), sort: str | None = None, top: int | None = None) -> Ledger:
    """Reads every run under the folders (default: outputs/ and multirun/).

    Args:
        *folders: any folders; a run folder itself is one run. Links are not followed.
        where: filters, all of which a run must meet.
        sort: a metric or key to sort by; newest first without one.
        top: keeps the first so many.

    Raises:
        UserError: for a folder that doesn't exist, or a filter or sort key that no run knows.
    """
    places = [Path(folder) for folder in folders] or [Path(name) for name in DEFAULT_FOLDERS if Path(name).is_dir()]
    for place in places:
        if not place.is_dir():
            raise UserError(f"No folder {place} to look for runs in.")
    runs = Ledger(read_run(folder) for folder in _run_folders(places))
    runs = runs.where(*where)
    runs = runs.sorted(sort) if sort else Ledger(sorted(runs, key=lambda run: run.age))
    return Ledger(runs[:top]) if top is not None else runs


def _run_folders(places: Sequence[Path]) -> Iterable[Path]:
    """Returns every run folder under the places, one that is under two of them once."""
    roots = [place.resolve() for place in places]
    folders = (run for place in places for run in find_run_folders(place))
    if any(root.is_relative_to(other) for at, root in enumerate(roots) for other in roots[:at] + roots[at + 1 :]):
        return {run.resolve(): run for run in folders}.values()
    return folders


def find_run_folders(folder: Path) -> Iterator[Path]:
    """Yields every folder at or under `folder` that holds a record; inside a run it looks no further."""
    if (folder / FILE_NAME).is_file():
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            inner = sorted(item.name for item in entries if item.is_dir(follow_symlinks=False))
    except OSError:
        return  # closed to us: other users' runs are not ours to list
    for name in inner:
        if not name.startswith("."):
            yield from find_run_folders(folder / name)


def rows(ledger: Ledger, *, every_key: bool = False) -> list[dict[str, Any]]:
    """Returns the rows of `Ledger.to_frame` as plain dicts, for CSV and for those who do without pandas."""
    runs = ledger.readable
    keys = sorted({key for run in runs for key in run.flat}) if every_key else differing(runs, aliases=True)
    return [_row(run, keys, number) for run, number in zip(runs, _numbers(runs), strict=True)]


def _numbers(runs: Ledger) -> list[int]:
    order = {key: number for number, key in enumerate(runs.groups())}
    return [order[run.group] for run in runs]


def _row(run: Run, keys: Iterable[str], group: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "path": str(run.path),
        "name": run.name,
        "status": run.status,
        "sweep": run.sweep,
        "seed": run.seed,
    }
    row |= {key: value for key, value in run.choices.items() if key not in row}
    row |= {key: run.flat.get(key) for key in keys if key not in row}
    for name, score in run.scores.items():
        row |= {name: score.value, f"{name}.low": score.low, f"{name}.high": score.high}
        row |= {f"{name}.chance": score.chance, f"{name}.bm25": score.bm25}
    row |= {"epochs": run.epochs, "seconds": run.seconds, "bytes": run.bytes, "updated": run.record.get("updated")}
    return row | {"verdict": run.verdict, "group": group}
