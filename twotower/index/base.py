"""The interface every index backend offers, and the checks they share.

Every backend speaks cosine similarity: descending, 1 for the same direction, whatever the library below calls it.
Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from twotower.core.errors import UserError
from twotower.core.finite import check_vectors
from twotower.index.vectors import Progress, Vectors, normalise

DEPTHS = (10, 100, 1000)
"""How many hits an index is tuned for."""


Texts = Callable[[Sequence[int]], Sequence[str]]
"""Gives what people search of some documents, by row."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Queries whose true nearest documents are known, for tuning an index and measuring its recall.

    Attributes:
        query_QD: normalised float32 queries.
        scores_QK: the exact cosine similarities of the true nearest documents, descending.
        source: "queries" or "documents", what the vectors are.
    """

    query_QD: np.ndarray
    scores_QK: np.ndarray
    source: str

    @property
    def depth(self) -> int:
        """How many documents are known of each query, K."""
        return int(self.scores_QK.shape[1])

    def at(self, k: int) -> Probe:
        """Returns the probe of the k nearest documents only, with fewer queries where k is large and costs time."""
        queries = len(self.query_QD) if k <= 100 else 100
        return Probe(query_QD=self.query_QD[:queries], scores_QK=self.scores_QK[:queries, :k], source=self.source)

    @property
    def depths(self) -> list[int]:
        """The depths an index is tuned for and its recall is measured at: 10, 100, 1000, as far as they are known."""
        return [k for k in DEPTHS if k <= self.depth] or [self.depth]


@dataclass(frozen=True, kw_only=True)
class Build:
    """What an index is built from, and where.

    Attributes:
        vectors: the document vectors [N, D], N at least 1.
        document_ids: their N ids, same order.
        folder: an existing folder for its files. It may hold what an interrupted build of the same vectors and settings
            left there: go on from it.
        probe: queries to tune it with; None where there are none.
        progress: called as progress(stage, rows done, rows in all); None where nobody watches.
    """

    vectors: Vectors
    document_ids: Sequence[str]
    folder: Path
    probe: Probe | None = None
    progress: Progress | None = None


class BuildPausedError(UserError):
    """A build stopped by something that passes, such as a server that is away; the same command later goes on."""

    resumable = True


class Index(ABC):
    """One way to find the nearest document vectors.

    A life: `check()` before training; `build()` into a folder, then `publish()` once that folder stands in its final
    place, `discard()` when something failed, or `pause()` when it was interrupted; later `load()` and any number of
    `search()`.
    """

    kind: ClassVar[str]
    for_speed: bool = False
    """Whether it is there to be quicker than comparing everything: then a build says where it is not."""
    dims: int | None = None
    """`index.NAME.dims`: it holds the first so many numbers of every vector (see `loss.dims`); None for all."""

    def __init__(self, *, name: str) -> None:
        self.name = name
        self.holds_text = False
        """Whether `search_text` and `search_both` work."""
        self.dim = 0
        self.count = 0

    def check(self, *, dim: int | None = None) -> None:  # noqa: B027 - most backends need nothing
        """Fails early, before any training, where this index could not be written.

        Args:
            dim: the width of the vectors to come, when known.

        Raises:
            UserError: naming what is missing.
        """

    def bind(self, identity: Mapping[str, Any]) -> None:  # noqa: B027
        """Learns whose index is to be built (see `manifest.identity_of`), before `build`."""

    def read_texts(self, texts: Texts, titles: Texts | None = None) -> None:  # noqa: B027
        """Learns where texts and titles of the documents are, before `build`; most indexes have no use for them."""

    def build(
        self,
        vectors: Vectors,
        document_ids: Sequence[str],
        folder: Path,
        *,
        probe: Probe | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Builds the index and writes its files; ready to search afterwards. The arguments are those of `Build`.

        Raises:
            UserError: for no vectors, another number of ids, or what `check` refuses.
        """
        self.count, self.dim = int(vectors.shape[0]), int(vectors.shape[1])
        if self.count == 0:
            raise UserError(f"index.{self.name}: there are no documents to index.")
        if len(document_ids) != self.count:
            raise UserError(f"index.{self.name}: {self.count} vectors but {len(document_ids)} document ids.")
        self.check(dim=self.dim)
        self._build(Build(vectors=vectors, document_ids=document_ids, folder=folder, probe=probe, progress=progress))

    @abstractmethod
    def _build(self, build: Build) -> None:
        """Builds from checked vectors; `count` and `dim` are known."""

    def pause(self) -> None:  # noqa: B027
        """Lets go of what a build holds outside its folder, and keeps what was done, so that another can go on."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Makes the index in a folder ready to search."""

    @abstractmethod
    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Searches normalised queries with 1 <= k <= count."""

    def search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k nearest documents of every query.

        Args:
            query_QD: query vectors of any length above zero.
            k: how many documents.

        Returns:
            Cosine similarities float32 [Q, K] descending and document rows int64 [Q, K]; row -1 with score -inf where
            there is no further hit.

        Raises:
            UserError: for a k below 1, or vectors of another width or that are not finite.
        """
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise UserError(f"k={k!r}: ask for at least 1 document, a whole number.")
        query_QD = np.asarray(query_QD)
        if query_QD.ndim == 1:
            query_QD = query_QD[None]
        if self.dims is not None and query_QD.shape[1] > self.dims:
            query_QD = query_QD[:, : self.dims]
        if query_QD.shape[1] != self.dim:
            raise UserError(
                f"The query vector has {query_QD.shape[1]} dimensions, the index {self.name} {self.dim}; "
                "it belongs to another model."
            )
        unit_QD = normalise(query_QD)
        check_vectors(unit_QD, "query")
        scores_QK, rows_QK = self._search(unit_QD, min(k, self.count))
        short = k - scores_QK.shape[1]
        if short > 0:
            scores_QK = np.pad(scores_QK, ((0, 0), (0, short)), constant_values=-np.inf)
            rows_QK = np.pad(rows_QK, ((0, 0), (0, short)), constant_values=-1)
        return scores_QK, rows_QK

    def cut(self, query_QD: np.ndarray) -> np.ndarray:
        """Returns queries as vectors of the width that this index holds, of length 1."""
        return query_QD if self.dims is None else normalise(query_QD[:, : self.dims])

    def search_text(self, text: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best documents by the words of a text, in an index that holds texts.

        Returns:
            Scores float32 [K] descending and document rows int64 [K], of documents with any of its words.

        Raises:
            UserError: for an index that holds none.
        """
        raise UserError(f"index.{self.name} holds no texts; only a Redis index with index.NAME.text=true does.")

    def search_both(self, text: str, query_D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best documents by words and vector; otherwise as `search_text`.

        Args:
            text: the query.
            query_D: its vector.
            k: how many.
        """
        return self.search_text(text, k)

    @property
    def gives_vectors(self) -> bool:
        """Whether `vectors_at` works, which hybrid search and the map need."""
        return type(self).vectors_at is not Index.vectors_at

    def vectors_at(self, rows_K: np.ndarray, document_ids: Callable[[], Sequence[str]]) -> np.ndarray:
        """Returns the stored vectors of some rows, of length 1, as exactly as the index holds them, float32 [K, D].

        Args:
            rows_K: row numbers.
            document_ids: gives their ids, for an index that finds its documents by these.

        Raises:
            UserError: for an index that can't give vectors back.
        """
        raise UserError(f"index.{self.name} can't give vectors back, which hybrid search needs; use --mode dense.")

    def describe(self) -> dict[str, Any]:
        """What the build decided, for the manifest: `settings` (dict), `notes` (list), `bytes` held elsewhere."""
        return {"settings": {}, "notes": [], "bytes": 0}

    def publish(self) -> None:  # noqa: B027
        """Makes a finished build the current one outside its folder, and removes the one before."""

    def discard(self) -> None:  # noqa: B027
        """Removes what a failed build left outside its folder."""


def need(ok: bool, name: str, key: str, given: Any, works: str) -> None:
    """Raises UserError for a setting out of range.

    Args:
        ok: whether the value is fine.
        name: the index's name in the config.
        key: the setting's key.
        given: its value.
        works: what would have worked.
    """
    if not ok:
        raise UserError(f"index.{name}.{key}={given}: must be {works}.")
