"""What jobs of a sweep in one process share in memory: the collection last read and what follows from it.

The caches on disk are shared by all; but reading a large collection from its files takes seconds again for every job.
One value of each kind is kept, so memory stays bounded, and only inside `keeping`: single runs keep nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twotower.core.cache import content_key

Value = TypeVar("Value")

_kept: dict[str, tuple[str, Any]] = {}
_open: list[bool] = []


@contextmanager
def keeping() -> Iterator[None]:
    """Lets `remember` keep values for the jobs to come."""
    _open.append(True)
    try:
        yield
    finally:
        _open.pop()


def remember(kind: str, depends_on: Any, build: Callable[[], Value]) -> Value:
    """Returns the value that an earlier job of this process built from the very same, or builds it.

    Args:
        kind: what it is; of each kind the latest value is kept.
        depends_on: plain data that decides the value; for files, their `stamp`.
        build: makes the value, which nobody may change afterwards.
    """
    if not _open:
        return build()
    key = content_key(depends_on)
    if kind in _kept and _kept[kind][0] == key:
        value: Value = _kept[kind][1]
        return value
    _kept.pop(kind, None)  # two large collections are never held at once
    value = build()
    _kept[kind] = (key, value)
    return value


def stamp(path: str | None) -> list[list[Any]]:
    """Returns name, size and time of change of every file at or under a path: it changes when they do."""
    if path is None:
        return []
    root = Path(path)
    files = sorted(item for item in root.rglob("*") if item.is_file()) if root.is_dir() else [root]
    facts = [(item, item.stat()) for item in files if item.is_file()]
    return [[str(item), state.st_size, state.st_mtime_ns] for item, state in facts]
