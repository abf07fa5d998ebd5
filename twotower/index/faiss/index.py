"""FAISS indexes from any factory string, on a CPU or a GPU, memory-mapped when read.

FAISS's inner product over normalised vectors is cosine similarity. Approximate indexes are tuned on queries with known
answers (`target_recall`) unless the config fixes `nprobe` or `ef_search`; compressed ones can re-rank their best
`rerank` hits from the original vectors, which are memory-mapped, so that scores are exact again.
Legend: N documents, D dimension, Q queries, K ranks, C candidates to re-rank.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import atomic_path, write_json
from twotower.core.reading import read_array, read_typed_json
from twotower.index.base import Build, Index, Probe, need
from twotower.index.faiss.effort import (
    CANDIDATES,
    FIRST,
    MOST_CANDIDATES,
    Level,
    candidates_for,
    read_levels,
    value_for,
)
from twotower.index.faiss.factory import (
    fit,
    largest,
    list_count,
    make,
    most_efforts,
    prepare,
    read_file,
    reserve,
    search_parameter,
)
from twotower.index.faiss.search import ThreadsFor, read_ahead, rescore, smallest_enough
from twotower.index.recall import recall_of_scores
from twotower.index.vectors import Progress, Vectors, best_first, blocks, normalise, sample_rows, take, write_npy

log = logging.getLogger(__name__)

FILE = "index.faiss"
ORIGINALS = "vectors.npy"
SETTINGS = "settings.json"
PARTIAL = "partial.faiss"
SAVE_SECONDS = 60.0
"""A long build writes down what it has this often, or as seldom as keeps that under a twentieth of the time."""

TRAIN_PER_CENTROID = 64
"""Vectors to train on per IVF list: a quarter of FAISS's 256 and of its time, above the 39 it asks for."""

# From this many queries on FAISS multiplies matrices; its own default (128,000) never does and is ten times slower.
faiss.cvar.distance_compute_blas_threshold = 20
# A child forked after FAISS was used waits for ever on threads that it did not inherit.
os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))


