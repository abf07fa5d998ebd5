import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest
import redis

from tools.redis_server import running
from twotower.core.addresses import without_credentials
from twotower.core.errors import UserError
from twotower.index.export import check
from twotower.index.redis.connection import connect, require_search, scrub
from twotower.index.redis.index import RedisIndex
from twotower.index.redis.keys import rows_key

IDS = [f"doc {number}" for number in range(3000)]


def keys(url):
    return sorted(key.decode() for key in redis.Redis.from_url(url).scan_iter("*"))


def names(url):
    return [name.decode() for name in redis.Redis.from_url(url).execute_command("FT._LIST")]


def build(vectors, folder, **settings):
    index = RedisIndex(**{"algorithm": "FLAT", "index_name": "mine", **settings})
    folder.mkdir(exist_ok=True)
    index.build(vectors, IDS[: len(vectors)], folder)
    return index


def test_documents_are_hashes_with_row_and_vector(vectors, redis_url, tmp_path):
    index = build(vectors[:10], tmp_path)
    index.publish()
    assert keys(redis_url) == [f"doc:{index.version}:doc {n}" for n in range(10)]
    stored = redis.Redis.from_url(redis_url).hgetall(f"doc:{index.version}:doc 3")
    assert stored[b"row"] == b"3"
    np.testing.assert_allclose(np.frombuffer(stored[b"vector"], np.float32), vectors[3], atol=1e-6)


def test_keys_of_an_index_share_one_cluster_slot(vectors, redis_url, tmp_path):
    from redis.crc import key_slot

    build(vectors[:50], tmp_path)
    assert len({key_slot(key.encode()) for key in keys(redis_url) if key.startswith("doc:")}) == 1


def test_publishing_switches_the_alias_and_removes_the_index_before(vectors, redis_url, tmp_path):
    first = build(vectors[:100], tmp_path / "a")
    first.publish()
    second = build(vectors[100:130], tmp_path / "b")
    assert sorted(names(redis_url)) == sorted([first.version, second.version])
    client = redis.Redis.from_url(redis_url, protocol=2)
    assert client.execute_command("FT.SEARCH", "mine", "*", "LIMIT", 0, 0) == [100]
    second.publish()
    assert client.execute_command("FT.SEARCH", "mine", "*", "LIMIT", 0, 0) == [30]
    assert names(redis_url) == [second.version]
    assert len(keys(redis_url)) == 30


def test_failed_build_leaves_the_index_before_as_it_was(vectors, redis_url, tmp_path):
    build(vectors[:100], tmp_path / "a").publish()
    before = keys(redis_url)
    broken = vectors[:2000].copy()
    broken[1500] = np.nan
    index = RedisIndex(algorithm="FLAT", index_name="mine")
    with pytest.raises(UserError, match="1500 is not finite"):
        index.build(broken, IDS[:2000], tmp_path)
    index.discard()
    assert keys(redis_url) == before
    again = RedisIndex()
    again.load(tmp_path / "a")
    assert again.search(vectors[7], 1)[1][0, 0] == 7


def test_leftovers_of_an_export_that_died_are_removed_by_the_next(vectors, redis_url, tmp_path):
    died = build(vectors[:20], tmp_path / "a")
    redis.Redis.from_url(redis_url).delete("twotower:{mine}:lock")
    build(vectors[:10], tmp_path / "b").publish()
    assert died.version not in names(redis_url)
    assert len(keys(redis_url)) == 10


def test_a_foreign_note_of_a_build_takes_up_no_other_alias(vectors, redis_url, tmp_path):
    others = build(vectors[:10], tmp_path / "others", index_name="others")
    others.publish()
    redis.Redis.from_url(redis_url).set(rows_key(others.version), 5)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "upload.json").write_text(json.dumps({"alias": "mine", "version": others.version}))
    mine = build(vectors[:20], tmp_path / "mine", index_name="mine")
    assert mine.version.startswith("{mine}:")
    mine.discard()
    assert others.version in names(redis_url)
    assert len(keys(redis_url)) == 11


def test_one_export_at_a_time_under_a_name(vectors, redis_url, tmp_path):
    index = build(vectors[:10], tmp_path / "a")
    with pytest.raises(UserError, match="another export into the Redis index mine is under way"):
        build(vectors[:10], tmp_path / "b")
    index.publish()
    build(vectors[:10], tmp_path / "b").publish()


def test_models_do_not_overwrite_each_other(vectors, redis_url, tmp_path, identity):
    for number, sha in enumerate(("a" * 64, "b" * 64)):
        index = RedisIndex(algorithm="FLAT")
        index.bind(identity(10, checkpoint_sha256=sha))
        (tmp_path / str(number)).mkdir()
        index.build(vectors[:10], IDS[:10], tmp_path / str(number))
        index.publish()
    assert len(names(redis_url)) == 2
    first = RedisIndex()
    first.load(tmp_path / "0")
    assert first.search(vectors[4], 1)[1][0, 0] == 4


def test_index_gone_or_changed_is_refused(vectors, redis_url, tmp_path):
    build(vectors[:10], tmp_path / "a").publish()
    client = redis.Redis.from_url(redis_url)
    client.delete(keys(redis_url)[0])
    with pytest.raises(UserError, match="holds 9 documents instead of 10"):
        RedisIndex().load(tmp_path / "a")
    client.flushall()
    with pytest.raises(UserError, match="is gone"):
        RedisIndex().load(tmp_path / "a")


