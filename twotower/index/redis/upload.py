"""Sending the documents of one build to Redis, and waiting until they are indexed.

Legend: N documents, D dimension, B documents of a batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from twotower.core.errors import UserError
from twotower.index.base import Texts
from twotower.index.redis.keys import prefixes, rows_key
from twotower.index.redis.session import Session
from twotower.index.redis.text import FIELD, TITLE, stored
from twotower.index.vectors import Progress, Vectors, blocks

SENDERS = 2


class Words:
    """The fields of documents beside row and vector: text and title.

    Args:
        texts: gives the texts of some rows.
        titles: gives their titles; None where there are none.
    """

    def __init__(self, texts: Texts, titles: Texts | None) -> None:
        self._texts, self._titles = texts, titles

    def __call__(self, rows: Sequence[int]) -> list[tuple[str, ...]]:
        """Returns, for each row, names and values in turn."""
        titles = [""] * len(rows) if self._titles is None else self._titles(rows)
        return [
            (FIELD, stored(text), *((TITLE, title) if title else ()))
            for text, title in zip(self._texts(rows), titles, strict=True)
        ]


class Upload:
    """Sends documents under the name of a build.

    Args:
        session: the connection, which holds the lock of the alias.
        name: the index's name in the config.
        version: the build's name.
        hash_tags: slots of a cluster that the documents are spread over.
        batch_size: documents per pipeline.
    """

    def __init__(self, session: Session, name: str, version: str, *, hash_tags: int, batch_size: int) -> None:
        self._session, self._name, self._version, self._batch_size = session, name, version, batch_size
        self._prefixes = prefixes(version, hash_tags)

    def send(
        self,
        vectors: Vectors,
        document_ids: Sequence[str],
        *,
        words: Words | None,
        done: int,
        progress: Progress | None,
    ) -> None:
        """Sends what is not there yet, by two threads: one packs a batch while Redis works on the other's.

        Args:
            vectors: the document vectors [N, D].
            document_ids: their N ids.
            words: their texts and titles; None sends none.
            done: how many Redis has already.
            progress: told how many Redis has.
        """
        under_way: deque[tuple[int, Future[None]]] = deque()
        sure = done

        def settle() -> None:
            nonlocal sure
            stop, future = under_way.popleft()
            future.result()
            sure = stop
            if progress:
                progress("upload", sure, len(document_ids))

        with ThreadPoolExecutor(SENDERS) as pool:
            try:
                for start, block_BD in blocks(vectors, rows=self._batch_size, start=done):
                    stop = start + len(block_BD)
                    rows = range(start, stop)
                    keys = [f"{self._prefixes[row % len(self._prefixes)]}{document_ids[row]}" for row in rows]
                    fields = [()] * len(rows) if words is None else words(rows)
                    action = partial(self._send, keys, start, block_BD, fields, sure)
                    under_way.append((stop, pool.submit(self._session.again, action)))
                    while len(under_way) >= SENDERS:
                        settle()
                while under_way:
                    settle()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _send(
        self, keys: list[str], start: int, block_BD: np.ndarray, fields: Sequence[tuple[str, ...]], sure: int
    ) -> None:
        pipeline = self._session.client.pipeline(transaction=False)
        data, width = block_BD.tobytes(), 4 * block_BD.shape[1]
        for offset, key in enumerate(keys):
            vector = data[offset * width : (offset + 1) * width]
            pipeline.execute_command("HSET", key, "row", start + offset, "vector", vector, *fields[offset])
        pipeline.execute_command("SET", rows_key(self._version), sure)  # all before these have been acknowledged
        self._session.keep_lock(pipeline)
        pipeline.execute()

    def wait(self, count: int, progress: Progress | None) -> int:
        """Waits for what Redis indexes in the background, and keeps the lock meanwhile.

        Args:
            count: N.
            progress: told how many are indexed.

        Returns:
            The bytes that Redis gives the vectors.

        Raises:
            UserError: when a server lost documents, ran full, or could not index them.
        """
        patience = max(60.0, self._session.retry_seconds)
        best, deadline = -1, time.monotonic() + patience
        while True:
            info = self._session.again(lambda: self._session.info(self._version))
            done, failures = int(float(info["num_docs"])), int(float(info.get("hash_indexing_failures", 0)))
            if failures:
                raise UserError(f"index.{self._name}: Redis could not index {failures} of {count} documents.")
            if done == count and not int(float(info.get("indexing", 0))):
                return int(float(info.get("vector_index_sz_mb", 0)) * 2**20)
            if done > best:
                best, deadline = done, time.monotonic() + patience
                self._session.again(self._session.renew_lock)
            elif time.monotonic() > deadline:
                held = f"Redis holds {done} of {count} documents"
                raise UserError(f"index.{self._name}: {held}; it ran out of memory or restarted.")
            if progress:
                progress("wait for Redis", done, count)
            time.sleep(0.05)
