"""Reaching Redis: which address, a connection that tries again, and messages that never show a password."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, unquote

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from twotower.core.addresses import SECRET, check_address, without_credentials
from twotower.core.errors import UserError
from twotower.core.secrets import MASK, mask_text, url_login

DEFAULT_URL = "redis://127.0.0.1:6379"
PROBE_SECONDS = 5.0
"""How long a server that takes connections may take to say that it is there."""
LOST = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError)
"""What a server that went away, or is just coming back, raises."""


def resolve_url(url: str | None) -> str:
    """Returns the address to use: the one given, else REDIS_URL, else this machine's default port."""
    return url or os.environ.get("REDIS_URL") or DEFAULT_URL


def connect(url: str, *, retries: int = 3, timeout: float = 10.0, answer: float = 60.0) -> redis.Redis:
    """Returns a client for a redis://, rediss:// or unix:// address; nothing is sent yet.

    Args:
        url: the address.
        retries: how often a lost connection is tried again at once.
        timeout: seconds to wait for a connection.
        answer: seconds to wait for an answer, each time.

    Raises:
        UserError: for an address redis-py does not understand.
    """
    safe = without_credentials(url)
    check_address("REDIS_URL" if url == os.environ.get("REDIS_URL") else "index.redis.url", url)
    try:
        return redis.Redis.from_url(
            url,
            protocol=2,  # answers of FT.SEARCH have one documented shape there, whichever server
            socket_connect_timeout=timeout,
            socket_timeout=answer,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
            retry_on_error=list(LOST),
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"The Redis address {safe} is not understood: {scrub(str(error), url)}.") from None


def scrub(message: str, url: str) -> str:
    """Removes the credentials of a URL from a message of the library."""
    scheme, _, rest = url.partition("://")
    login, query = url_login(scheme, rest), rest.partition("?")[2]
    password = login.partition(":")[2]
    secrets = {password, unquote(password), *(value for key, value in parse_qsl(query) if key in SECRET)}
    for secret in sorted((item for item in secrets if item), key=len, reverse=True):
        message = message.replace(secret, MASK)
    return mask_text(message)


def require_search(client: redis.Redis, url: str) -> None:
    """Raises UserError unless the server answers and can search vectors."""
    safe = without_credentials(url)
    try:
        with connect(url, retries=0, timeout=PROBE_SECONDS, answer=PROBE_SECONDS) as probe:
            probe.ping()
    except LOST as error:
        raise _unreachable(safe, url, error) from None
    except redis.RedisError:
        pass  # told below
    try:
        client.ping()
        client.execute_command("FT._LIST")
    except redis.exceptions.AuthenticationError:
        raise UserError(
            f"Redis at {safe} refuses the user or password; set REDIS_URL=redis://:PASSWORD@host:port."
        ) from None
    except LOST as error:
        raise _unreachable(safe, url, error) from None
    except redis.ResponseError as error:
        text = str(error)
        if "unknown command" in text.lower():
            raise UserError(
                f"Redis at {safe} has no vector search module. Use Redis 8, Redis Stack, or `make redis`."
            ) from None
        raise UserError(
            f"Redis at {safe} refuses: {scrub(text, url)}. Set REDIS_URL with a user and password."
        ) from None


def _unreachable(safe: str, url: str, error: Exception) -> UserError:
    reason = scrub(str(error), url).rstrip(".")
    return UserError(
        f"No Redis at {safe} ({reason}). Start one with `make redis`, or set REDIS_URL or index.redis.url."
    )


def pairs(answer: Any) -> dict[str, Any]:
    """Turns the flat key, value, key, value list of a RESP2 answer into a dict with string keys."""
    if isinstance(answer, dict):
        return {_text(key): value for key, value in answer.items()}
    return {_text(key): value for key, value in zip(answer[::2], answer[1::2], strict=True)}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
