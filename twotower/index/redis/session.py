"""One exporter's or searcher's dealings with a Redis server: trying again, one export at a time, removing an index."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.lock import Lock
from redis.retry import Retry

from twotower.core.addresses import without_credentials
from twotower.core.errors import UserError
from twotower.core.host import host_facts, is_alive
from twotower.index.base import BuildPausedError
from twotower.index.redis.connection import LOST, connect, pairs, require_search, scrub
from twotower.index.redis.keys import is_version, lock_key, patterns, rows_key, slot_tag

log = logging.getLogger(__name__)
T = TypeVar("T")

LOCK_SECONDS = 180
KEYS_PER_CALL = 5000


class Session:
    """A connection and what is done over it.

    Args:
        url: address, credentials included; they appear in no message.
        label: what messages start with ("index.redis").
        retry_seconds: how long a dropped connection is tried again.
        answer: seconds to wait for an answer before the connection counts as dropped.
        retries: how often that is tried again at once.
    """

    def __init__(self, *, url: str, label: str, retry_seconds: float, answer: float = 60.0, retries: int = 3) -> None:
        self.url, self.safe_url = url, without_credentials(url)
        self.label, self.retry_seconds = label, retry_seconds
        self.client = connect(url, answer=answer, retries=retries)
        self._lock: Lock | None = None

    def require_search(self) -> None:
        """Raises UserError unless the server answers and can search vectors."""
        require_search(self.client, self.url)

    def refuse_taken(self, alias: str) -> None:
        """Refuses an alias that is, or points to, somebody else's index: publishing would take it over.

        Raises:
            UserError: naming the index it belongs to.
        """
        try:
            held = pairs(self.client.execute_command("FT.INFO", alias))["index_name"]
        except redis.ResponseError as error:
            if "unknown" in str(error).lower() or "no such index" in str(error).lower():
                return
            raise
        name = held.decode("utf-8", "replace") if isinstance(held, bytes) else str(held)
        if not is_version(name, alias):
            what = "is an index" if name == alias else f"points to the index {name}, which"
            raise UserError(
                f"{self.label}.index_name={alias}: that name {what} of somebody else's on {self.safe_url}; it stays as "
                "it is. Choose another index_name."
            )

    def again(self, action: Callable[[], T]) -> T:
        """Runs an action that may be repeated, waiting for a dropped connection to come back."""
        deadline = time.monotonic() + self.retry_seconds

        def lost(error: Exception) -> None:
            if time.monotonic() > deadline:
                raise error
            log.warning("%s: connection to Redis lost (%s); trying again", self.label, scrub(str(error), self.url))

        patience = Retry(ExponentialBackoff(cap=2.0, base=0.1), retries=-1, supported_errors=LOST)
        return patience.call_with_retry(action, lost)

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Turns what the server or the network raises into one line without credentials."""
        try:
            yield
        except LOST as error:
            raise BuildPausedError(
                f"{self.label}: Redis at {self.safe_url} went away and did not come back within "
                f"{self.retry_seconds:g} s ({scrub(str(error), self.url).rstrip('.')})."
            ) from None
        except redis.RedisError as error:
            raise UserError(f"{self.label}: Redis at {self.safe_url} says: {scrub(str(error), self.url)}") from None

    def lock(self, alias: str) -> None:
        """Lets one export at a time write under an alias; the lock of an exporter that died ends by itself.

        Raises:
            UserError: while another export is under way.
        """
        key = lock_key(alias)
        owner = {"token": secrets.token_hex(8), **host_facts()}
        token = json.dumps(owner)
        lock = self.client.lock(key, timeout=LOCK_SECONDS, thread_local=False)
        if not lock.acquire(blocking=False, token=token) and not self._inherit(key, token):
            raise UserError(
                f"{self.label}: another export into the Redis index {alias} is under way; wait for it (the lock of one "
                f"that died on another machine ends within {LOCK_SECONDS} s), or choose another index_name."
            )
        lock.local.token = token.encode()
        self._lock = lock

    def _inherit(self, key: str, token: str) -> bool:
        """Takes the lock over from an exporter on this machine that is no longer alive."""
        held = self.client.get(key)
        try:
            dead = held is not None and is_alive(json.loads(held)) is False
        except (ValueError, TypeError, AttributeError):
            return False
        if dead:
            with suppress(redis.WatchError), self.client.pipeline() as pipeline:
                pipeline.watch(key)
                if pipeline.get(key) == held:
                    pipeline.multi()
                    pipeline.set(key, token, ex=LOCK_SECONDS)
                    pipeline.execute()
                    return True
        return False

    def keep_lock(self, pipeline: redis.client.Pipeline) -> None:
        """Adds to a pipeline what keeps the lock alive."""
        if self._lock:
            pipeline.execute_command("PEXPIRE", self._lock.name, LOCK_SECONDS * 1000)

    def renew_lock(self) -> None:
        """Keeps the lock alive where nothing is sent for a while."""
        if self._lock:
            self.client.pexpire(self._lock.name, LOCK_SECONDS * 1000)

    def holds_lock(self) -> bool:
        """Says whether the lock is still ours: one that ran out may be another export's by now."""
        return self._lock is not None and bool(self._lock.owned())

    def unlock(self) -> None:
        """Gives the lock up, if it is still ours."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with suppress(redis.exceptions.LockNotOwnedError):  # it ran out, and may be another's by now
                lock.release()
        except redis.RedisError:
            log.warning("%s: the export lock could not be removed; it ends within %d s", self.label, LOCK_SECONDS)

    def info(self, version: str) -> dict[str, Any]:
        """Returns what the server says of an index."""
        return pairs(self.client.execute_command("FT.INFO", version))

    def sent(self, version: str) -> int | None:
        """Returns how many documents of a build Redis surely has, None where there is no such build."""
        if version not in self.indexes():
            return None
        return int(self.client.get(rows_key(version)) or 0)

    def versions(self, alias: str) -> list[str]:
        """Returns the names of all builds under an alias, finished or not."""
        return [name for name in self.indexes() if is_version(name, alias)]

    def indexes(self) -> list[str]:
        """Returns the names of all indexes of the server."""
        return [name.decode("utf-8", "replace") for name in self.client.execute_command("FT._LIST")]

    def drop(self, version: str) -> None:
        """Deletes an index and its hashes, in batches, since one long command would keep the server from answering."""
        try:
            self.client.execute_command("FT.DROPINDEX", version)
        except redis.ResponseError as error:
            if "unknown" not in str(error).lower() and "no such index" not in str(error).lower():
                raise
        batches: dict[bytes, list[bytes]] = defaultdict(list)  # one command may only name keys of one slot
        for pattern in patterns(version):
            for key in self.client.scan_iter(match=pattern, count=KEYS_PER_CALL):
                batch = batches[slot_tag(key)]
                batch.append(key)
                if len(batch) >= KEYS_PER_CALL:
                    self.client.unlink(*batch)
                    batch.clear()
        for batch in batches.values():
            if batch:
                self.client.unlink(*batch)
        self.client.delete(rows_key(version))
