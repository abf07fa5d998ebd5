"""What a record must look like to be shown; anything else is named as unreadable instead of failing somewhere later."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

SCHEMA = 1
"""Version of the record's layout; a reader refuses others by name instead of guessing."""

FILE_NAME = "run.json"
"""Name of the record in its run folder."""

STATUSES = ("running", "finished", "failed", "interrupted", "at_chance", "collapsed")
"""Every status a record can hold; all but `running` are ends."""

_NUMBERS = {int, float, type(None)}
_TEXTS = {str, type(None)}
_MOST = 1e300
"""Beyond it nothing that a run measures lies, and sums overflow; with NaN and infinities, which no record of ours holds
(`write_json` makes them null), a sum is not within it either."""

_FIELDS: tuple[tuple[str, type, bool], ...] = (
    ("config", dict, True),
    ("choices", dict, True),
    ("history", list, True),
    ("host", dict, True),
    ("timings", dict, True),
    ("overrides", list, False),
    ("data", dict, False),
    ("objective", dict, False),
    ("evaluation", dict, False),
    ("artefacts", list, False),
    ("sweep", dict, False),
    ("error", dict, False),
    ("run_name", str, False),
    ("config_hash", str, False),
    ("seed", int, False),
)


def problem_of(record: Any) -> str | None:
    """Says in a few words why a parsed record can't be used, or None if it can."""
    if not isinstance(record, dict):
        return f"holds a {type(record).__name__}, not a record"
    schema = record.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        older = isinstance(schema, int) and schema < SCHEMA
        return f"schema {schema}{', an older version' if older else ''}; this version reads {SCHEMA}"
    if record.get("status") not in STATUSES:
        return f"unknown status {record.get('status')!r}"
    for name, kind, needed in _FIELDS:
        value = record.get(name)
        if not isinstance(value, kind) and (needed or value is not None):
            return f"'{name}' is {'missing' if value is None else 'no ' + kind.__name__}"
    checks: tuple[Callable[[dict[str, Any]], str | None], ...] = (_timings, _history, _objective, _evaluation, _lists)
    return next((problem for check in checks if (problem := check(record))), None)


def _timings(record: dict[str, Any]) -> str | None:
    return None if _numbers(record["timings"].values()) else "'timings' holds something that is no number"


def _history(record: dict[str, Any]) -> str | None:
    for item in record["history"]:
        if not isinstance(item, dict) or type(item.get("epoch")) is not int:
            return "an entry of 'history' has no epoch"
        metrics = item.get("metrics")
        if metrics is not None and not (isinstance(metrics, dict) and _numbers(metrics.values())):
            return "'metrics' in 'history' are no numbers by name"
        if not _numbers((item.get("train_loss"), item.get("seconds"))):
            return "'history' holds something that is no number"
    return None


def _objective(record: dict[str, Any]) -> str | None:
    goal = record.get("objective") or {}
    if type(goal.get("name")) in _TEXTS and _numbers([goal.get(key) for key in ("value", "low", "high")]):
        return None
    return "'objective' is no name with numbers"


def _evaluation(record: dict[str, Any]) -> str | None:
    for name, part in (record.get("evaluation") or {}).items():
        if name == "split" or part is None:
            continue
        if not isinstance(part, dict):
            return f"'evaluation.{name}' is no object"
        for key in ("pool", "metrics", "verdict"):
            if not isinstance(part.get(key), (dict, type(None))):
                return f"'evaluation.{name}.{key}' is no object"
        for metric, entry in (part.get("metrics") or {}).items():
            if not isinstance(entry, dict) or not _numbers(entry.values()):
                return f"'evaluation.{name}.metrics.{metric}' holds something that is no number"
    return None


def _lists(record: dict[str, Any]) -> str | None:
    if not _all(record.get("overrides") or (), {str}):
        return "'overrides' holds something that is no text"
    if not _all(record.get("artefacts") or (), {dict}):
        return "'artefacts' holds something that is no object"
    return None


def _numbers(values: Collection[Any]) -> bool:
    """Says whether all are finite numbers or null: by their sum, since listing runs checks a thousand records."""
    try:
        return _all(values, _NUMBERS) and -_MOST < sum(filter(None, values)) < _MOST
    except OverflowError:  # a whole number that no float holds
        return False


def _all(values: Iterable[Any], kinds: set[type]) -> bool:
    return kinds.issuperset(map(type, values))
