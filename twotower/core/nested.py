"""Walking nested plain data: dicts and lists as configs, records and manifests hold them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

PLAIN = frozenset((str, int, float, bool, list, type(None)))
"""What most leaves are; to ask whether they are a Mapping takes five times as long."""


def leaves(value: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields (keys on the way, value) of everything that is no mapping and no sequence; list items go by number."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(item, (*key, str(name)))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from leaves(item, (*key, str(number)))
    else:
        yield key, value


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Returns a copy as dicts with text keys and lists, in which every leaf went through `change`."""
    if isinstance(value, Mapping):
        return {str(key): changed(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [changed(item, change) for item in value]
    return change(value)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a config with dotted keys; lists stay whole, and so do empty groups."""
    result: dict[str, Any] = {}
    _fill(result, config, prefix)
    return result


def _fill(result: dict[str, Any], config: Mapping[str, Any], prefix: str) -> None:
    for key, value in config.items():
        if type(value) not in PLAIN and isinstance(value, Mapping) and value:
            _fill(result, value, f"{prefix}{key}.")
        else:
            result[sys.intern(f"{prefix}{key}")] = value  # one text for all configs, which are looked up key by key


def dotted_keys(config: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yields the dotted name of every key, groups included."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted_keys(value, f"{prefix}{key}.")


def at(config: Any, key: str) -> Any:
    """Returns what stands under a dotted key, None where nothing does; the whole for an empty key."""
    node = config
    for part in key.split(".") if key else ():
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def is_below(key: str, keys: Collection[str]) -> bool:
    """Says whether a dotted key is one of some keys, or below one of them."""
    return any(key == name or key.startswith(f"{name}.") for name in keys)
