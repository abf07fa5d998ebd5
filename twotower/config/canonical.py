"""One spelling for configs that say the same: earlier versions name parts by short names, and some keys otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twotower.config.names import EARLIER_KEYS, EMBEDDINGS, MODULE, SCHEDULERS, TOKENIZER, TOWERS
from twotower.core.nested import at

USUAL = {"model": MODULE, "text": TOKENIZER}
"""The part of a group whose config names none."""


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config as its shortest spelling: usual parts unnamed, our towers by short names, keys as first called.

    Two configs of the same meaning have the same canonical form, whichever version composed them.
    """
    result = _renamed(config, {now: earlier for earlier, now in EARLIER_KEYS.items()})
    named = {
        "scheduler": SCHEDULERS.get(str(at(config, "scheduler.name"))),
        "embedding": EMBEDDINGS.get(str(at(config, "embedding.kind"))),
    }
    for group, target in {**USUAL, **named}.items():
        if isinstance(result.get(group), Mapping) and result[group].get("_target_") == target:
            result[group] = {key: value for key, value in result[group].items() if key != "_target_"}
    if isinstance(result.get("model"), Mapping):
        result["model"] = {key: _short(value) for key, value in result["model"].items()}
    return result


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recorded config with today's names of keys."""
    return _renamed(config, EARLIER_KEYS)


def current_key(key: str) -> str:
    """Returns today's name of a key, given in full or by its end."""
    ends = {earlier.rpartition(".")[2]: now.rpartition(".")[2] for earlier, now in EARLIER_KEYS.items()}
    return {**EARLIER_KEYS, **ends}.get(key, key)


def current_override(text: str) -> str:
    """Returns an override (`+key=value`, `~key`) with today's name of its key."""
    key, equals, value = text.partition("=")
    name = key.lstrip("+~")
    return f"{key[: len(key) - len(name)]}{EARLIER_KEYS.get(name, name)}{equals}{value}"


def _renamed(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    result = dict(config)
    for before, after in names.items():
        group, _, old = before.partition(".")
        new = after.partition(".")[2]
        if isinstance(result.get(group), Mapping) and old in result[group]:
            result[group] = {new if key == old else key: value for key, value in result[group].items()}
    return result


def _short(value: Any) -> Any:
    names = {target: name for name, target in TOWERS.items()}
    alone = isinstance(value, Mapping) and set(value) == {"_target_"}
    return names.get(value["_target_"], value) if alone else value
