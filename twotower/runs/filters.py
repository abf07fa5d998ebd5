"""The filter grammar of the ledger: `model=gru`, `optimizer.lr<0.01`, `status!=failed`, `mrr_10>=.4`.

A key is, in this order: a fact of the run (status, seed, ...), a config group (its choice), a dotted config key, the
unique end of one (`lr` for `optimizer.lr`), or a metric.
"""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twotower.config.canonical import current_key
from twotower.core.errors import UserError, nearest
from twotower.runs.run import Run

FACTS: dict[str, Callable[[Run], Any]] = {
    "status": lambda run: run.status,
    "seed": lambda run: run.seed,
    "name": lambda run: run.name,
    "run_name": lambda run: run.name,
    "sweep": lambda run: run.sweep,
    "path": lambda run: str(run.path),
    "epochs": lambda run: run.epochs,
    "seconds": lambda run: run.seconds,
    "bytes": lambda run: run.bytes,
    "age": lambda run: run.age,
    "verdict": lambda run: run.verdict,
    "hash": lambda run: run.record.get("config_hash"),
    "fingerprint": lambda run: run.data_key[0],
    "data_name": lambda run: (run.record.get("data") or {}).get("name"),
}
"""What can be asked of every run, beside config and metrics (`age` in seconds)."""

_TERM = re.compile(r"^\s*(?P<key>[^<>=!\s]+)\s*(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>.*?)\s*$", re.DOTALL)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def resolve_metric(name: str, runs: Iterable[Run]) -> str:
    """Returns the full name of a metric (`mrr_10` or `MRR@10` -> `full/mrr_10`).

    A name without a protocol means that of most runs' objective, if it has the metric, else full, else rerank.

    Raises:
        UserError: when no run has such a metric.
    """
    runs = list(runs)
    known = {metric for run in runs for metric in _metrics_of(run)}
    wanted = name.lower().replace("@", "_")
    if wanted in known:
        return wanted
    protocols = [str(run.objective).partition("/")[0] for run in runs if run.objective]
    for protocol in (*sorted(set(protocols), key=lambda item: (-protocols.count(item), item)), "full", "rerank"):
        if f"{protocol}/{wanted}" in known:
            return f"{protocol}/{wanted}"
    names = sorted(known | {metric.partition("/")[2] for metric in known})
    there = f"there are: {', '.join(sorted(known))}." if known else "no run has been evaluated yet."
    raise UserError(f"No metric '{name}' in these runs; {there}{nearest(wanted, names)}")


def value_getter(key: str, runs: Sequence[Run]) -> Callable[[Run], Any]:
    """Returns a function from a run to the value that a key names (None where a run lacks it).

    Raises:
        UserError: for a key that no run has, with the nearest one, or one that is the end of several.
    """
    key = current_key(key)
    if key in FACTS:
        return FACTS[key]
    if any(key in run.choices for run in runs):
        return lambda run: run.choices.get(key)
    known = {name for run in runs for name in run.flat}
    ends = sorted(name for name in known if name == key or name.endswith(f".{key}"))
    full = key if key in known else (ends[0] if len(ends) == 1 else None)
    if full is not None:
        return lambda run: run.flat.get(full)
    if ends:
        raise UserError(f"'{key}' could mean {', '.join(ends)}: write the whole key.")
    try:
        metric = resolve_metric(key, runs)
    except UserError:
        choices = {name for run in runs for name in run.choices}
        metrics = {item for run in runs for name in _metrics_of(run) for item in (name, name.partition("/")[2])}
        tails = {name.rpartition(".")[2] for name in known}
        hint = nearest(key, sorted({*FACTS, *known, *choices, *metrics, *tails}))
        raise UserError(f"No run has the key '{key}' in its config or metrics.{hint}") from None
    return lambda run: score.value if (score := run.score(metric)) else None


def parse(term: str, runs: Sequence[Run]) -> Callable[[Run], bool]:
    """Turns one filter into a predicate over runs.

    `=` and `!=` compare as numbers where both are numbers, else as text with `*` and `?` as wildcards; a run without
    the key fails every test but `!=` (and `=null`).

    Raises:
        UserError: for a term outside the grammar, an unknown key, or an order asked of something not a number.
    """
    match = _TERM.match(term)
    if not match or not match["value"]:
        raise UserError(f"--where '{term}' is not a filter: write KEY=VALUE, or != < <= > >= between them.")
    get, sign, wanted = value_getter(match["key"], runs), match["sign"], match["value"]
    if sign in _ORDER:
        number = as_number(wanted)
        if number is None:
            raise UserError(f"--where '{term}': {sign} needs a number, '{wanted}' is none.")
        compare = _ORDER[sign]
        return lambda run: (value := as_number(get(run))) is not None and compare(value, number)
    return lambda run: same(get(run), wanted) is (sign != "!=")


def as_number(value: Any) -> float | None:
    """Returns a number or the text of one as float, else None (flags are no numbers)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def same(value: Any, wanted: str) -> bool:
    """Says whether a config value is what the user wrote."""
    number, other = as_number(value), as_number(wanted)
    if number is not None and other is not None:
        return number == other
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return fnmatch.fnmatchcase(text.lower().replace(" ", ""), wanted.lower().replace(" ", ""))


def _metrics_of(run: Run) -> set[str]:
    names = {name for item in run.history[-1:] for name in (item.get("metrics") or {})}
    for protocol, part in (run.record.get("evaluation") or {}).items():
        if isinstance(part, dict):
            names |= {f"{protocol}/{name}" for name in part.get("metrics") or {}}
    return names | ({run.objective} if run.objective else set())
