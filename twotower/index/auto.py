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
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import write_json
from twotower.core.reading import Each, read_typed_json
from twotower.index.base import Build, Index, Probe, need
from twotower.index.candidates import GRAPH_GROWTH, Candidate, candidates
from twotower.index.exact.index import ExactIndex
from twotower.index.faiss.index import FILE as FAISS_FILE
from twotower.index.faiss.index import ORIGINALS, SETTINGS, FaissIndex
from twotower.index.pace import SLOWER, exact_ms, one_query_ms
from twotower.index.recall import make_probe, measure
from twotower.index.vectors import Progress, Vectors, sample_rows, take

log = logging.getLogger(__name__)

FILE = "auto.json"
NOTE = {"chosen": str, "why": [str], "settings?": Each(object)}


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

    @property
    def for_speed(self) -> bool:  # type: ignore[override]
        """As what was chosen."""
        return self.inner is not None and self.inner.for_speed

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
            choice, self.why = self._choose(vectors, build.probe, progress)
            write_json(folder / FILE, {"chosen": choice.name, "settings": choice.settings, "why": self.why})
        log.info("index.%s takes %s: %s", self.name, choice.name, " ".join(self.why))
        probe = build.probe or make_probe(vectors, seed=self.seed)
        given = {"document_ids": build.document_ids, "folder": folder, "probe": build.probe, "progress": progress}
        self._build_choice(choice, vectors, given)
        if choice.settings and self._slower_than_exact(vectors, probe):
            choice = candidates(self.count, self.dim)[0]
            write_json(folder / FILE, {"chosen": choice.name, "settings": choice.settings, "why": self.why})
            self._build_choice(choice, vectors, given)
        self._tell(vectors, probe)
        write_json(folder / FILE, {"chosen": choice.name, "settings": choice.settings, "why": self.why})

    def _build_choice(self, choice: Candidate, vectors: Vectors, given: dict[str, Any]) -> None:
        """Builds one kind of index; exact clears away a graph that it takes the place of, in a resumed build too."""
        if not choice.settings and (given["folder"] / FAISS_FILE).is_file():
            for name in (ORIGINALS, SETTINGS, FAISS_FILE):  # the one looked for goes last
                (given["folder"] / name).unlink(missing_ok=True)
        self.chosen, self.inner = choice.name, choice.make(self.name, self.target_recall)
        self.inner.build(vectors, **given)

    def _tell(self, vectors: Vectors, probe: Probe) -> None:
        """Measures what was built and says whether it keeps to the budgets."""
        assert self.inner is not None
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

    def _slower_than_exact(self, vectors: Vectors, probe: Probe) -> bool:
        """Says whether what was built is slower than comparing everything, which fits into the memory allowed."""
        assert self.inner is not None
        if candidates(self.count, self.dim)[0].resident(self.count, self.dim) / 1e9 > self._budget():
            return False
        spent, whole = one_query_ms(self.inner, probe.query_QD), exact_ms(vectors, probe.query_QD)
        if spent <= SLOWER * whole:
            return False
        self.why.append(f"Built, {self.chosen} takes {spent:.2f} ms a query and exact {whole:.2f}: exact is taken.")
        log.warning("index.%s: %s", self.name, self.why[-1])
        return True

    def _budget(self) -> float:
        return self.memory_gb or free_memory_gb()

    def _choose(self, vectors: Vectors, probe: Probe | None, progress: Progress | None) -> tuple[Candidate, list[str]]:
        budget, fitting = self._budget(), dict[str, float]()
        asked_QD = probe.query_QD if probe is not None and probe.source == "queries" else None
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
            spent = fitting[candidate.name] = self._try(candidate, sample_SD, asked_QD)
            if spent > SLOWER * fitting.get("exact", math.inf):
                why.append(f"{candidate.name}: {size:.2f} GB, about {spent:.2f} ms, slower than exact.")
                continue
            if spent <= self.latency_ms:
                why.append(f"{candidate.name}: {size:.2f} GB, about {spent:.2f} ms; taken.")
                return candidate, why
            why.append(f"{candidate.name}: {size:.2f} GB, about {spent:.2f} ms, too slow.")
        if fitting:
            taken = next(item for item in kinds if item.name == min(fitting, key=fitting.__getitem__))
        else:
            taken = min(kinds, key=lambda item: item.resident(self.count, self.dim))
        which = "quickest" if fitting else "smallest"
        why.append(f"Nothing keeps to both budgets; {taken.name}, the {which}, is taken.")
        log.warning("index.%s: %s", self.name, why[-1])
        return taken, why

    def _try(self, candidate: Candidate, sample_SD: np.ndarray, asked_QD: np.ndarray | None) -> float:
        """Returns the milliseconds that one query over all vectors would take, from those over the sample."""
        growth, whole = candidate.growth, self.count / len(sample_SD)
        spent = self._timed(candidate, sample_SD, asked_QD)
        if growth == GRAPH_GROWTH and whole > 1:
            part = self._timed(candidate, sample_SD[: len(sample_SD) // 4], asked_QD)
            growth = max(growth, math.log(spent / part) / math.log(4))
        spent *= whole**growth
        if not candidate.settings:  # the sample may be too small to be divided among threads, unlike the whole
            exact = ExactIndex(name=self.name)
            exact.dim, exact._on_cpu = self.dim, exact._device().startswith("cpu")
            spent *= exact.threads(len(sample_SD)) / exact.threads(self.count)
        return float(spent)

    def _timed(self, candidate: Candidate, sample_SD: np.ndarray, asked_QD: np.ndarray | None) -> float:
        """Returns the milliseconds of one query over a sample, by real queries where there are any."""
        index = candidate.make(self.name, self.target_recall)
        probe = make_probe(sample_SD, asked_QD, size=100, seed=self.seed)
        with tempfile.TemporaryDirectory() as folder:
            index.build(sample_SD, [""] * len(sample_SD), Path(folder), probe=probe)
            return one_query_ms(index, probe.query_QD)

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

    def vectors_at(self, rows_K: np.ndarray, document_ids: Callable[[], Sequence[str]]) -> np.ndarray:
        """Returns vectors as whatever was chosen holds them [K, D]."""
        assert self.inner is not None, "search before load"
        return self.inner.vectors_at(rows_K, document_ids)

    def describe(self) -> dict[str, Any]:
        """Names the choice and the reasons."""
        below = self.inner.describe() if self.inner is not None else {"settings": {}, "notes": []}
        return {
            "settings": {"chosen": self.chosen, **below["settings"]},
            "notes": [*self.why, *below["notes"]],
            "bytes": 0,
        }
