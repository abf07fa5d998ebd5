"""Servers and databases elsewhere: opened where somebody here has named them, never because a file says so.

A run's folder may come from elsewhere, and what it says of its index names the server or database to ask: whoever sent
it would be told of every query. This machine may always be asked, and where this person has exported an index to, which
is remembered beside the caches; any other place has to be named.
"""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from twotower.core.cache import cache_root
from twotower.core.errors import UserError

FILE = "index_places"
"""In the folder of the caches: a line for every place."""


def on_this_machine(url: str) -> bool:
    """Says whether a Redis address is a socket file, or a loopback name or number; what can't be read is not."""
    try:
        parts = urlsplit(url)
        host, given = parts.hostname, parse_qs(parts.query)
    except ValueError:
        return False
    if "host" in given or "path" in given:  # redis-py reads these too
        return False
    if parts.scheme == "unix" or host == "localhost":
        return True
    try:
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return False


def remember(place: str) -> None:
    """Notes that an index was exported to a place; a cache that can't be written keeps nothing."""
    with suppress(OSError):
        if place not in _remembered():
            cache_root().mkdir(parents=True, exist_ok=True)
            with open(cache_root() / FILE, "a", encoding="utf-8") as file:
                file.write(f"{place}\n")


def _remembered() -> list[str]:
    try:
        return (cache_root() / FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def check_named(place: str, file: Path, variable: str) -> None:
    """Refuses a place out of a file that nobody here has named.

    Args:
        place: an address without credentials.
        file: what names it.
        variable: the environment variable by which a person names one.

    Raises:
        UserError: with the way to name it.
    """
    if place != os.environ.get(variable) and place not in _remembered():
        raise UserError(
            f"{file} names {place}, to which no index was exported from here, and it would be told what is searched. "
            f"If you know it: {variable}={place}; or choose another index with --index."
        )
