"""Redis addresses and the passwords in them; imports nothing large, as it is asked before anything else."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit

from twotower.core.errors import UserError

SCHEMES = ("redis", "rediss", "unix")
SECRET = ("username", "password", "ssl_keyfile", "ssl_password")
"""Query parameters that are nobody else's business."""


def without_credentials(url: str) -> str:
    """Returns a Redis URL without user name, password or secret query parameters."""
    parts = urlsplit(url)
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key not in SECRET])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?' + query if query else ''}"


def holds_password(url: str) -> bool:
    """Tells whether a URL carries a password."""
    parts = urlsplit(url)
    return bool(parts.password) or any(key in SECRET for key, _ in parse_qsl(parts.query))


def refuse_password(key: str, url: str) -> None:
    """Raises UserError when an address in a config carries a password, which is not repeated."""
    if holds_password(url):
        raise UserError(
            f"{key} holds a password, and the config is written down with the run: leave it out and set the "
            "environment variable REDIS_URL to the whole address."
        )


def refuse_passwords(overrides: Iterable[str]) -> None:
    """Raises UserError when an override on the command line is such an address, before Hydra writes it to a file."""
    for override in overrides:
        key, _, value = override.partition("=")
        value = value.strip("'\"")
        if value.startswith(tuple(f"{scheme}:" for scheme in SCHEMES)):
            refuse_password(key.lstrip("+"), value)
