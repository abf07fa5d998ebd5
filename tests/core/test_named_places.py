"""An index elsewhere is opened where somebody here has named the place: asked for, exported to, or on this machine."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager

import pytest

from twotower.core.errors import UserError
from twotower.core.named_places import FILE, check_named, on_this_machine, remember
from twotower.index.redis.index import RedisIndex

POINTER = {"alias": "a", "version": "{a}:1", "count": 1, "dim": 4, "algorithm": "FLAT", "text": True}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REDIS_URL", raising=False)
    return tmp_path / "cache"


@contextmanager
def listener():
    """A server that counts who connects and hangs up."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                seen.append(client)
                client.close()

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1], seen


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://127.0.0.9:1", "rediss://[::1]:6379", "unix:///run/r.sock"]
)
def test_this_machine(url):
    assert on_this_machine(url)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://host", "redis://10.0.0.1", "redis://127.0.0.1.host", "redis://localhost@host", "redis://0.0.0.0"),
        *("redis://?host=host", "redis://localhost?host=host", "unix://?path=/s", "redis://[", "redis:", "", "host"),
    ],
)
def test_elsewhere(url):
    assert not on_this_machine(url)


def test_a_foreign_index_calls_no_server_until_it_is_named(tmp_path, monkeypatch, cache):
    monkeypatch.setattr("twotower.index.redis.index.on_this_machine", lambda url: False)
    with listener() as (port, seen):
        url = f"redis://127.0.0.1:{port}"
        (tmp_path / "redis.json").write_text(json.dumps({**POINTER, "url": url}))
        with pytest.raises(UserError, match=rf"names {url}, to which no index was exported.*REDIS_URL={url}"):
            RedisIndex().load(tmp_path)
        assert not seen
        remember(url)
        with pytest.raises(UserError, match="No Redis at"):  # it was asked, and hung up
            RedisIndex().load(tmp_path)
        assert seen
        (cache / FILE).unlink()
        before = len(seen)
        monkeypatch.setenv("REDIS_URL", url)
        with pytest.raises(UserError, match="No Redis at"):
            RedisIndex().load(tmp_path)
        assert len(seen) > before


def test_what_is_named_or_remembered_is_let_through(tmp_path, monkeypatch, cache):
    for _ in range(2):
        remember("s3://mine/db")
    assert (cache / FILE).read_text() == "s3://mine/db\n"
    check_named("s3://mine/db", tmp_path, "LANCEDB_URI")
    monkeypatch.setenv("LANCEDB_URI", "s3://other/db")
    check_named("s3://other/db", tmp_path, "LANCEDB_URI")
    with pytest.raises(UserError, match="LANCEDB_URI=s3://mine;"):
        check_named("s3://mine", tmp_path, "LANCEDB_URI")


def test_a_cache_that_can_not_be_written_remembers_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "file"))
    remember("s3://mine/db")
    with pytest.raises(UserError, match="no index was exported from here"):
        check_named("s3://mine/db", tmp_path, "LANCEDB_URI")
