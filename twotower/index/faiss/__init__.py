"""FAISS indexes."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Gives the class by its address in configs and manifests, `twotower.index.faiss.FaissIndex`, on demand."""
    if name != "FaissIndex":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twotower.index.faiss.index import FaissIndex

    return FaissIndex
