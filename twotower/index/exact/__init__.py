"""The exact index: every document is compared."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Gives the class by its address in configs and manifests, `twotower.index.exact.ExactIndex`, on demand."""
    if name != "ExactIndex":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twotower.index.exact.index import ExactIndex

    return ExactIndex