def test_ids_with_odd_characters(vectors, redis_url, tmp_path):
    odd = ["a b", "ä/ö", "{x}", "*", "a:b", "'quote\"", "\n", "[1]", "\\", "ß?"]
    index = RedisIndex(algorithm="FLAT", index_name="odd")
    index.build(vectors[:10], odd, tmp_path)
    assert (index.search(vectors[:10], 1)[1][:, 0] == np.arange(10)).all()
    index.discard()
    assert keys(redis_url) == []


class Cutter:
    """A proxy on 127.0.0.1 before a Redis that drops every connection after some bytes, `times` times."""

    def __init__(self, target, after, times):
        self.target, self.after, self.times = target, after, times
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
            threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, source, sink, counted):
        seen = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                seen += len(data)
                if counted and seen > self.after and self.cuts < self.times:
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_export_goes_on_after_the_connection_drops(vectors, redis_url, monkeypatch, tmp_path):
    cutter = Cutter(redis_url.removeprefix("unix://"), after=100_000, times=6)
    monkeypatch.setenv("REDIS_URL", cutter.url)
    index = build(vectors, tmp_path, batch_size=200)
    index.publish()
    assert cutter.cuts == 6
    assert (index.search(vectors[:100], 1)[1][:, 0] == np.arange(100)).all()
    cutter.listener.close()


def test_server_that_stays_away_is_an_error_after_retry_seconds(vectors, redis_url, monkeypatch, tmp_path):
    cutter = Cutter(redis_url.removeprefix("unix://"), after=50_000, times=10**9)
    monkeypatch.setenv("REDIS_URL", cutter.url)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"went away and did not come back within 0\.5 s"):
        build(vectors, tmp_path, retry_seconds=0.5)
    assert time.monotonic() - started < 30
    cutter.listener.close()


def test_server_that_loses_its_data_during_the_export_is_noticed(vectors, redis_url, tmp_path):
    client = redis.Redis.from_url(redis_url)

    def lose(stage, done, total):
        if done == 1000:
            client.flushall()

    index = RedisIndex(algorithm="FLAT", index_name="mine", retry_seconds=1)
    with pytest.raises(UserError, match=r"says: |restarted"):
        index.build(vectors, IDS, tmp_path, progress=lose)
    index.discard()
    assert keys(redis_url) == []


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("redis://user:secret@host:1/2", "redis://host:1/2"),
        ("rediss://:secret@host?password=secret&db=1", "rediss://host?db=1"),
        ("unix://:secret@/run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
    ],
)
def test_credentials_are_left_out(url, safe):
    assert without_credentials(url) == safe
    assert "secret" not in scrub(f"cannot reach {url}: bad secret", url)


def test_password_works_and_is_never_shown(vectors, tmp_path, monkeypatch, caplog):
    with running(tmp_path / "r", socket=tmp_path / "s", options=("--save", "", "--requirepass", "s3cret")) as url:
        for wrong in (url, f"unix://:wr0ng@{tmp_path}/s"):
            monkeypatch.setenv("REDIS_URL", wrong)
            with pytest.raises(UserError) as caught:
                RedisIndex().check()
            assert "password" in str(caught.value)
            assert "wr0ng" not in str(caught.value)
        monkeypatch.setenv("REDIS_URL", f"unix://:s3cret@{tmp_path}/s")
        index = build(vectors[:10], tmp_path / "i")
        index.publish()
        assert (index.search(vectors[:10], 1)[1][:, 0] == np.arange(10)).all()
        assert "s3cret" not in (tmp_path / "i" / "redis.json").read_text() + caplog.text + str(index.describe())


def test_url_in_the_config_wins(redis_url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    RedisIndex(url=redis_url).check()


@pytest.mark.parametrize("url", ["redis://:s3cret@127.0.0.1:1", "rediss://user:s3cret@h", "unix:///s?password=s3cret"])
def test_password_in_the_config_is_refused(url, caplog):
    with pytest.raises(UserError, match=r"index\.redis\.url holds a password.*REDIS_URL") as caught:
        check({"redis": {"_target_": "twotower.index.redis.RedisIndex", "url": url}})
    assert "s3cret" not in str(caught.value) + caplog.text


def test_no_redis_names_the_way_out(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@127.0.0.1:1")
    with pytest.raises(UserError, match=r"No Redis at redis://127\.0\.0\.1:1 .*make redis") as caught:
        RedisIndex().check()
    assert "s3cret" not in str(caught.value)


def test_redis_without_vector_search_is_named(tmp_path, monkeypatch):
    from tools import redis_server

    plain = redis_server.command

    def without_module(**given):
        arguments = plain(**given)
        at = arguments.index("--loadmodule")
        return arguments[:at] + arguments[at + 2 :]

    monkeypatch.setattr(redis_server, "command", without_module)
    no_search = pytest.raises(UserError, match="no vector search module")
    with running(tmp_path / "r", socket=tmp_path / "s") as url, no_search:
        require_search(connect(url), url)


@pytest.mark.parametrize("url", ["http://x", "localhost:6379", "redis://host:port"])
def test_address_that_is_none_is_named(url):
    with pytest.raises(UserError, match="Redis address"):
        connect(url)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("algorithm", "HSNW"),
        ("m", 0),
        ("batch_size", 0),
        ("retry_seconds", -1),
        ("index_name", "a{b}"),
        ("index_name", ""),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    with pytest.raises(UserError, match=rf"index\.redis\.{key}="):
        RedisIndex(**{key: value})
