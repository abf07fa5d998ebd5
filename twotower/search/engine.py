"""Opens a finished run and answers queries: tokenise, encode, search, fetch, each timed.

Legend: D dimension, K ranks, S sampled documents.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from twotower.config.trust import trusting
from twotower.core.errors import UserError, nearest
from twotower.core.leftovers import recover
from twotower.core.reading import read_array
from twotower.core.validators import check_choice
from twotower.data.documents import DocumentStore
from twotower.index.base import Index
from twotower.index.export import open_index
from twotower.index.lexical import MODES, LexicalSide, open_side
from twotower.index.manifest import read, run_identity
from twotower.index.resume import SAMPLE_FILE, SAMPLE_ROWS_FILE
from twotower.lexical.scores import WordScores
from twotower.runs.find import find_checkpoint
from twotower.search.fused import Dense, fuse, fused_deviation
from twotower.search.query import QueryModel, open_query_model
from twotower.search.results import Hit, RandomScore, Results, Timings
from twotower.search.served import search_served


class SearchEngine:
    """A model, its index and its documents, ready for queries; several threads may share one.

    Walking a graph of a million vectors leaves the processor's caches full of other things: whatever comes before and
    after runs cold, so that here every Python step counts, not only those in loops.

    Args:
        model: what reads the queries, with its tokenizer.
        index: an opened index of that model.
        manifest: the index's manifest.
        documents: the store the index's rows point into.
        sample_SD: vectors of some random documents, for scale; None leaves that out.
        sample_rows_S: their rows, so that hits among them are left out; None where they are not known.
        lexical: BM25 over the same documents; None leaves only dense search.
        folder: where the index lies; None for one that lies nowhere.
        served: whether the index's own server searches by words (Redis with a text field) rather than `lexical`.
    """

    def __init__(
        self,
        *,
        model: QueryModel,
        index: Index,
        manifest: dict[str, Any],
        documents: DocumentStore,
        sample_SD: np.ndarray | None,
        sample_rows_S: np.ndarray | None = None,
        lexical: LexicalSide | None = None,
        folder: Path | None = None,
        served: bool = False,
    ) -> None:
        self.model, self.index, self.manifest, self.documents = model, index, manifest, documents
        self.sample_SD, self.sample_rows_S, self.folder = sample_SD, sample_rows_S, folder
        self._sampled = {} if sample_rows_S is None else {row: at for at, row in enumerate(sample_rows_S.tolist())}
        self._best_of_all = (2 * math.log(max(1, documents.count))) ** 0.5
        """The expected highest of as many normally spread scores as there are documents, in standard deviations."""
        self.lexical, self.served = lexical, served
        self._lock = threading.RLock()

    @cached_property
    def _words(self) -> WordScores | None:
        return None if self.lexical is None else WordScores(self.lexical.bm25)

    @property
    def mode(self) -> str:
        """How this run was measured to search best: "dense", "lexical" or "hybrid"."""
        if self.served:
            return "hybrid"
        cut = self.index.dims is not None  # what cosines of cut vectors are worth beside BM25 was not measured
        if self.lexical is None or ((cut or not self.index.gives_vectors) and self.lexical.mode == "hybrid"):
            return "dense"
        return self.lexical.mode

    @classmethod
    def open(
        cls,
        run_dir: str | os.PathLike[str],
        index: str | None = None,
        *,
        trust: str | Sequence[str] = (),
        served: bool = False,
    ) -> SearchEngine:
        """Opens a run's newest exported model and one of its indexes.

        Args:
            run_dir: the run's folder, or a `Run`.
            index: the index's name; None takes the only one, or the one whose recall was highest.
            trust: packages whose parts the run may name, beside those of TWOTOWER_TRUST; for this call alone.
            served: search by words with the BM25 of the index's own server instead of the run's.

        Raises:
            UserError: when something is missing, damaged, belongs to another model, or names a part of a package that
                is not trusted, or `served` can't be.
        """
        with trusting(trust):
            return cls._open(Path(run_dir), index, served)

    @classmethod
    def _open(cls, run_dir: Path, index: str | None, served: bool) -> SearchEngine:
        model = open_query_model(find_checkpoint(run_dir))
        documents = DocumentStore(run_dir / "documents.db")
        folder = run_dir / "index" / choose_index(run_dir, index)
        identity = run_identity(model, documents)
        opened, manifest = open_index(folder, identity)
        if served and not opened.holds_text:
            raise UserError(
                f"The index {folder.name} can't search by words itself: only a Redis index with index.redis.text=true "
                "does. Leave --served out, or build one with `twotower index --index redis`."
            )
        sample, rows = folder / SAMPLE_FILE, folder / SAMPLE_ROWS_FILE
        sample_SD = sample_rows_S = None
        if sample.is_file():
            sample_SD = read_array(sample, dtype="float32", shape=(None, opened.dim), finite=True)
            if rows.is_file():
                sample_rows_S = read_array(rows, dtype="int64", shape=(len(sample_SD),))
        side = None if served else open_side(run_dir, identity)
        if side is not None and opened.dims is None and len(side.mean_D) != opened.dim:
            raise UserError(
                f"The lexical index of {run_dir} is of vectors of {len(side.mean_D)} numbers, {folder.name} of "
                f"{opened.dim}; build it again with `twotower index`."
            )
        return cls(
            model=model,
            index=opened,
            manifest=manifest,
            documents=documents,
            sample_SD=sample_SD,
            sample_rows_S=sample_rows_S,
            lexical=side,
            folder=folder,
            served=served,
        )

    def search(self, text: str, k: int = 10, mode: str | None = None) -> Results:
        """Finds the k best documents for a text; what is no character (bytes that are not UTF-8) is read as "?".

        Args:
            text: the query.
            k: how many documents.
            mode: "dense" (by vectors), "lexical" (by BM25) or "hybrid" (both); None takes the run's best (`mode`).

        Raises:
            UserError: for an empty query or what is no text, a k below 1, or a mode that this run has no index for.
        """
        mode = self.check_mode(mode)
        if not isinstance(text, str):
            raise UserError(f"text={text!r}: a query is one text.")
        if not text.isascii():  # a terminal hands over any bytes, as lone surrogates
            text = text.encode("utf-8", "replace").decode()
        if not text.strip():
            raise UserError("The query is empty: write what you are looking for.")
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise UserError(f"k={k!r}: ask for at least 1 document, a whole number.")
        with self._lock:
            if mode == "dense":
                return self._search(text, k)
            if self.served:
                return search_served(text, k, mode, model=self.model, index=self.index, documents=self.documents)
            return self._search_words(text, k, mode)

    def check_mode(self, mode: str | None) -> str:
        """Returns the mode to search in.

        Raises:
            UserError: for an unknown one, or one that needs a lexical index where the run has none.
        """
        if mode is None:
            return self.mode
        check_choice("mode", mode, MODES)
        if mode != "dense" and self.lexical is None and not self.served:
            raise UserError(f"mode={mode}: this run has no lexical index, as it was trained without one; use dense.")
        if mode == "hybrid" and self.index.dims is not None and not self.served:
            raise UserError(
                f"mode=hybrid: index.{self.index.name} holds the first {self.index.dims} numbers of every vector, with "
                "which the hybrid was not measured; use dense or lexical, or an index of whole vectors."
            )
        if mode == "hybrid" and not self.index.gives_vectors and not self.served:
            raise UserError(
                f"mode=hybrid: index.{self.index.name} can't give vectors back, which hybrid search needs; use dense "
                "or lexical, or another index."
            )
        return mode

    def encode(self, ids: Sequence[int]) -> np.ndarray:
        """Returns the vector [1, D] of a query's words, of the width that the index holds."""
        return self.index.cut(self.model.encode(ids[: self.model.max_query_length]))

    def _search(self, text: str, k: int) -> Results:
        now = time.perf_counter
        begun = now()
        words, unknown, ids = self.model.tokenizer.read(text)
        read = now()
        if len(unknown) == len(words):
            return self._nothing(text, words, read - begun)
        query_1D = self.encode(ids)
        encoded = now()
        scores_1K, rows_1K = self.index.search(query_1D, min(k, self.documents.count))
        searched = now()
        scores, rows = scores_1K[0].tolist(), rows_1K[0].tolist()
        if -1 in rows:  # there is no further hit: never the last document
            scores = [score for score, row in zip(scores, rows, strict=True) if row >= 0]
            rows = [row for row in rows if row >= 0]
        documents = self.documents.fetch(rows)
        fetched = now()
        stages = (read - begun, encoded - read, searched - encoded, fetched - searched)
        scored = enumerate(zip(scores, documents, strict=True), start=1)
        return Results(
            query=text,
            words=words,
            unknown=unknown,
            hits=[Hit(rank, score, item.doc_id, item.title, item.text) for rank, (score, item) in scored],
            notice=f"The model never saw: {', '.join(unknown)}." if unknown else "",
            random=self._random(query_1D[0], rows),
            timings=Timings(*(1000 * seconds for seconds in stages)),
            index=self.index.name,
        )

    def _search_words(self, text: str, k: int, mode: str) -> Results:
        """Searches by words alone, or by words and vector."""
        assert self.lexical is not None
        assert self._words is not None
        now = time.perf_counter
        begun = now()
        words, unknown, ids = self.model.tokenizer.read(text)
        looked_up = self.lexical.bm25.words(text)
        read = now()
        dense = mode == "hybrid" and len(unknown) < len(words)
        query_1D = self.encode(ids) if dense else None
        encoded = now()
        wanted = min(k, self.documents.count)
        if dense:  # words alone are the BM25 that was measured
            self._words.read(looked_up, self.lexical.bm25.further(text, **self.lexical.fusion.within))
        else:
            self._words.read(looked_up)
        if query_1D is None:
            scores_K, rows_K = self._words.best(wanted)
        else:
            scores_K, rows_K = fuse(
                self.lexical, self._words, query_1D[0], self._dense(query_1D), self.vectors_at, wanted
            )
        searched = now()
        documents = self.documents.fetch(rows_K.tolist())
        fetched = now()
        stages = (read - begun, encoded - read, searched - encoded, fetched - searched)
        scored = enumerate(zip(scores_K.tolist(), documents, strict=True), start=1)
        missing = [] if dense or mode == "lexical" else ["no word of it is known to the model: found by BM25 alone"]
        return Results(
            query=text,
            words=words,
            unknown=unknown,
            hits=[Hit(rank, score, item.doc_id, item.title, item.text) for rank, (score, item) in scored],
            notice="; ".join(missing) if documents else "No document has any of these words. Try others.",
            random=self._random_words(query_1D) if documents else None,
            timings=Timings(*(1000 * seconds for seconds in stages)),
            index=self.index.name,
            mode="hybrid" if dense else "lexical",
            scale=self._scale(dense),
        )

    def _scale(self, dense: bool) -> str:
        assert self.lexical is not None
        fusion = self.lexical.fusion
        if not dense:
            return "scores are BM25 of stems" if fusion.stem else "scores are BM25"
        kind = "reciprocal ranks" if fusion.kind == "rrf" else "deviations above the mean document"
        return f"scores are {kind}: {fusion.sum}"

    def _dense(self, query_1D: np.ndarray) -> Dense:
        def find(count: int) -> tuple[np.ndarray, np.ndarray]:
            scores_1K, rows_1K = self.index.search(query_1D, count)
            return scores_1K[0], rows_1K[0]

        return find

    def vectors_at(self, rows_K: np.ndarray) -> np.ndarray:
        """Returns the unit vectors of some rows, as exactly as the index holds them [K, D].

        Raises:
            UserError: for an index that can't give vectors back.
        """
        with self._lock:  # an IVF index makes its table of rows at the first call
            return self.index.vectors_at(
                rows_K, lambda: [item.doc_id for item in self.documents.fetch(rows_K.tolist())]
            )

    def _nothing(self, text: str, words: list[str], seconds: float) -> Results:
        size = self.model.tokenizer.size
        reason = (
            f"none of '{', '.join(words)}' is among the {size:,} words the model knows" if words else "it has no words"
        )
        timings = Timings(tokenise_ms=1000 * seconds, encode_ms=0.0, search_ms=0.0, fetch_ms=0.0)
        return Results(
            query=text,
            words=words,
            unknown=words,
            hits=[],
            notice=f"This query cannot be searched: {reason}. Try other words.",
            random=None,
            timings=timings,
            index=self.index.name,
        )

    def _random(self, query_D: np.ndarray, hits: list[int]) -> RandomScore | None:
        if self.sample_SD is None:
            return None
        scores_S = self.sample_SD @ query_D
        if self.sample_rows_S is not None:  # of a small collection nearly every hit is in the sample too
            among = [self._sampled[row] for row in hits if row in self._sampled]
            scores_S = np.delete(scores_S, among) if among else scores_S
        if not len(scores_S):
            return None
        mean = float(np.add.reduce(scores_S)) / len(scores_S)
        deviation = max(0.0, float(scores_S @ scores_S) / len(scores_S) - mean**2) ** 0.5
        highest = float(np.maximum.reduce(scores_S))
        return RandomScore(mean, highest, len(scores_S), mean + deviation * self._best_of_all)

    def _random_words(self, query_1D: np.ndarray | None) -> RandomScore | None:
        """Returns how a random document scores by words, or by words and vector; None of reciprocal ranks."""
        assert self.lexical is not None
        assert self._words is not None
        mean, deviation = self._words.spread()
        if query_1D is not None:
            if self.lexical.fusion.kind == "rrf" or self.sample_SD is None or self.sample_rows_S is None:
                return None
            sample = self.sample_rows_S, self.sample_SD
            mean, deviation = 0.0, fused_deviation(self.lexical, self._words, query_1D[0], *sample)
        best = mean + deviation * self._best_of_all
        return RandomScore(mean, best, self.documents.count, best)

    def close(self) -> None:
        """Closes the document store."""
        self.documents.close()


