"""`index=auto`: tries the kinds of index on a sample and takes the simplest that keeps to the budgets.

In the order of trying: exact (nothing to build, nothing missed), HNSW over the vectors, HNSW over 8-bit codes and
IVF-PQ, both re-ranked from memory-mapped originals. What a candidate keeps in memory is known by counting; its time a
query is measured on a sample and carried over to all vectors by how its work grows, and by the threads it then has.
Recall and time of the one that was built are then measured on all of them, and everything is told in the manifest's
notes.

Legend: N documents, D dimension, S sampled documents.
"""

from __future__ import annotations

import logging
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import write_json
from twotower.core.reading import Each, read_typed_json
from twotower.index.base import Build, Index, need
from twotower.index.exact.index import ExactIndex
from twotower.index.faiss.index import FaissIndex
from twotower.index.recall import make_probe, measure
from twotower.index.vectors import Progress, Vectors, sample_rows, take

log = logging.getLogger(__name__)

FILE = "auto.json"
NOTE = {"chosen": str, "why": [str], "settings?": Each(object)}
TIMED_QUERIES = 50
LARGE = 200_000
"""Vectors above which a graph gets 32 links each: with 16, HNSW at 758,553 needs seven times the time of 100,000."""

GRAPH_GROWTH = 0.8
"""How a graph's time grows for equal recall: by the power of 1 with 16 links as measured, less with 32."""


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


def lists_for(count: int) -> int:
    """Returns the IVF lists for so many vectors: the power of 2 next to 4 roots of their number."""
    return int(2 ** round(math.log2(max(16.0, 4 * math.sqrt(count)))))


def codes_for(dim: int) -> int:
    """Returns the PQ codes (bytes) for vectors of a width: the divisor nearest to an eighth of it, at most 48."""
    return min((m for m in range(1, 49) if dim % m == 0), key=lambda m: abs(m - dim / 8))


def candidates(count: int, dim: int) -> list[Candidate]:
    """Returns what may be built for N vectors of a width, simplest first.

    Args:
        count: N.
        dim: D.
    """
    lists, codes = lists_for(count), codes_for(dim)
    links = 16 if count <= LARGE else 32
    graph: dict[str, Any] = {"ef_construction": 100}
    compressed = f"IVF{lists},PQ{codes}"
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
            settings={"factory": compressed, "rerank": 100},
            resident=lambda n, d: n * (codes + 8.0) + 4.0 * lists * d,
            growth=0.5,
        ),
    ]


