"""Redis with vector search: hashes `doc:{<alias>}:<build>:<doc_id>`, a vector index over them, and an alias.

Every build writes under a name of its own, `{<alias>}:<random>`, so readers of the one before notice nothing and a
build that fails leaves it untouched; `publish` points the alias at the new one and deletes the old. Which keys share a
cluster's slot is told in `twotower.index.redis.keys`. Redis speaks of distances; similarity is 1 - distance.
Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis

from twotower.core.addresses import check_address, refuse_password, without_credentials
from twotower.core.errors import UserError
from twotower.core.files import write_json, write_text
from twotower.core.named_places import check_named, on_this_machine, remember
from twotower.core.reading import read_typed_json
from twotower.core.validators import check_choice, check_flag
from twotower.index.base import Build, Index, Texts, need
from twotower.index.redis.commands import create_command, search_command
from twotower.index.redis.connection import pairs, resolve_url
from twotower.index.redis.keys import is_version, new_version, prefixes, rows_key
from twotower.index.redis.schema import FILE as SCHEMA_FILE
from twotower.index.redis.schema import redisvl_schema
from twotower.index.redis.session import Session
from twotower.index.redis.text import LANGUAGES, TextSearch, options, schema
from twotower.index.redis.upload import Upload, Words
from twotower.index.vectors import best_first, normalise

log = logging.getLogger(__name__)

FILE = "redis.json"
UPLOAD = "upload.json"
POINTER = {"url": str, "alias": str, "version": str, "count": int, "dim": int, "algorithm": str, "text?": bool}
SEARCHES_PER_PIPELINE = 64
SEARCH_SECONDS = 10.0
"""How long a search waits for an answer, twice; a build waits longer."""
COUNT_SECONDS = 1.0
"""Searches count the documents again this often, to notice that some were deleted."""
EFFORT = 4
"""Neighbours considered for each hit that is asked for, at the least; with one for each many are missed."""
MOST_TAGS = 1024
REBUILD = "Build it again with `twotower index --run RUN --index redis`."


class RedisIndex(Index):
    """A FLAT or HNSW vector index in Redis.

    Args:
        name: its name in the config.
        url: address; null: REDIS_URL, then this machine. A password belongs in REDIS_URL.
        index_name: the alias other programs search; null: `twotower-<checkpoint>`, one per model.
        algorithm: HNSW or FLAT.
        m: HNSW links per document.
        ef_construction: HNSW neighbours considered while inserting.
        ef_search: HNSW neighbours considered while searching.
        batch_size: documents per pipeline.
        hash_tags: slots of a cluster the documents are spread over; 1 keeps the whole index in one.
        text: store the documents' texts too, in a field that the server ranks by BM25.
        language: whose stems that field holds; null for words as they are.
        retry_seconds: how long to try again after the connection drops.
    """

    kind = "redis"

    def __init__(
        self,
        *,
        name: str = "redis",
        url: str | None = None,
        index_name: str | None = None,
        algorithm: str = "HNSW",
        m: int = 16,
        ef_construction: int = 200,
        ef_search: int = 128,
        batch_size: int = 1000,
        hash_tags: int = 1,
        text: bool = True,
        language: str | None = "english",
        retry_seconds: float = 60.0,
    ) -> None:
        super().__init__(name=name)
        algorithm = str(algorithm).upper()
        check_choice(f"index.{name}.algorithm", algorithm, ("HNSW", "FLAT"))
        for key, value in (("m", m), ("ef_construction", ef_construction), ("ef_search", ef_search)):
            need(value >= 1, name, key, value, "at least 1")
        need(batch_size >= 1, name, "batch_size", batch_size, "at least 1")
        need(1 <= hash_tags <= MOST_TAGS, name, "hash_tags", hash_tags, f"from 1 to {MOST_TAGS}")
        need(retry_seconds >= 0, name, "retry_seconds", retry_seconds, "0 or more")
        plain_name = index_name is None or not any(c in "{}: \t\n" for c in index_name)
        need(plain_name and index_name != "", name, "index_name", index_name, "a name without braces, colons or spaces")
        check_flag(f"index.{name}.text", text)
        if language is not None:
            check_choice(f"index.{name}.language", language, LANGUAGES)
        if url:
            refuse_password(f"index.{name}.url", url)
            check_address(f"index.{name}.url", url)
        self.given_url, self.alias, self.algorithm = url, index_name, algorithm
        self.m, self.ef_construction, self.ef_search = m, ef_construction, ef_search
        self.batch_size, self.hash_tags, self.retry_seconds = batch_size, hash_tags, retry_seconds
        self.text, self.language = text, language
        self.holds_text = False
        self._texts: Texts | None = None
        self._titles: Texts | None = None
        self._text_search: TextSearch | None = None
        self.version = ""
        self._session: Session | None = None
        self._bytes = 0
        self._counted = 0.0

    def _open(self, url: str, **patience: Any) -> Session:
        if self._session is None:
            label = f"index.{self.name}"
            self._session = Session(url=url, label=label, retry_seconds=self.retry_seconds, **patience)
        return self._session

    @property
    def session(self) -> Session:
        """The connection, opened at first use."""
        return self._open(resolve_url(self.given_url))

    def check(self, *, dim: int | None = None) -> None:
        """Raises UserError when no Redis answers, or it cannot search vectors."""
        self.session.require_search()
        if self.alias:
            with self.session.errors_named():
                self.session.refuse_taken(self.alias)

    def bind(self, identity: Mapping[str, Any]) -> None:
        """Names the alias after the model, unless the config names one."""
        self.alias = self.alias or f"twotower-{identity['model']['sha256'][:12]}"

    def read_texts(self, texts: Texts, titles: Texts | None = None) -> None:
        """Takes texts and titles for their fields, if those are wanted."""
        if self.text:
            self._texts, self._titles = texts, titles

    def _build(self, build: Build) -> None:
        """Uploads every vector, and text, under a new name and waits until Redis has indexed them."""
        self.holds_text = self._texts is not None
        session, folder, progress = self.session, build.folder, build.progress
        with session.errors_named():
            done = self._begin(folder / UPLOAD)
            upload = Upload(session, self.name, self.version, hash_tags=self.hash_tags, batch_size=self.batch_size)
            words = None if self._texts is None else Words(self._texts, self._titles)
            upload.send(build.vectors, build.document_ids, words=words, done=done, progress=progress)
            self._bytes = upload.wait(self.count, progress)
            session.client.delete(rows_key(self.version))
        write_json(folder / FILE, self._pointer())
        write_text(folder / SCHEMA_FILE, self._schema())
        (folder / UPLOAD).unlink()

    def _graph(self) -> dict[str, int]:
        graph = {"M": self.m, "EF_CONSTRUCTION": self.ef_construction, "EF_RUNTIME": self.ef_search}
        return graph if self.algorithm == "HNSW" else {}

    def _schema(self) -> str:
        return redisvl_schema(
            str(self.alias),
            self.version,
            algorithm=self.algorithm,
            graph=self._graph(),
            dim=self.dim,
            hash_tags=self.hash_tags,
            text=self.holds_text,
        )

    def _begin(self, note: Path) -> int:
        """Locks the alias and makes the index, or takes up the interrupted one; returns how many documents it has."""
        before = read_typed_json(note, {"alias": str, "version": str}) if note.is_file() else {}
        self.alias = self.alias or before.get("alias") or f"twotower-{secrets.token_hex(6)}"
        self.session.refuse_taken(self.alias)
        self.session.lock(self.alias)
        if before.get("alias") == self.alias and is_version(str(before.get("version")), str(self.alias)):
            done = self.session.sent(before["version"])
            if done is not None:
                log.info("index.%s: going on at document %d of %d", self.name, done, self.count)
                self.version = before["version"]
                return done
        self.version = new_version(self.alias)
        write_json(note, {"alias": self.alias, "version": self.version})
        settings = self._graph()
        command = create_command(
            self.version,
            self.algorithm,
            settings,
            self.dim,
            self.count,
            self.hash_tags,
            options=options(self.language) if self.holds_text else (),
            schema=schema(self.language) if self.holds_text else (),
        )
        self.session.client.execute_command(*command)
        return 0

    def publish(self) -> None:
        """Points the alias at the new index, then deletes every other build under that alias."""
        session = self.session
        try:
            with session.errors_named():
                session.refuse_taken(str(self.alias))
                session.again(lambda: session.client.execute_command("FT.ALIASUPDATE", self.alias, self.version))
                remember(session.safe_url)
                if not session.holds_lock():
                    log.warning("index.%s: builds before this one stay: another export may be writing.", self.name)
                    return
                for old in session.versions(str(self.alias)):
                    if old != self.version:
                        session.drop(old)
        finally:
            session.unlock()

    def discard(self) -> None:
        """Deletes the documents of a build that failed; the alias never pointed at it."""
        if not self.version:
            return
        try:
            self.session.drop(self.version)
        except redis.RedisError as error:
            log.warning(
                "index.%s: %s stays in Redis until the next export (%s)", self.name, self.version, type(error).__name__
            )
        finally:
            self.session.unlock()

    def pause(self) -> None:
        """Gives the lock up and leaves what was sent, for a build that goes on."""
        self.session.unlock()

    def _pointer(self) -> dict[str, Any]:
        return {
            "url": self.session.safe_url,
            "alias": self.alias,
            "version": self.version,
            "count": self.count,
            "dim": self.dim,
            "algorithm": self.algorithm,
            "text": self.holds_text,
        }

    def load(self, folder: Path) -> None:
        """Connects (REDIS_URL first, then the address written at build) and checks that the same index is there.

        Raises:
            UserError: for an index that is gone or another, and for an address elsewhere that nobody here has named.
        """
        pointer = read_typed_json(folder / FILE, POINTER)
        self.alias, self.version = pointer["alias"], pointer["version"]
        self.count, self.dim, self.algorithm = pointer["count"], pointer["dim"], pointer["algorithm"]
        self.holds_text = pointer.get("text") or False
        url = os.environ.get("REDIS_URL") or pointer["url"]
        if url == pointer["url"] and not on_this_machine(url):
            check_named(without_credentials(url), folder / FILE, "REDIS_URL")
        session = self._open(url, answer=SEARCH_SECONDS, retries=1)
        session.require_search()
        place = f"The Redis index {self.version} at {session.safe_url}"
        try:
            held = int(float(self.session.info(self.version)["num_docs"]))
        except redis.ResponseError:
            raise UserError(f"{place} is gone: exported again since, or lost in a restart. {REBUILD}") from None
        if held != self.count:
            raise UserError(f"{place} holds {held} documents instead of {self.count}. {REBUILD}")
        self._counted = time.monotonic()

    def _check_complete(self, fewest: int, wanted: int) -> None:
        """Counts the documents again after a while, or when fewer came back than were asked for."""
        if self._counted and (fewest < wanted or time.monotonic() - self._counted > COUNT_SECONDS):
            with self.session.errors_named():
                held = int(float(self.session.info(self.version)["num_docs"]))
            if held != self.count:
                shortfall = f"{held} documents instead of {self.count}: some were deleted while it is searched"
                raise UserError(f"The Redis index {self.version} holds {shortfall}. {REBUILD}")
            self._counted = time.monotonic()

    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores_QK = np.full((len(query_QD), k), -np.inf, np.float32)
        rows_QK = np.full((len(query_QD), k), -1, np.int64)
        ef = self._effort(k)
        for start in range(0, len(query_QD), SEARCHES_PER_PIPELINE):
            pipeline = self.session.client.pipeline(transaction=False)
            for query_D in query_QD[start : start + SEARCHES_PER_PIPELINE]:
                pipeline.execute_command(*search_command(self.version, query_D, k, ef))
            with self.session.errors_named():
                answers = pipeline.execute()
            for number, answer in enumerate(answers, start=start):
                if any(fields is None for fields in answer[2::2]):
                    raise UserError(
                        f"The Redis index {self.version} names documents that Redis cannot read: it is being replaced, "
                        f"or spread over slots (hash_tags={self.hash_tags}) that this server does not search."
                    )
                hits = [pairs(fields) for fields in answer[2::2]]
                scores_QK[number, : len(hits)] = [1.0 - float(hit["distance"]) for hit in hits]
                rows_QK[number, : len(hits)] = [int(hit["row"]) for hit in hits]
        self._check_complete(int((rows_QK >= 0).sum(axis=1).min(initial=k)), k)
        return best_first(np.nan_to_num(scores_QK, nan=0.0, neginf=-np.inf), rows_QK, k)

    def _effort(self, k: int) -> int | None:
        return max(EFFORT * k, self.ef_search) if self.algorithm == "HNSW" else None

    @property
    def by_words(self) -> TextSearch:
        """Search by words on the server.

        Raises:
            UserError: for an index without a text field.
        """
        if not self.holds_text:
            raise UserError(f"index.{self.name} holds no texts (index.{self.name}.text). {REBUILD}")
        if self._text_search is None:
            self._text_search = TextSearch(self.session, self.version, self.count)
        return self._text_search

    def search_text(self, text: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds documents by the server's BM25."""
        return self.by_words.lexical(text, k)

    def search_both(self, text: str, query_D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds documents by the server's BM25 and by vector, their ranks fused."""
        return self.by_words.hybrid(text, normalise(query_D[None])[0].astype(np.float32), k, self._effort)

    def vectors_at(self, rows_K: np.ndarray, document_ids: Callable[[], Sequence[str]]) -> np.ndarray:
        """Fetches the vectors of some rows by their keys [K, D]."""
        prefix = prefixes(self.version, self.hash_tags)
        pipeline = self.session.client.pipeline(transaction=False)
        for row, doc_id in zip(rows_K.tolist(), document_ids(), strict=True):
            pipeline.execute_command("HGET", f"{prefix[row % len(prefix)]}{doc_id}", "vector")
        with self.session.errors_named():
            answers = pipeline.execute()
        if None in answers:
            raise UserError(f"The Redis index {self.version} lacks documents that it should hold. {REBUILD}")
        vectors_KD = np.frombuffer(b"".join(answers), dtype=np.float32).reshape(len(answers), self.dim)
        return normalise(vectors_KD)

    def describe(self) -> dict[str, Any]:
        """Names where the index lives and how much memory Redis gives it."""
        settings = {"url": self.session.safe_url, "alias": self.alias, "version": self.version}
        if self.algorithm == "HNSW":
            settings["ef_search"] = self.ef_search  # type: ignore[assignment]
        return {"settings": settings, "notes": [], "bytes": self._bytes}
