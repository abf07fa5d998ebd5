"""What `index=auto` chooses from. Legend: N documents, D dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twotower.index.base import Index
from twotower.index.exact.index import ExactIndex
from twotower.index.faiss.factory import POINTS_PER_LIST, sized
from twotower.index.faiss.index import FaissIndex

LARGE = 200_000
"""Vectors above which a graph gets 32 links each: with 16, HNSW at 758,553 needs seven times the time of 100,000."""

GRAPH_GROWTH = 0.8
"""How a graph's time grows for equal recall: by the power of 1 with 16 links as measured, less with 32.

It is more over vectors that a graph is bad at: then what a quarter of the sample and all of it take decides.
"""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kind of index: settings, bytes it keeps in memory for (N, D), and the power of N its time grows with."""

    name: str
    settings: dict[str, Any]
    resident: Callable[[int, int], float]
    growth: float

    def make(self, name: str, target_recall: float) -> Index:
        """Returns the index, not built."""
        if not self.settings:
            return ExactIndex(name=name)
        return FaissIndex(name=name, target_recall=target_recall, **self.settings)


def candidates(count: int, dim: int) -> list[Candidate]:
    """Returns what may be built for N vectors of a width, simplest first.

    Args:
        count: N.
        dim: D.
    """
    links = 16 if count <= LARGE else 32
    graph: dict[str, Any] = {"ef_construction": 100}
    compressed, lists = sized("IVF1024,PQ{dim/4}x4fs", dim), min(1024, count / POINTS_PER_LIST)
    return [
        Candidate(name="exact", settings={}, resident=lambda n, d: 4.0 * n * d, growth=1.0),
        Candidate(
            name=f"HNSW{links}",
            settings={"factory": f"HNSW{links}", **graph},
            resident=lambda n, d: n * (4.0 * d + 8 * links + 16),
            growth=GRAPH_GROWTH,
        ),
        Candidate(
            name=f"HNSW{links}_SQ8",
            settings={"factory": f"HNSW{links}_SQ8", "rerank": 50, **graph},
            resident=lambda n, d: n * (1.0 * d + 8 * links + 16),
            growth=GRAPH_GROWTH,
        ),
        Candidate(
            name=compressed,
            settings={"factory": compressed, "rerank": 200},
            resident=lambda n, d: n * (d / 8 + 8.0) + 4.0 * lists * d,
            growth=0.5,
        ),
    ]
