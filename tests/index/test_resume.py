"""Builds that are stopped, killed or cut off, and go on."""

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import redis

from twotower.core.errors import UserError
from twotower.index import vectors as vectors_module
from twotower.index.export import IndexExportError, export, open_index
from twotower.index.faiss import index as faiss
from twotower.index.resume import part_folder

IDS = [f"doc {number}" for number in range(3000)]
FLAT = {"flat": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "Flat"}}
IVF = {"ivf": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "IVF32,PQ16x4", "rerank": 100}}
HNSW = {"hnsw": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "HNSW16"}}
EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
REDIS = {
    "redis": {
        "_target_": "twotower.index.redis.RedisIndex",
        "algorithm": "FLAT",
        "index_name": "mine",
        "batch_size": 100,
        "retry_seconds": 0.2,
    }
}


def write(config, given, run_dir, identity, progress=None):
    return export(config, given, IDS[: len(given)], identity=identity, run_dir=run_dir, progress=progress)


def stop_at(rows, stage, error=KeyboardInterrupt):
    def progress(name, done, total):
        if name.endswith(stage) and done >= rows:
            raise error

    return progress


def first_of(stage):
    seen = []

    def progress(name, done, total):
        if name.endswith(stage):
            seen.append(done)

    return progress, seen


@pytest.fixture
def often(monkeypatch):
    """Notes what is done after every block."""
    monkeypatch.setattr(faiss, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(vectors_module, "NOTE_BYTES", 1)
    monkeypatch.setattr(vectors_module, "BLOCK_BYTES", 500 * 32 * 4)


@pytest.mark.parametrize(
    ("config", "stage"),
    [(FLAT, "add"), (IVF, "add"), (IVF, "originals"), (HNSW, "add"), (EXACT, "write")],
    ids=["flat", "ivf", "ivf originals", "hnsw", "exact"],
)
def test_stopped_build_goes_on_and_answers_as_an_unbroken_one(
    config, stage, vectors, queries, identity, often, tmp_path
):
    name = next(iter(config))
    with pytest.raises(KeyboardInterrupt):
        write(config, vectors, tmp_path / "a", identity(), stop_at(2048, stage))
    assert not (tmp_path / "a" / "index" / name).exists()
    progress, seen = first_of(stage)
    resumed = write(config, vectors, tmp_path / "a", identity(), progress)[name]
    assert seen[0] > 1024
    assert resumed["recall_at_10"] >= 0.95
    assert [item.name for item in (tmp_path / "a" / "index").iterdir()] == [name]
    unbroken = write(config, vectors, tmp_path / "b", identity())[name]
    files = sorted(item.name for item in (tmp_path / "a" / "index" / name).iterdir())
    assert files == sorted([*unbroken["files"], "manifest.json"])
    indexes = [open_index(tmp_path / run / "index" / name, identity())[0] for run in ("a", "b")]
    scores = [index.search(queries, 5)[0] for index in indexes]
    if config is not HNSW:  # whose layers are drawn at random
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


@pytest.mark.parametrize("change", ["vectors", "settings", "model"])
def test_something_else_starts_from_nothing(change, vectors, identity, often, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(FLAT, vectors, tmp_path, identity(), stop_at(2048, "add"))
    given = -vectors if change == "vectors" else vectors
    config = {"flat": {**FLAT["flat"], "factory": "SQfp16"}} if change == "settings" else FLAT
    progress, seen = first_of("add")
    write(config, given, tmp_path, identity(**({"checkpoint_sha256": "c" * 64} if change == "model" else {})), progress)
    assert seen[0] == 1024


def test_failed_build_leaves_nothing(vectors, identity, often, tmp_path):
    with pytest.raises(IndexExportError) as caught:
        write(FLAT, vectors, tmp_path, identity(), stop_at(2048, "add", RuntimeError("boom")))
    assert not caught.value.resumable
    assert list((tmp_path / "index").iterdir()) == []


def test_two_processes_do_not_build_the_same(tmp_path):
    part = tmp_path / ".flat.part"
    with part_folder(part, {}), pytest.raises(UserError, match="Another process is building"), part_folder(part, {}):
        pass
    with part_folder(part, {}) as again:
        assert again.is_dir()
    assert not part.exists()


def test_damaged_note_starts_from_nothing(vectors, identity, often, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(FLAT, vectors, tmp_path, identity(), stop_at(2048, "add"))
    (tmp_path / "index" / ".flat.part" / "resume.json").write_text("{")
    assert write(FLAT, vectors, tmp_path, identity())["flat"]["recall_at_10"] == 1.0


KILLED = """
import os, signal, sys
import numpy as np
from twotower.index.export import export
from twotower.index.manifest import identity_of

def progress(stage, done, total):
    if stage.endswith("upload") and done >= 1500:
        os.kill(os.getpid(), signal.SIGKILL)

identity = identity_of(
    checkpoint="m.pt", checkpoint_sha256="a" * 64, vocabulary_hash="v", documents_hash="d", documents_count=3000
)
ids = [f"doc {number}" for number in range(3000)]
config = {config}
export(config, np.load(sys.argv[1]), ids, identity=identity, run_dir=sys.argv[2], progress=progress)
"""


@pytest.mark.parametrize("hash_tags", [1, 7])
def test_killed_exporter_to_redis(hash_tags, vectors, identity, redis_url, tmp_path, caplog):
    """The next one takes over the lock of the dead, sends only what is missing, and publishes one whole index."""
    config = {"redis": {**REDIS["redis"], "hash_tags": hash_tags}}
    np.save(tmp_path / "v.npy", vectors)
    script = KILLED.replace("{config}", repr(config))
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "v.npy"), str(tmp_path / "run")], check=False)
    assert done.returncode == -signal.SIGKILL
    client = redis.Redis.from_url(redis_url)
    died = [name.decode() for name in client.execute_command("FT._LIST")]
    progress, seen = first_of("upload")
    with caplog.at_level(logging.INFO):
        write(config, vectors, tmp_path / "run", identity(), progress)
    assert seen[0] > 1000
    assert "going on at document" in caplog.text
    assert [name.decode() for name in client.execute_command("FT._LIST")] == died
    keys = sorted(key.decode() for key in client.scan_iter("*"))
    assert len(keys) == 3000
    assert all(key.startswith("doc:{mine") for key in keys)
    index, _ = open_index(tmp_path / "run" / "index" / "redis", identity())
    assert (index.search(vectors, 1)[1][:, 0] == np.arange(3000)).all()


