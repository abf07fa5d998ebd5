"""A real Redis with vector search for tests, on a unix socket; a machine where it cannot start fails the tests."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import redis

from tools.redis_server import running


@pytest.fixture(scope="session")
def redis_server_url():
    """Starts one server for the whole session and gives its URL."""
    # A unix socket's path may have only 107 characters, which pytest's own folders can exceed.
    folder = Path(tempfile.mkdtemp(prefix="tt-redis-"))
    try:
        with running(folder, socket=folder / "s") as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server_url, monkeypatch):
    """Gives the URL of an empty server and sets REDIS_URL to it."""
    redis.Redis.from_url(redis_server_url).flushall()
    monkeypatch.setenv("REDIS_URL", redis_server_url)
    return redis_server_url
