"""The web server under attack: many at once, odd requests, clients that go away, that say nothing, that never read."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import sys
from pathlib import Path
from twotower.search.engine import SearchEngine
from twotower.web import impatient
from twotower.web.serve import serve
from twotower.web import guards
impatient.REQUEST_SECONDS = impatient.ANSWER_SECONDS = 2.0
guards.PER_SECOND = guards.BURST = 1e9
folder = Path(sys.argv[1])
serve(SearchEngine.open(folder, "exact"), folder, port=0, started=lambda url: print(url, flush=True))
"""


SLOW_SEARCH = "SearchEngine.search = lambda *_: __import__('time').sleep(4)\n"


def start(place: Path, code: str = SERVER):
    """Starts a server of an old run: its port, its process, and what reads its messages."""
    folder = Path(shutil.copytree(ROOT / "tests" / "old_run" / "mlp", place / "mlp"))
    errors = open(folder / "errors", "w+")  # noqa: SIM115 - the server writes into it until the end
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
    )
    port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
    return port, process, lambda: (errors.flush(), (folder / "errors").read_text())[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port, process, errors = start(tmp_path_factory.mktemp("web"))
    yield port, process, errors
    process.terminate()
    process.wait(20)


@pytest.fixture
def own_server(tmp_path):
    """Starts a server that nobody asked before, once."""
    processes = []

    def run(code: str = SERVER):
        port, process, errors = start(tmp_path, code)
        processes.append(process)
        return port, process, errors

    yield run
    for process in processes:
        process.kill()
        process.wait(20)


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def raw(port: int, data: bytes, *, abort: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(data)
        if abort:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        client.settimeout(20)
        answer = b""
        while part := client.recv(65_536):
            answer += part
        return answer


def load(port: int, connections: int, requests: int) -> np.ndarray:
    """Returns the milliseconds of every answer, `connections` asking at the same time."""
    times: list[float] = []

    def work() -> None:
        for _ in range(requests):
            started = time.perf_counter()
            assert ask(port, "/api/search?q=list+files&k=5")[0] == 200
            times.append(1000 * (time.perf_counter() - started))

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == connections * requests
    return np.array(times)


def test_odd_numbers_and_addresses_are_refused_without_a_traceback(server):
    port, _, errors = server
    for k in ("0000000019999999", "19999999", "-1", "0", "x", "1e3", "%00", "%D9%A3"):
        status, text = ask(port, f"/api/search?q=files&k={k}")
        assert status in (200, 400, 422), (k, status)
        if status == 200:
            assert len(json.loads(text).get("hits", [])) <= 1000
    for head in (
        b"GET http://[::1 HTTP/1.1",
        b"GET http://[::1]:x/ HTTP/1.1",
        b"GET //[ HTTP/1.1",
        b"\x16\x03\x01\x02",
    ):
        answer = raw(port, head + b"\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert answer == b"" or re.match(rb"HTTP/1\.\d [234]\d\d", answer), answer[:80]
    assert ask(port, "/")[0] == 200
    assert "Traceback" not in errors()


def test_clients_that_go_away_leave_no_traceback(server):
    port, _, errors = server
    for number in range(60):
        request = b"GET /api/search?q=files&k=50 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        raw(port, request + (b"\r\n" if number % 2 else b""), abort=True)
    time.sleep(0.3)
    assert ask(port, "/")[0] == 200
    assert "Traceback" not in errors()


def test_connections_that_say_nothing_are_given_up_and_hold_no_threads(server):
    port, process, errors = server
    threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
    silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(200)]
    half = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(100)]
    for client in half:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert ask(port, "/")[0] == 200
    assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) < threads + 50
    started = time.monotonic()
    for client in (*silent, *half):
        client.settimeout(20)
        assert client.recv(1000) == b""
        client.close()
    assert time.monotonic() - started < 15
    assert ask(port, "/")[0] == 200
    assert "Traceback" not in errors()


def sockets(process) -> int:
    count = 0
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += os.readlink(path).startswith("socket:")
    return count


def test_clients_that_never_read_are_given_up(own_server):
    port, process, errors = own_server()
    clients, before = [], sockets(process)
    for _ in range(2):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /search?q=list+files&k=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
        clients.append(client)
    deadline = time.monotonic() + 300
    while sockets(process) < before + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    while sockets(process) > before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert sockets(process) == before
    for client in clients:
        client.close()
    assert ask(port, "/")[0] == 200
    assert "Traceback" not in errors()


def test_a_server_stopped_while_it_answers_leaves_no_traceback(own_server):
    port, process, errors = own_server(SERVER.replace("folder =", f"{SLOW_SEARCH}folder ="))
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(b"GET /api/search?q=files HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    time.sleep(0.5)
    assert ask(port, "/healthz")[0] == 200
    process.send_signal(signal.SIGINT)
    process.wait(60)
    client.close()
    assert "Exception in ASGI application" not in errors()


def test_whether_the_server_lives_is_answered_while_every_thread_searches(own_server):
    port, _, _ = own_server(SERVER.replace("folder =", f"{SLOW_SEARCH}folder ="))
    clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(8)]
    for client in clients:
        client.sendall(b"GET /api/search?q=files HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    time.sleep(0.5)
    begun = time.monotonic()
    assert ask(port, "/healthz")[0] == 200
    assert time.monotonic() - begun < 1.5
    for client in clients:
        client.close()


@pytest.mark.slow
@pytest.mark.parametrize("connections", [32, 128])
def test_many_at_once(server, connections):
    port, _, errors = server
    times = load(port, connections, 10)
    p50, p99, worst = *np.percentile(times, [50, 99]), times.max()
    print(f"\n{connections} connections: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms")
    assert worst < 20 * p50 + 1000
    assert "Traceback" not in errors()