class FaissIndex(Index):
    """An index made by FAISS's factory.

    Args:
        name: its name in the config.
        factory: the factory string; lists and code bits shrink when there are too few documents, which is logged.
        ef_construction: HNSW: neighbours considered while building.
        ef_search: HNSW: neighbours considered while searching; null: the smallest that reaches target_recall.
        nprobe: IVF: lists visited; null: the fewest that reach target_recall.
        target_recall: recall to reach when tuning, for 10, 100 and 1000 hits.
        rerank: this many hits are scored again from the original vectors, more of them where more than ten are asked
            for; 0: none.
        train_size: most vectors to train on; null: 64 per IVF list, at least 65,536.
        gpu: build and search on the first GPU.
        seed: chooses the training vectors.
    """

    kind = "faiss"

    def __init__(
        self,
        *,
        name: str = "faiss_flat",
        factory: str = "Flat",
        ef_construction: int = 200,
        ef_search: int | None = None,
        nprobe: int | None = None,
        target_recall: float = 0.95,
        rerank: int = 0,
        train_size: int | None = None,
        gpu: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(name=name)
        need(ef_construction >= 1, name, "ef_construction", ef_construction, "at least 1")
        need(ef_search is None or ef_search >= 1, name, "ef_search", ef_search, "at least 1, or null to tune it")
        need(nprobe is None or nprobe >= 1, name, "nprobe", nprobe, "at least 1, or null to tune it")
        need(0 < target_recall <= 1, name, "target_recall", target_recall, "above 0 and at most 1")
        need(rerank >= 0, name, "rerank", rerank, "0 (off) or the number of hits to score again")
        need(train_size is None or train_size >= 1, name, "train_size", train_size, "at least 1, or null")
        self.factory, self.ef_construction, self.rerank = factory, ef_construction, rerank
        self.fixed = {"efSearch": ef_search, "nprobe": nprobe}
        self.target_recall, self.train_size, self.gpu, self.seed = target_recall, train_size, gpu, seed
        self.value: int | None = None
        self.levels: list[Level] = []
        self._parameter, self._lists, self._mapped = "", 0, False
        self.notes: list[str] = []
        self._index: Any = None
        self._resources: Any = None
        self._originals_ND: np.ndarray | None = None

    def check(self, *, dim: int | None = None) -> None:
        """Raises UserError for a factory string that cannot work, or a GPU that is not there."""
        if self.gpu and faiss.get_num_gpus() == 0:
            build = "FAISS sees none" if hasattr(faiss, "StandardGpuResources") else "this FAISS is the CPU build"
            raise UserError(
                f"index.{self.name} needs a GPU ({build}). Use index=faiss_flat or index=faiss_hnsw here; "
                "on a machine with a GPU install the gpu extra."
            )
        # Without a known width only the grammar is checked: 5040 divides by nearly any PQ count.
        make(self.factory, dim or 5040, self.name)

    def _build(self, build: Build) -> None:
        """Trains on a sample, adds block by block, tunes on the probe, writes `index.faiss`."""
        vectors, folder, progress = build.vectors, build.folder, build.progress
        fitted, self.notes = fit(self.factory, self.count)
        for note in self.notes:
            log.warning("index.%s: %s", self.name, note)
        if not (folder / FILE).is_file():
            self._make_file(vectors, fitted, folder, progress)
        if self.rerank:
            write_npy(folder / ORIGINALS, vectors, progress=progress, stage="originals")
        self._open(folder)
        self._tune(build.probe)
        write_json(folder / SETTINGS, {"value": self.value, "levels": self.levels})

    def _make_file(self, vectors: Vectors, fitted: str, folder: Path, progress: Progress | None) -> None:
        partial = folder / PARTIAL
        if partial.is_file():
            index = read_file(partial)
            log.info("index.%s: going on at row %d of %d", self.name, index.ntotal, self.count)
        else:
            index = make(fitted, self.dim, self.name)
        if search_parameter(index) == "efSearch":
            faiss.ParameterSpace().set_index_parameter(index, "efConstruction", self.ef_construction)
        index = self._to_gpu(index)
        if not index.is_trained:
            self._train(index, vectors, fitted, progress)
            self._save(index, partial)
        self._add(index, vectors, partial, progress)
        if progress:
            progress("write", self.count, self.count)
        # The file itself is renamed into place: a file of this name is always whole.
        self._save(index, folder / FILE)
        partial.unlink(missing_ok=True)
        # From here on the index is searched as users will: from the file, without a second copy in memory.

    def _save(self, index: faiss.Index, path: Path) -> float:
        started = time.monotonic()
        with atomic_path(path) as temporary:
            try:
                faiss.write_index(faiss.index_gpu_to_cpu(index) if self.gpu else index, str(temporary))
            except RuntimeError as error:  # FAISS tells of a full disk in the words of its source code
                if os.strerror(errno.ENOSPC) not in str(error):
                    raise
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        return time.monotonic() - started

    def _train(self, index: faiss.Index, vectors: Vectors, fitted: str, progress: Progress | None) -> None:
        if progress:
            progress("train", 0, self.count)
        size = self.train_size or TRAIN_PER_CENTROID * max(1024, list_count(fitted))
        rows = sample_rows(self.count, size, self.seed)
        borrowed = [] if self.gpu else prepare(index)
        try:
            index.train(take(vectors, rows))
            del borrowed
        except RuntimeError as error:
            raise UserError(
                f"index.{self.name}.factory={self.factory} cannot be trained on {len(rows)} vectors: "
                f"{str(error).rsplit(': ', 1)[-1]}. Use a smaller one, or index=faiss_flat."
            ) from error

    def _add(self, index: faiss.Index, vectors: Vectors, partial: Path, progress: Progress | None) -> None:
        # Small blocks keep the bar moving where adding is slow (a graph); FAISS spreads each over all threads.
        rows, saved, cost = min(16384, max(1024, self.count // 50)), time.monotonic(), 0.0
        if not self.gpu:
            reserve(index, self.count)
        for start, block_BD in blocks(vectors, rows=rows, start=int(index.ntotal)):
            index.add(block_BD)
            stop = start + len(block_BD)
            if progress:
                progress("add", stop, self.count)
            if stop < self.count and time.monotonic() - saved > max(SAVE_SECONDS, 20 * cost):
                cost = self._save(index, partial)
                saved = time.monotonic()

    def _tune(self, probe: Probe | None) -> None:
        parameter = search_parameter(self._cpu_view())
        if parameter is None:
            return
        fixed = self.fixed[parameter]
        if probe is None:
            most = largest(self._cpu_view(), parameter)
            default = 64 if parameter == "efSearch" else max(8, most // 16)
            self.levels = [Level(FIRST, min(fixed or default, most))]
        for k in [] if probe is None else probe.depths:
            self._tune_for(parameter, fixed, probe.at(k))  # type: ignore[union-attr]
        self._set(parameter, self.levels[0].value)

    def _tune_for(self, parameter: str, fixed: int | None, probe: Probe) -> None:
        """Finds the least effort for the probe's depth; it is never less than for a smaller one, or what was fixed."""
        k, most = probe.depth, largest(self._cpu_view(), parameter, probe.depth)
        if fixed is not None and not self.levels:
            self.levels.append(Level(k, min(fixed, most)))
            return
        candidates = self._candidates_for(parameter, most, probe)
        start = self.levels[-1].value if self.levels else 16 if parameter == "efSearch" else max(1, most // 256)
        value, recall = smallest_enough(
            lambda tried: self._recall_at(parameter, tried, probe, candidates), start=min(most, start), most=most,
            target=self.target_recall,
        )  # fmt: skip
        value = max(value, self.levels[-1].value if self.levels else 1)
        self.levels.append(Level(k, value, candidates))
        log.info("index.%s: %s=%d reaches recall@%d %.3f", self.name, parameter, value, k, recall)
        if recall < self.target_recall:
            self.notes.append(
                f"recall@{k} {recall:.3f} stays below target_recall={self.target_recall}: "
                f"codes too short, or too few hits scored again (rerank={self.rerank})"
            )
            log.warning("index.%s: %s", self.name, self.notes[-1])

    def _candidates_for(self, parameter: str, most: int, probe: Probe) -> int:
        """Returns how many hits to score again for each, so that coarse codes lose less than the target allows.

        For ten hits it is what `rerank` says.
        """
        candidates = self.levels[-1].candidates if self.levels else CANDIDATES
        tuned = bool(self.rerank and self.levels)
        while tuned and candidates < MOST_CANDIDATES:
            if self._recall_at(parameter, most, probe, candidates) >= self.target_recall:
                break
            candidates *= 2
        return candidates

    def _recall_at(self, parameter: str, value: int, probe: Probe, candidates: int) -> float:
        self._set(parameter, value)
        if not self._exact_scores():
            return self._row_recall(probe)
        scores_QK, _ = self._at_value(probe.query_QD, probe.depth, candidates)
        return recall_of_scores(scores_QK, probe.scores_QK)

    def _row_recall(self, probe: Probe) -> float:
        """Judges a compressed index without re-ranking by what more visited lists would still change."""
        parameter = search_parameter(self._cpu_view())
        assert parameter is not None
        assert self.value is not None
        k, value = probe.depth, self.value
        found_QK, _ = self._at_value(probe.query_QD, k)
        self._set(parameter, largest(self._cpu_view(), parameter, k))
        best_QK, _ = self._at_value(probe.query_QD, k)
        self._set(parameter, value)
        return recall_of_scores(found_QK, best_QK)

    def _exact_scores(self) -> bool:
        return bool(self.rerank) or "Flat" in self.factory or self.factory.startswith("HNSW")

    def _set(self, parameter: str, value: int) -> None:
        space = faiss.GpuParameterSpace() if self.gpu else faiss.ParameterSpace()
        space.set_index_parameter(self._index, parameter, value)
        self.value, self._parameter = value, parameter
        self._lists = largest(self._cpu_view(), parameter) if parameter == "nprobe" else 0

    def load(self, folder: Path) -> None:
        """Memory-maps the index (a GPU index is copied to the GPU)."""
        if self.gpu:
            self.check()
        self._open(folder)
        parameter = search_parameter(self._cpu_view())
        self.levels = read_levels(read_typed_json(folder / SETTINGS, object), folder / SETTINGS)
        if parameter is not None and self.levels:
            self._set(parameter, self.levels[0].value)

    def _open(self, folder: Path) -> None:
        read_ahead(folder / FILE)
        try:
            index = read_file(folder / FILE, 0 if self.gpu else faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise UserError(f"Cannot read {folder / FILE}: cut short or not a FAISS index. Build it again.") from error
        self.count, self.dim = int(index.ntotal), int(index.d)
        self._index = self._to_gpu(index)
        if self.rerank:
            shape = (self.count, self.dim)
            self._originals_ND = read_array(folder / ORIGINALS, dtype="float32", shape=shape, mapped=True)

    def _to_gpu(self, index: faiss.Index) -> faiss.Index:
        if not self.gpu:
            return index
        self._resources = self._resources or faiss.StandardGpuResources()
        try:
            return faiss.index_cpu_to_gpu(self._resources, 0, index)
        except RuntimeError as error:
            raise UserError(
                f"index.{self.name}.factory={self.factory} does not run on a GPU: "
                f"{str(error).rsplit(': ', 1)[-1]}. Flat, IVFn,Flat and IVFn,PQm do."
            ) from error

    def _cpu_view(self) -> faiss.Index:
        return faiss.index_gpu_to_cpu(self._index) if self.gpu else self._index

    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if not self.levels or not self._parameter:
            return self._at_value(query_QD, k)
        candidates = candidates_for(self.levels, k)
        most = self._lists or most_efforts(self.count, k)
        value = value_for(self.levels, k, most)
        while True:
            if value != self.value:
                self._set(self._parameter, value)
            scores_QK, rows_QK = self._at_value(query_QD, k, candidates)
            if value >= most or (rows_QK >= 0).all():
                return scores_QK, rows_QK
            value = min(most, 2 * value)  # fewer hits than there are documents: look further

    def vectors_at(self, rows_K: np.ndarray, document_ids: Callable[[], Sequence[str]]) -> np.ndarray:
        """Returns the vectors of some rows: the originals if kept, else what FAISS makes of its codes [K, D]."""
        if self._originals_ND is not None:
            return normalise(np.asarray(self._originals_ND[rows_K], dtype=np.float32))
        try:
            if self._parameter == "nprobe" and not self._mapped:
                faiss.extract_index_ivf(self._cpu_view()).make_direct_map()
                self._mapped = True
            return normalise(self._index.reconstruct_batch(np.ascontiguousarray(rows_K, dtype=np.int64)))
        except RuntimeError:
            return super().vectors_at(rows_K, document_ids)

    def _at_value(self, query_QD: np.ndarray, k: int, candidates: int = CANDIDATES) -> tuple[np.ndarray, np.ndarray]:
        assert self._index is not None, "search before load"
        wanted = min(self.count, max(k, self.rerank, candidates * k if self.rerank else 0))
        with ThreadsFor(len(query_QD) * self._visited(wanted) * self.dim):
            scores_QC, rows_QC = self._index.search(query_QD, wanted)
        if self._originals_ND is not None:
            scores_QC = rescore(query_QD, rows_QC, self._originals_ND)
        return best_first(scores_QC, rows_QC, k)

    def _visited(self, wanted: int) -> int:
        """Returns about how many documents one query is compared with."""
        if self.value is None:
            return self.count
        if self._parameter == "efSearch":
            return 32 * max(self.value, wanted)
        return self.count * self.value // max(1, self._lists)

    @property
    def for_speed(self) -> bool:  # type: ignore[override]
        """A graph, or lists of which some are visited; not one that compares everything."""
        return self._index is not None and search_parameter(self._cpu_view()) is not None

    def describe(self) -> dict[str, Any]:
        """Names the search parameter in use and what was changed to fit the data."""
        parameter = search_parameter(self._cpu_view()) if self._index is not None else None
        return {
            "settings": {parameter: self.levels[0].value} if parameter else {},
            "notes": list(self.notes),
            "bytes": 0,
        }
