"""Redis as it is met in production: over TLS with a password, and as a cluster."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import redis
from redis.crc import key_slot

from tools.redis_server import running
from twotower.core.errors import UserError
from twotower.index.redis.index import RedisIndex

IDS = [f"doc {number}" for number in range(3000)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 and its key, made by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis.test"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]),
        ],
        check=True,
        capture_output=True,
    )
    return paths


class Tls:
    """Ends TLS before a Redis socket: the bundled redis-server is built without TLS, so it is done as stunnel does."""

    def __init__(self, target, certificate):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*map(str, certificate))
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.versions = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        with contextlib.suppress(OSError):
            near = self.context.wrap_socket(plain, server_side=True)
            self.versions.add(near.version())
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self.target))
            threading.Thread(target=self._copy, args=(far, near), daemon=True).start()
            self._copy(near, far)

    def _copy(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def short():
    """A folder whose name is short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="tt-net-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def build(vectors, folder, **settings):
    index = RedisIndex(**{"algorithm": "FLAT", "index_name": "mine", **settings})
    folder.mkdir(exist_ok=True)
    index.build(vectors, IDS[: len(vectors)], folder)
    index.publish()
    return index


def test_tls_with_user_and_password(vectors, certificate, short, tmp_path, monkeypatch):
    with running(short / "r", socket=short / "s", options=("--save", "", "--requirepass", "s3cret")):
        tls = Tls(short / "s", certificate)
        address = f"rediss://default:s3cret@localhost:{tls.port}/0?ssl_ca_certs={certificate[0]}"
        monkeypatch.setenv("REDIS_URL", address)
        build(vectors, tmp_path / "i")
        loaded = RedisIndex()
        loaded.load(tmp_path / "i")
        assert (loaded.search(vectors[:100], 1)[1][:, 0] == np.arange(100)).all()
        assert tls.versions <= {"TLSv1.3", "TLSv1.2"}
        assert tls.versions
        assert "s3cret" not in "".join(path.read_text() for path in (tmp_path / "i").iterdir())
        monkeypatch.setenv("REDIS_URL", f"rediss://default:s3cret@localhost:{tls.port}")
        with pytest.raises(UserError, match=r"certificate verify failed") as caught:  # nobody vouches for this one
            RedisIndex().check()
        assert "s3cret" not in str(caught.value)
        monkeypatch.setenv("REDIS_URL", f"redis://default:s3cret@localhost:{tls.port}")
        with pytest.raises(UserError, match="No Redis at"):  # not TLS
            RedisIndex(retry_seconds=0).check()
        tls.listener.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def cluster_url(short, monkeypatch):
    """A cluster of one node: it checks slots as a large one does and refuses commands across them."""
    port = free_port()
    while port > 55000:
        port = free_port()
    options = ("--save", "", "--cluster-enabled", "yes", "--cluster-config-file", str(short / "nodes.conf"))
    with running(short / "r", port=port, options=options) as url:
        client = redis.Redis.from_url(url)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for _ in range(200):
            if b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"):
                break
            time.sleep(0.05)
        monkeypatch.setenv("REDIS_URL", url)
        yield url


@pytest.mark.parametrize(("hash_tags", "slots"), [(1, 1), (16, 16)])
def test_cluster(hash_tags, slots, vectors, cluster_url, tmp_path):
    """Every command is allowed in a cluster; the keys lie in as many slots as asked for."""
    client = redis.Redis.from_url(cluster_url)
    with pytest.raises(redis.ResponseError, match="same slot"):
        client.unlink("a", "b")
    first = build(vectors[:500], tmp_path / "a", hash_tags=hash_tags)
    index = build(vectors, tmp_path / "b", hash_tags=hash_tags)  # deletes the first
    if hash_tags == 1:
        assert (index.search(vectors[:100], 1)[1][:, 0] == np.arange(100)).all()
    else:  # the bundled module is older than the server and reads only documents of the index's own slot
        with pytest.raises(UserError, match="spread over slots"):
            index.search(vectors[:100], 1)
    keys = [key.decode() for key in client.scan_iter("*")]
    assert len(keys) == 3000
    assert first.version.split(":")[1] not in "".join(keys)
    assert len({key_slot(key.encode()) for key in keys}) == slots
    loaded = RedisIndex()
    loaded.load(tmp_path / "b")
    loaded.discard()
    assert client.dbsize() == 0


def test_lock_and_notes_share_the_slot_of_the_documents(vectors, redis_url, tmp_path):
    index = RedisIndex(algorithm="FLAT", index_name="mine", batch_size=50)
    seen = set()

    def watch(stage, done, total):
        seen.update(redis.Redis.from_url(redis_url).scan_iter("*"))

    index.build(vectors[:200], IDS[:200], tmp_path, progress=watch)
    index.publish()
    assert len(seen) == 202  # documents, lock, count of documents sent
    assert len({key_slot(key) for key in seen}) == 1