def index_names(run_dir: Path) -> list[str]:
    """Returns the names of a run's finished indexes."""
    recover(run_dir / "index")
    return sorted(path.parent.name for path in (run_dir / "index").glob("[!.]*/manifest.json"))


def choose_index(run_dir: Path, wanted: str | None) -> str:
    """Returns the name of the index to search: the one wanted, else the one of highest recall (local before Redis).

    Raises:
        UserError: when it is not there, naming those that are.
    """
    names = index_names(run_dir)
    if wanted is not None and wanted not in names:
        way_out = nearest(wanted, names) or f" `twotower index --run {run_dir} --index {wanted}` builds one."
        raise UserError(f"{run_dir} has no index '{wanted}'; it has: {', '.join(names) or 'none'}.{way_out}")
    if not names:
        raise UserError(f"{run_dir} has no index. Build one with `twotower index --run {run_dir} --index faiss_flat`.")
    if wanted is not None or len(names) == 1:
        return wanted or names[0]
    facts = {name: _facts(run_dir, name, names) for name in names}
    return max(names, key=lambda name: (facts[name]["kind"] != "redis", facts[name].get("recall_at_10") or 0.0))


def _facts(run_dir: Path, name: str, names: list[str]) -> dict[str, Any]:
    try:
        return read(run_dir / "index" / name)
    except UserError as error:
        others = ", ".join(other for other in names if other != name)
        raise UserError(f"{error} Or choose another with --index: {others}.") from error