def test_server_that_was_away_too_long(vectors, identity, redis_url, tmp_path, monkeypatch):
    away = {"now": False}
    real = redis.client.Pipeline.execute

    def execute(self, *given, **more):
        if away["now"]:
            raise redis.ConnectionError("gone")
        return real(self, *given, **more)

    def progress(name, done, total):
        away["now"] = name.endswith("upload") and done >= 1500

    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
    with pytest.raises(IndexExportError, match="did not come back") as caught:
        write(REDIS, vectors, tmp_path, identity(), progress)
    assert caught.value.resumable
    monkeypatch.undo()
    monkeypatch.setenv("REDIS_URL", redis_url)
    progress, seen = first_of("upload")
    write(REDIS, vectors, tmp_path, identity(), progress)
    assert seen[0] > 1000


def _hold(key, url, ready, end):
    from twotower.index.redis.session import Session

    with contextlib.suppress(KeyboardInterrupt):
        Session(url=url, label="x", retry_seconds=1).lock(key)
        ready.set()
        end.wait(30)
        os._exit(0)


def test_lock_of_a_living_exporter_is_respected(vectors, identity, redis_url, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=("mine", redis_url, ready, end))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(UserError, match="under way"):
            write(REDIS, vectors[:10], tmp_path, identity(10))
        end.set()
        other.join(30)
        write(REDIS, vectors[:10], tmp_path, identity(10))  # it ended without unlocking
    finally:
        other.kill()
        other.join()
