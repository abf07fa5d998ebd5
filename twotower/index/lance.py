"""LanceDB as an index: a table in the run's folder, or in a database that others share (a bucket, a cluster).

Without `uri` the table is a file set beside the manifest. With one (`s3://bucket/path`, `db://name`, a folder) every
build writes a table of its own, `<alias>__<random>`, so readers of the one before notice nothing; `publish` points the
alias, a row of the table `twotower_aliases`, at the new one and drops the old. Rows hold row number, id and vector; in
hybrid search the words are our own BM25's.

Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import HnswSq

from twotower.core.addresses import refuse_password
from twotower.core.errors import UserError
from twotower.core.files import write_json
from twotower.core.named_places import check_named, remember
from twotower.core.reading import read_typed_json
from twotower.core.validators import check_choice
from twotower.index.base import Build, Index, Probe, need
from twotower.index.recall import recall_of_scores
from twotower.index.vectors import Progress, Vectors, best_first, blocks, normalise

FOLDER, TABLE, FILE, ALIASES = "lance", "documents", "lance.json", "twotower_aliases"
POINTER = {"uri": str, "alias": str, "table": str, "count": int, "dim": int, "ef": int}
KINDS = ("HNSW", "FLAT")
"""A graph over vectors rounded to bytes, whose hits are scored again; or every document compared."""
ROWS, REFINE = 16_384, 4
PLAIN = re.compile(r"[\w-]+")
"""An alias."""


class LanceIndex(Index):
    """A table of LanceDB.

    Args:
        name: its name in the config.
        uri: where the database is; null: in the run's folder.
        index_name: the alias that others search, with a `uri`; null: `twotower_<checkpoint>`, one per model.
        algorithm: HNSW or FLAT (exact).
        m: HNSW links per document.
        ef_construction: HNSW neighbours considered while building.
        ef_search: HNSW neighbours considered while searching; null: the smallest that reaches target_recall.
        target_recall: recall@10 against exact search.
    """

    kind = "lance"

    def __init__(
        self,
        *,
        name: str = "lance",
        uri: str | None = None,
        index_name: str | None = None,
        algorithm: str = "HNSW",
        m: int = 20,
        ef_construction: int = 200,
        ef_search: int | None = None,
        target_recall: float = 0.95,
    ) -> None:
        super().__init__(name=name)
        algorithm = str(algorithm).upper()
        check_choice(f"index.{name}.algorithm", algorithm, KINDS)
        need(m >= 2, name, "m", m, "at least 2")
        need(ef_construction >= 1, name, "ef_construction", ef_construction, "at least 1")
        need(ef_search is None or ef_search >= 1, name, "ef_search", ef_search, "at least 1, or null to tune it")
        need(0 < target_recall <= 1, name, "target_recall", target_recall, "above 0 and at most 1")
        need(
            index_name is None or bool(PLAIN.fullmatch(index_name)),
            name,
            "index_name",
            index_name,
            "letters, digits, '_' and '-'",
        )
        if uri:
            refuse_password(f"index.{name}.uri", uri)
        self.uri, self.alias, self.algorithm = uri, index_name, algorithm
        self.m, self.ef_construction, self.fixed, self.target_recall = m, ef_construction, ef_search, target_recall
        self.for_speed = algorithm == "HNSW" and uri is None
        self.ef, self.version = ef_search or 64, TABLE
        self._table: Any = None
        self._notes: list[str] = []
        self._bytes = 0

    def _connect(self, folder: Path) -> Any:
        place = self.uri or str(folder / FOLDER)
        key = os.environ.get("LANCEDB_API_KEY") if place.startswith("db://") else None
        try:
            return lancedb.connect(place, **({"api_key": key} if key else {}))
        except (OSError, RuntimeError, ValueError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> UserError:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return UserError(f"index.{self.name}: LanceDB at {self.uri or FOLDER} says: {reason}")

    def bind(self, identity: Any) -> None:
        """Names the alias after the model, unless the config names one."""
        self.alias = self.alias or f"twotower_{identity['model']['sha256'][:12]}"

    def _build(self, build: Build) -> None:
        """Writes all rows, then the graph, and tunes it on the probe; a build that was interrupted starts anew."""
        folder, progress = build.folder, build.progress
        self.alias = self.alias or f"twotower_{secrets.token_hex(6)}"
        if self.uri:
            self.version = f"{self.alias}__{secrets.token_hex(6)}"
        else:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        try:
            rows = self._rows(build.vectors, build.document_ids, progress)
            self._table = self._connect(folder).create_table(self.version, rows, schema=self._schema())
            if self.algorithm == "HNSW" and self.count > 1:
                self._make_graph(progress)
        except (OSError, RuntimeError) as error:
            raise self._refused(error) from error
        self._tune(build.probe)
        self._bytes = sum(path.stat().st_size for path in (folder / FOLDER).rglob("*") if path.is_file())
        write_json(folder / FILE, self._pointer())

    def _schema(self) -> pa.Schema:
        vector = pa.list_(pa.float32(), self.dim)
        return pa.schema([("row", pa.int64()), ("doc_id", pa.string()), ("vector", vector)])

    def _rows(
        self, vectors: Vectors, document_ids: Sequence[str], progress: Progress | None
    ) -> Iterator[pa.RecordBatch]:
        for start, block_BD in blocks(vectors, rows=ROWS):
            stop = start + len(block_BD)
            flat = pa.array(block_BD.reshape(-1))
            columns = [
                pa.array(np.arange(start, stop)),
                pa.array(list(document_ids[start:stop])),
                pa.FixedSizeListArray.from_arrays(flat, self.dim),
            ]
            yield pa.record_batch(columns, schema=self._schema())
            if progress:
                progress("write", stop, self.count)

    def _make_graph(self, progress: Progress | None) -> None:
        if progress:
            progress("graph", 0, self.count)
        graph = HnswSq(distance_type="dot", num_partitions=1, m=self.m, ef_construction=self.ef_construction)
        self._table.create_index("vector", config=graph)
        if progress:
            progress("graph", self.count, self.count)

    def _tune(self, probe: Probe | None) -> None:
        if self.fixed is not None or probe is None or self.algorithm == "FLAT":
            return
        probe = probe.at(min(10, probe.depth))
        recall = 0.0
        for self.ef in (32, 64, 128, 256, 512, 1024, 2048):
            scores_QK, _ = self._search(probe.query_QD, probe.depth)
            recall = recall_of_scores(scores_QK, probe.scores_QK)
            if recall >= self.target_recall:
                return
        self._notes.append(f"recall@{probe.depth} {recall:.3f} stays below target_recall={self.target_recall}")

    def _pointer(self) -> dict[str, Any]:
        parts = {"alias": str(self.alias), "table": self.version, "count": self.count, "dim": self.dim}
        return {"uri": self.uri or "", **parts, "ef": self.ef}

    def load(self, folder: Path) -> None:
        """Opens the table of this very build.

        Raises:
            UserError: for a table that is gone, or one elsewhere that nobody here has named (LANCEDB_URI).
        """
        pointer = read_typed_json(folder / FILE, POINTER)
        place = (pointer["uri"] or str(folder / FOLDER)).removeprefix("file://")
        if "://" not in place and not Path(place).is_dir():  # connecting would make it, wherever a foreign file says
            raise UserError(f"There is no LanceDB at {place}. Build it again with `twotower index`.")
        if "://" in place:
            check_named(place, folder / FILE, "LANCEDB_URI")
        self.uri, self.alias, self.version = pointer["uri"] or None, pointer["alias"], pointer["table"]
        self.count, self.dim, self.ef = pointer["count"], pointer["dim"], pointer["ef"]
        try:
            self._table = self._connect(folder).open_table(self.version)
            held = self._table.count_rows()
        except (OSError, RuntimeError, ValueError, FileNotFoundError) as error:
            gone = f"The LanceDB table {self.version} at {self.uri or folder / FOLDER} is gone"
            raise UserError(
                f"{gone}: exported again since, or removed. Build it again with `twotower index`."
            ) from error
        if held != self.count:
            raise UserError(f"The LanceDB table {self.version} holds {held} rows instead of {self.count}.")

    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores_QK = np.full((len(query_QD), k), -np.inf, np.float32)
        rows_QK = np.full((len(query_QD), k), -1, np.int64)
        for number, query_D in enumerate(query_QD):
            search = self._table.search(query_D, vector_column_name="vector").distance_type("dot")
            if self.algorithm == "HNSW":
                search = search.nprobes(1).ef(max(self.ef, REFINE * k)).refine_factor(REFINE)
            else:
                search = search.bypass_vector_index()
            hits = search.select(["row", "_distance"]).limit(k).to_arrow()
            scores_QK[number, : len(hits)] = 1.0 - hits["_distance"].to_numpy()
            rows_QK[number, : len(hits)] = hits["row"].to_numpy()
        return best_first(scores_QK, rows_QK, k)

    def vectors_at(self, rows_K: np.ndarray, document_ids: Callable[[], Sequence[str]]) -> np.ndarray:
        """Reads the vectors of some rows [K, D]."""
        if not len(rows_K):
            return np.empty((0, self.dim), np.float32)
        wanted = ", ".join(str(int(row)) for row in rows_K)
        table = self._table.search().where(f"row IN ({wanted})").limit(len(rows_K)).select(["row", "vector"]).to_arrow()
        held = {row: place for place, row in enumerate(table["row"].to_pylist())}
        flat = table["vector"].combine_chunks().flatten().to_numpy()
        vectors_KD = flat.reshape(len(table), self.dim)
        return normalise(vectors_KD[[held[int(row)] for row in rows_K]])

    def describe(self) -> dict[str, Any]:
        """Names where the table is and how it is searched."""
        settings: dict[str, Any] = {"uri": self.uri or FOLDER, "alias": self.alias, "table": self.version}
        if self.algorithm == "HNSW":
            settings["ef_search"] = self.ef
        return {"settings": settings, "notes": list(self._notes), "bytes": self._bytes}

    def publish(self) -> None:
        """Points the alias at the new table in one write, then drops every other build under that alias."""
        if not self.uri:
            return
        try:
            database = self._connect(Path())
            row = [{"alias": str(self.alias), "table": self.version}]
            if ALIASES not in _names(database):
                database.create_table(ALIASES, row, exist_ok=True)
            change = database.open_table(ALIASES).merge_insert("alias")
            change.when_matched_update_all().when_not_matched_insert_all().execute(row)
            remember(self.uri)
            for old in _names(database):
                if old.startswith(f"{self.alias}__") and old != self.version:
                    database.drop_table(old)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._refused(error) from error

    def discard(self) -> None:
        """Drops the table of a build that failed; the alias never pointed at it."""
        if self.uri and self.version != TABLE:
            self._connect(Path()).drop_table(self.version, ignore_missing=True)


def resolve_alias(database: Any, alias: str) -> str:
    """Returns the table that an alias points at, for other programs.

    Args:
        database: what `lancedb.connect` gave.
        alias: the alias.

    Raises:
        UserError: when there is no such alias.
    """
    if not PLAIN.fullmatch(alias):  # it stands in a filter, which takes no parameters
        raise UserError(f"LanceDB has no alias {alias!r}: letters, digits, '_' and '-' make one.")
    rows = (
        database.open_table(ALIASES).search().where(f"alias = '{alias}'").limit(1).to_list()
        if (ALIASES in _names(database))
        else []
    )
    if not rows:
        raise UserError(f"LanceDB has no alias {alias}.")
    return str(rows[0]["table"])


def _names(database: Any) -> list[str]:
    return [str(name) for name in database.list_tables(limit=100_000).tables]