def free_memory_gb() -> float:
    """Returns half of the memory that this machine has available, in GB, or 4 where that is not known."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024 / 2e9
    except (OSError, StopIteration, ValueError):
        return 4.0


class AutoIndex(Index):
    """The simplest index within a memory and a latency budget.

    Args:
        name: its name in the config.
        memory_gb: what it may keep in memory while searching, in GB; null: half of what is free at build.
        latency_ms: median milliseconds of one query.
        target_recall: recall@10 to reach.
        trial_rows: vectors to try each candidate on.
        seed: chooses them.
    """

    kind = "auto"

    def __init__(
        self,
        *,
        name: str = "auto",
        memory_gb: float | None = None,
        latency_ms: float = 10.0,
        target_recall: float = 0.95,
        trial_rows: int = 20_000,
        seed: int = 0,
    ) -> None:
        super().__init__(name=name)
        need(memory_gb is None or memory_gb > 0, name, "memory_gb", memory_gb, "above 0, or null")
        need(latency_ms > 0, name, "latency_ms", latency_ms, "above 0")
        need(0 < target_recall <= 1, name, "target_recall", target_recall, "above 0 and at most 1")
        need(trial_rows >= 1000, name, "trial_rows", trial_rows, "at least 1000")
        self.memory_gb, self.latency_ms, self.target_recall = memory_gb, latency_ms, target_recall
        self.trial_rows, self.seed = trial_rows, seed
        self.inner: Index | None = None
        self.chosen, self.why = "", []  # type: ignore[var-annotated]

    def _build(self, build: Build) -> None:
        """Chooses on a sample, builds the choice on all vectors, and measures what became of it."""
        vectors, folder, progress = build.vectors, build.folder, build.progress
        if (folder / FILE).is_file():  # an interrupted build has already chosen
            note = read_typed_json(folder / FILE, NOTE)
            there = {item.name: item for item in candidates(self.count, self.dim)}
            if note["chosen"] not in there:
                raise UserError(f"{folder / FILE}: {note['chosen']} is no index to choose here. Remove {folder}.")
            choice = there[note["chosen"]]
            self.why = note["why"]
        else:
            choice, self.why = self._choose(vectors, progress)
            write_json(folder / FILE, {"chosen": choice.name, "settings": choice.settings, "why": self.why})
        self.chosen = choice.name
        log.info("index.%s takes %s: %s", self.name, choice.name, " ".join(self.why))
        self.inner = choice.make(self.name, self.target_recall)
        self.inner.build(vectors, build.document_ids, folder, probe=build.probe, progress=progress)
        probe = build.probe or make_probe(vectors, seed=self.seed)
        recall, spent = measure(self.inner, vectors, probe.at(10)), one_query_ms(self.inner, probe.query_QD)
        facts = f"Built on all {self.count}: recall@10 {recall:.3f}, {spent:.2f} ms a query"
        missed = [
            text for text, bad in (("recall", recall < self.target_recall), ("time", spent > self.latency_ms)) if bad
        ]
        self.why.append(
            facts + (f"; {' and '.join(missed)} outside the budget." if missed else "; within the budgets.")
        )
        if missed:
            log.warning("index.%s: %s", self.name, self.why[-1])
        write_json(folder / FILE, {"chosen": choice.name, "settings": choice.settings, "why": self.why})

    def _choose(self, vectors: Vectors, progress: Progress | None) -> tuple[Candidate, list[str]]:
        budget = self.memory_gb or free_memory_gb()
        why = [f"Budgets: {budget:.1f} GB, {self.latency_ms:g} ms a query, recall@10 {self.target_recall:g}."]
        sample_SD = take(vectors, sample_rows(self.count, self.trial_rows, self.seed))
        kinds = candidates(self.count, self.dim)
        for number, candidate in enumerate(kinds):
            if progress:
                progress(f"try {candidate.name}", number, len(kinds))
            size = candidate.resident(self.count, self.dim) / 1e9
            if size > budget:
                why.append(f"{candidate.name}: {size:.2f} GB, too large.")
                continue
            spent = self._try(candidate, sample_SD)
            if spent <= self.latency_ms:
                why.append(f"{candidate.name}: {size:.2f} GB, about {spent:.2f} ms; taken.")
                return candidate, why
            why.append(f"{candidate.name}: {size:.2f} GB, about {spent:.2f} ms, too slow.")
        least = min(kinds, key=lambda item: item.resident(self.count, self.dim))
        why.append(f"Nothing keeps to both budgets; {least.name}, the smallest, is taken.")
        log.warning("index.%s: %s", self.name, why[-1])
        return least, why

    def _try(self, candidate: Candidate, sample_SD: np.ndarray) -> float:
        """Returns the milliseconds that one query over all vectors would take, from those over the sample."""
        index = candidate.make(self.name, self.target_recall)
        probe = make_probe(sample_SD, size=100, seed=self.seed)
        with tempfile.TemporaryDirectory() as folder:
            index.build(sample_SD, [""] * len(sample_SD), Path(folder), probe=probe)
            spent = one_query_ms(index, probe.query_QD) * (self.count / len(sample_SD)) ** candidate.growth
        if isinstance(index, ExactIndex):  # the sample may be too small to be divided among threads, unlike the whole
            spent *= index.threads(len(sample_SD)) / index.threads(self.count)
        return spent  # type: ignore[no-any-return]

    def load(self, folder: Path) -> None:
        """Opens whatever was chosen."""
        note = read_typed_json(folder / FILE, NOTE)
        self.chosen, self.why, settings = note["chosen"], note["why"], note.get("settings")
        try:
            self.inner = FaissIndex(name=self.name, **settings) if settings else ExactIndex(name=self.name)
        except TypeError as error:
            raise UserError(f"{folder / FILE}: {error}; it is damaged. Build the index again.") from error
        self.inner.load(folder)
        self.count, self.dim = self.inner.count, self.inner.dim

    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.inner is not None, "search before load"
        return self.inner._search(query_QD, k)

    def describe(self) -> dict[str, Any]:
        """Names the choice and the reasons."""
        below = self.inner.describe() if self.inner is not None else {"settings": {}, "notes": []}
        return {
            "settings": {"chosen": self.chosen, **below["settings"]},
            "notes": [*self.why, *below["notes"]],
            "bytes": 0,
        }


def one_query_ms(index: Index, query_QD: np.ndarray) -> float:
    """Returns the median milliseconds of a search for ten hits, one query at a time."""
    seconds = []
    index.search(query_QD[:1], 10)
    for query_D in query_QD[:TIMED_QUERIES]:
        started = time.perf_counter()
        index.search(query_D, 10)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
