"""A recorded config, changed from the command line: the same grammar as `train.py`, applied to plain data.

The recorded config is resolved: what was written in terms of another key is a value of its own in it. `FOLLOWERS` says
which keys go along with which. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from twotower.config.canonical import current, current_override
from twotower.config.compose import SEVERAL, compose_group
from twotower.core.errors import UserError, nearest
from twotower.core.format import train_command
from twotower.core.nested import at, changed, dotted_keys

FOLLOWERS: dict[str, tuple[tuple[str, str], ...]] = {
    "data.path": (("data.source.path", "{}"),),
    "data.missing": (("data.source.missing", "{}"),),
    "evaluation.objective": (
        ("callbacks.checkpoint.monitor", "eval_{}"),
        ("callbacks.early_stopping.monitor", "eval_{}"),
    ),
    "trainer.cache_chunk": (("loss.chunk", "{}"),),
}
"""Keys that conf/ defines by another: (key, how it is written in terms of the other)."""

NAMED = ("model.query_tower", "model.document_tower")
"""Parts that a short name may stand for, as in model.query_tower=gru."""

NOT_OURS = ("hydra", "paths", "sweep", "ckpt_path")
"""First parts of keys that belong to the start of a run, not to what it computes."""


def vary(
    config: Mapping[str, Any], choices: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Applies overrides to a resolved config.

    `group=choice` takes a whole group as conf/ has it now; `key=value` changes a key that exists, `+key=value` adds
    one, `~key` removes one. Groups are swapped first, so that keys can change what they bring.

    Args:
        config: the recorded config.
        choices: the recorded choice of every config group.
        overrides: as typed.

    Returns:
        The new config and choices; what was given stays as it was.

    Raises:
        UserError: for an override that can't be read, an unknown key or choice (with the nearest valid one), or several
            values where one is needed.
    """
    changed, chosen = deepcopy(current(config)), dict(choices)
    parsed = [_parse(text) for text in overrides]
    swaps = [item for item in parsed if _is_swap(changed, item)]
    for item in swaps:
        changed[item.key_or_group] = _group(item.key_or_group, item.value(), changed)
        chosen[item.key_or_group] = item.value()
    for item in parsed:
        if item not in swaps:
            _apply(changed, item)
    return changed, chosen


def composed_keys(overrides: Sequence[str]) -> list[str]:
    """Returns the dotted keys, groups among them, that overrides set: what stands there is the user's own choice."""
    return [_parse(text).key_or_group for text in overrides]


def relocated(value: Any, old: str | None, new: str) -> Any:
    """Returns nested plain data in which every path in the folder `old`, or address of a file there, lies in `new`."""
    inside = re.compile(rf"((?:sqlite:///|file:(?://)?)?){re.escape(old)}(/.*)?") if old else None

    def moved(leaf: Any) -> Any:
        match = inside.fullmatch(leaf) if inside and isinstance(leaf, str) else None
        return leaf if match is None else f"{match[1]}{new}{match[2] or ''}"

    return changed(value, moved)


def _parse(text: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(current_override(text))
    except HydraException as error:
        reason = str(error).splitlines()[0].split(" See https")[0]
        raise UserError(f"'{text}' is not an override such as model.dropout=.2 ({reason}).") from error
    if override.is_sweep_override():
        raise UserError(f"'{text}' names several values; rerun starts one run. A sweep is: {train_command()} -m {text}")
    if override.key_or_group.split(".")[0] in NOT_OURS:
        raise UserError(f"'{text}': {override.key_or_group} is set anew for every run and can't be varied.")
    return override


def _is_swap(config: Mapping[str, Any], item: Any) -> bool:
    key, value = item.key_or_group, item.value()
    if "." in key or not isinstance(config.get(key), Mapping) or item.is_delete():
        return False
    listed = key in SEVERAL and isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    if not isinstance(value, str) and not listed:
        raise UserError(f"{key}={value}: {key} is a group; choose one of its options, or set one of its keys.")
    return True


def _group(group: str, choice: Any, config: Mapping[str, Any]) -> Any:
    """Composes one group as it stands now, with the recorded paths filled in where it refers to them."""
    known = set(dotted_keys(config))  # an earlier record lacks what came later, which then has its default
    recorded = [f"++{key}={_quoted(at(config, key))}" for key in ("paths.run", *FOLLOWERS) if key in known]
    return compose_group(group, choice, recorded)


def _quoted(value: Any) -> str:
    if value is None or isinstance(value, (int, float)):
        return "null" if value is None else str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _apply(config: dict[str, Any], item: Any) -> None:
    key, value = item.key_or_group, None if item.is_delete() else item.value()
    *parents, name = key.split(".")
    node = at(config, ".".join(parents))
    if not isinstance(node, dict) or (name not in node and not (item.is_add() or item.is_force_add())):
        raise UserError(f"The run's config has no key '{key}'.{_hint(config, key)} +{key}=... would add it.")
    if item.is_delete():
        del node[name]
        return
    tower = key in NAMED and isinstance(value, str)
    if isinstance(node.get(name), dict) and not isinstance(value, dict) and not tower:
        raise UserError(f"{key}={value}: {key} is a group of keys; set one of: {', '.join(node[name])}.")
    node[name] = deepcopy(value)
    for follower, form in FOLLOWERS.get(key, ()):
        _follow(config, follower, value if value is None or form == "{}" else form.format(value))


def _follow(config: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    node = at(config, ".".join(parents))
    if isinstance(node, dict) and name in node:
        node[name] = value


def _hint(config: Mapping[str, Any], key: str) -> str:
    names = list(dotted_keys(config))
    if hint := nearest(key, names):
        return hint
    tails = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
    close = nearest(key.rsplit(".", 1)[-1], tails)
    return next((f" Did you mean '{full}'?" for tail, full in tails.items() if f"'{tail}'" in close), "")
