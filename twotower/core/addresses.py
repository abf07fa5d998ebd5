"""Redis addresses and the passwords in them; imports nothing large, as it is asked before anything else."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from twotower.core.errors import UserError
from twotower.core.secrets import REDIS_SCHEMES, mask_text, url_login

SCHEMES = REDIS_SCHEMES
SECRET = ("username", "password", "ssl_keyfile", "ssl_password")
"""Query parameters that are nobody else's business."""


def without_credentials(url: str) -> str:
    """Returns a Redis URL without user name, password or secret query parameters, also where it can't be read."""
    scheme, separator, rest = url.partition("://")
    if not separator:  # "redis//user:password@host"
        return mask_text(url if "@" not in url else f"***@{url.rpartition('@')[2]}")
    login = url_login(scheme, rest)
    address, mark, query = (rest[len(login) + 1 :] if login else rest).partition("?")
    kept = urlencode([(key, value) for key, value in parse_qsl(query) if key not in SECRET])
    return f"{scheme}://{address}{mark if kept else ''}{kept}"


def holds_password(url: str) -> bool:
    """Tells whether a URL carries a password."""
    scheme, _, rest = url.partition("://")
    login = url_login(scheme, rest)
    query = rest[len(login) :].partition("?")[2]
    return bool(login.partition(":")[2]) or any(key in SECRET for key, _ in parse_qsl(query))


def check_address(key: str, url: Any) -> None:
    """Refuses a Redis address that can't be read as one; no password in it is repeated.

    Raises:
        UserError: naming what is wrong and how to write it.
    """
    if not isinstance(url, str):
        raise UserError(f"{key}={url} is not a Redis address; write redis://host:6379.")
    safe = without_credentials(url)
    scheme, _, rest = url.partition("://")
    if scheme in ("redis", "rediss") and any(mark in url_login(scheme, rest) for mark in "/?#"):
        raise UserError(f"{key}={safe}: a '/', '?' or '#' in its password is written %2F, %3F or %23.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # "[" without "]", or a port that is no number
        raise UserError(
            f"{key}={safe} can't be read as a Redis address; write redis://host:6379, or redis://[::1]:6379."
        ) from None
    if parts.scheme not in SCHEMES or "://" not in url:
        raise UserError(
            f"{key}={safe} is not a Redis address; write redis://host:6379, rediss://host:6379 or unix:///path."
        )
    database = dict(parse_qsl(parts.query)).get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "")
    if database not in ("", "0"):
        raise UserError(
            f"{key}={safe} names database {database}, and vector search works in database 0 alone (in another it can "
            "leave the server refusing everybody): leave the number out."
        )
    if port == 0:
        raise UserError(f"{key}={safe}: there is no port 0.")


def refuse_password(key: str, url: Any) -> None:
    """Raises UserError when an address in a config carries a password, which is not repeated."""
    if isinstance(url, str) and holds_password(url):
        raise UserError(
            f"{key} holds a password, and the config is written down with the run: leave it out and set the "
            "environment variable REDIS_URL to the whole address."
        )
