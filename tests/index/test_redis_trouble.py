"""Redis servers shared with others, or in trouble: nothing is taken over, nothing goes missing without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
import redis

from twotower.core.errors import UserError
from twotower.index.export import IndexExportError, export
from twotower.index.redis import index as module
from twotower.index.redis import session
from twotower.index.redis.commands import create_command
from twotower.index.redis.index import RedisIndex
from twotower.index.redis.keys import lock_key
from twotower.index.redis.session import Session

TARGET = "twotower.index.redis.RedisIndex"


@pytest.fixture
def client(redis_url):
    made = redis.Redis.from_url(redis_url, protocol=2)
    yield made
    for command in (("FT.ALIASDEL", "products"), ("FT.DROPINDEX", "theirs"), ("FT.DROPINDEX", "products")):
        with contextlib.suppress(redis.ResponseError):
            made.execute_command(*command)


def settings(**more):
    return {"redis": {"_target_": TARGET, "algorithm": "FLAT", "index_name": "products", **more}}


@pytest.mark.parametrize("theirs", ["an alias", "an index"])
def test_a_name_of_somebody_elses_is_refused_before_training_and_left_alone(
    client, vectors, tmp_path, identity, monkeypatch, redis_url, theirs
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    name = "theirs" if theirs == "an alias" else "products"
    client.execute_command(*create_command(name, "FLAT", {}, 8, 10, 1))
    if theirs == "an alias":
        client.execute_command("FT.ALIASADD", "products", name)
    with pytest.raises(UserError, match=r"index\.redis\.index_name=products: that name .*somebody else's"):
        RedisIndex(index_name="products").check()
    with pytest.raises(IndexExportError, match="somebody else's"):
        export(settings(), vectors[:50], ["d"] * 50, identity=identity(50), run_dir=tmp_path)
    assert not (tmp_path / "index" / "redis").exists()
    answer = client.execute_command("FT.INFO", "products")
    assert answer[answer.index(b"index_name") + 1] == name.encode()


def test_a_name_taken_during_the_build_leaves_no_searchable_folder(
    client, vectors, tmp_path, identity, monkeypatch, redis_url
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    whole = RedisIndex.publish

    def publish(self):
        client.execute_command(*create_command("theirs", "FLAT", {}, 8, 10, 1))
        client.execute_command("FT.ALIASADD", "products", "theirs")
        whole(self)

    monkeypatch.setattr(RedisIndex, "publish", publish)
    with pytest.raises(IndexExportError, match="somebody else's"):
        export(settings(), vectors[:50], [f"d{n}" for n in range(50)], identity=identity(50), run_dir=tmp_path)
    assert not (tmp_path / "index" / "redis").exists()


def test_an_export_whose_lock_ran_out_leaves_the_build_of_another_alone(
    client, vectors, tmp_path, monkeypatch, redis_url, caplog
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    slow, other = (RedisIndex(algorithm="FLAT", index_name="products") for _ in range(2))
    for index, name in ((slow, "slow"), (other, "other")):
        (tmp_path / name).mkdir()
        index.build(vectors[:50], [f"d{n}" for n in range(50)], tmp_path / name)
        if index is slow:
            client.delete(lock_key("products"))
    slow.publish()
    assert "another export may be writing" in caplog.text
    other.publish()
    assert (other.search(vectors[:5], 1)[1][:, 0] == np.arange(5)).all()


def test_the_lock_is_kept_while_redis_indexes(client, vectors, tmp_path, monkeypatch, redis_url):
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr(session, "LOCK_SECONDS", 1)
    whole, waited = Session.info, iter(range(30))

    def info(self, version):
        done = next(waited, None)
        return whole(self, version) if done is None else {"num_docs": done}

    monkeypatch.setattr(Session, "info", info)
    index = RedisIndex(algorithm="FLAT", index_name="products")
    index.build(vectors[:50], [f"d{n}" for n in range(50)], tmp_path)
    assert client.get(lock_key("products")) is not None
    index.publish()


def test_our_own_name_is_published_again(client, vectors, tmp_path, identity, monkeypatch, redis_url):
    monkeypatch.setenv("REDIS_URL", redis_url)
    for _ in range(2):
        made = export(settings(), vectors[:50], [f"d{n}" for n in range(50)], identity=identity(50), run_dir=tmp_path)
        assert made["redis"]["count"] == 50


def test_documents_deleted_under_a_running_search_are_noticed(vectors, redis_url, tmp_path, client, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    index = RedisIndex(algorithm="FLAT")
    index.build(vectors[:60], [f"d{n}" for n in range(60)], tmp_path)
    index.publish()
    index.load(tmp_path)
    query = np.asarray(vectors[:1])
    assert (index.search(query, 5)[1] >= 0).all()
    gone = client.keys("doc:*d7")
    client.delete(*gone)
    with pytest.raises(UserError, match="holds 59 documents instead of 60: some were deleted while it is searched"):
        index.search(query, 60)
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.0)
    with pytest.raises(UserError, match="holds 59 documents instead of 60"):
        index.search(query, 5)


def test_a_server_that_never_answers_is_given_up_within_seconds(monkeypatch):
    from twotower.index.redis import connection

    monkeypatch.setattr(connection, "PROBE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []
        threading.Thread(target=lambda: held.append(listener.accept()), daemon=True).start()
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(UserError, match="No Redis at"):
            RedisIndex().check()
        assert time.monotonic() - started < 4
