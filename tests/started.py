"""Starts Python programs as fresh processes, without each of them importing torch and Lightning anew.

A process of its own, started by the first call, imports them once and forks for every program. Such a program has its
own arguments, folder, environment and output, and none of this test process's state. What is read from the environment
while torch is imported is as it was at the first call: a test of that starts Python itself.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "train.py")
_LOCK = threading.Lock()


def started(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs `python SCRIPT ...` or `python -m MODULE ...` to its end.

    Args:
        arguments: what follows `python`.
        cwd: the folder it starts in.
        environment: its environment; None for this process's own.
        timeout: seconds, after which it is killed.

    Raises:
        subprocess.TimeoutExpired: when it was killed for its time.
    """
    with tempfile.TemporaryDirectory() as folder, _LOCK:
        out, err = Path(folder) / "out", Path(folder) / "err"
        job = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment or os.environ)}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        print(json.dumps({**job, "out": str(out), "err": str(err), "timeout": timeout}), file=server.stdin, flush=True)
        answer = server.stdout.readline()
        code = json.loads(answer)
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    atexit.register(server.kill)
    return server


def _serve() -> None:
    sys.path.insert(1, str(ROOT))
    import twotower.cli.train
    import twotower.training.train  # noqa: F401  torch, Lightning and what a run needs of ours

    gc.freeze()  # the programs' collectors leave alone what is imported: half of a start otherwise
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _become(job)
        print(json.dumps(_wait(child, job["timeout"])), flush=True)


def _wait(child: int, timeout: float) -> int | None:
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        os.kill(child, 9)

    timer = threading.Timer(timeout, kill)
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    return None if killed.is_set() else os.waitstatus_to_exitcode(status)


def _become(job: dict[str, object]) -> None:
    """Runs the program in this process, which ends with it, or as Python does with what it does not catch."""
    for stream, path in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(str(job["cwd"]))
    os.environ.clear()
    os.environ.update(job["environment"])  # type: ignore[call-overload]
    arguments = list(job["arguments"])  # type: ignore[call-overload]
    module = arguments[0] == "-m"
    sys.argv = arguments[module:]
    first = os.getcwd() if module else str(Path(sys.argv[0]).parent)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [first, *paths]
    if module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    _serve()
