"""Which config keys are worth a column: those that differ between the runs, and no key twice under two names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twotower.config.names import NOT_IN_HASH
from twotower.runs.run import Run

LIMITS = (
    *("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.overfit_batches", "trainer.fast_dev_run"),
    *("trainer.num_sanity_val_steps", "trainer.enable_progress_bar", "trainer.detect_anomaly"),
)
"""What a choice of `debug` sets."""
_MISSING = object()
ALIKE = (str, int, bool, type(None))
"""Types of values that read the same where they are equal, and of one type."""


def differing(runs: Sequence[Run], *, aliases: bool = False, seed: bool = False) -> list[str]:
    """Returns the config keys in which the runs differ, group choices first.

    Where a group's choice differs, its keys that follow from the choice (one value per choice) are left out, as are
    keys that repeat another's values under a second name; but a key that a user set is never left out.

    Args:
        runs: readable runs.
        aliases: keeps the keys that only repeat or follow from others.
        seed: keeps the seed, which has a column of its own in the tables.
    """
    groups = sorted({name for run in runs for name in run.choices if name.partition("/")[0] not in NOT_IN_HASH})
    chosen = {name: [run.choices.get(name) for run in runs] for name in groups}
    varied = [name for name in groups if len({str(value) for value in chosen[name]}) > 1]
    keys: list[str] = []
    seen = {_pattern(chosen[name]) for name in varied}
    if not seed:
        seen.add(_pattern([run.seed for run in runs]))
    by_hand = {key for run in runs for key in run.overridden}
    configs = [run.flat for run in runs]
    names = sorted({key for config in configs for key in config}, key=lambda key: (key.count("."), key))
    for key in names:
        if key not in by_hand and (key in LIMITS or key.endswith("_target_")):
            continue  # nobody chose it: debug=fast and the like did, or the group's choice, which has its column
        if key in groups or not any(run.counts(key) for run in runs) or (not seed and key == "seed"):
            continue
        values = [config.get(key, _MISSING) for config in configs]
        if type(values[0]) in ALIKE and values.count(values[0]) == len(values) and len(set(map(type, values))) == 1:
            continue
        shown = [_text(value) for value in values]
        if len(set(shown)) < 2:
            continue
        pattern = "\n".join(shown)
        derived = pattern in seen or any(_follows(shown, chosen[name]) for name in _owners(key, varied))
        if derived and not aliases and key not in by_hand:
            continue
        seen.add(pattern)
        keys.append(key)
    return [*varied, *keys]


def column_value(run: Run, key: str) -> Any:
    """Returns what stands in a run's column: the choice of a group, or the value of a dotted key."""
    value = run.flat.get(key)
    if value is not None and value != {}:  # {}: a choice without settings
        return value
    return run.choices.get(key, value)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns for each key the shortest end of it that no other key shares (`optimizer.lr` -> `lr`)."""
    columns = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        columns[key] = next(
            (end for end in ends if not any(k != key and (k == end or k.endswith(f".{end}")) for k in keys)), key
        )
    return columns


def _owners(key: str, groups: Sequence[str]) -> list[str]:
    return [name for name in groups if key.partition(".")[0] == name.partition("/")[0]]


def _follows(shown: Sequence[str], chosen: Sequence[Any]) -> bool:
    return len(set(zip(map(str, chosen), shown, strict=True))) == len({str(value) for value in chosen})


def _pattern(values: Sequence[Any]) -> str:
    return "\n".join(map(_text, values))


def _text(value: Any) -> str:
    if isinstance(value, (str, int, float, type(None))):
        return repr(value)
    return "-" if value is _MISSING else json.dumps(value, sort_keys=True, default=str)
