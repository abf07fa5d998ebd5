"""Redis as an index."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Gives the class by its address in configs and manifests, `twotower.index.redis.RedisIndex`, on demand."""
    if name != "RedisIndex":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twotower.index.redis.index import RedisIndex

    return RedisIndex
