"""Starts the web app and ends it with Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from twotower.core.errors import UserError
from twotower.search.engine import SearchEngine
from twotower.web.app import make_app
from twotower.web.impatient import ImpatientProtocol
from twotower.web.library import Library

MOST_CONNECTIONS = 512
"""Connections beyond which a new request is answered with 503 at once."""
BACKLOG = 1024
KEEP_ALIVE_SECONDS = 15


class _Server(uvicorn.Server):
    """Tells the address once it listens.

    Args:
        config: uvicorn's settings.
        ready: called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening, then says so."""
        await super().startup(sockets)
        if self._ready and self.started:
            self._ready()


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; port 0 takes a free one.

    Raises:
        UserError: when it cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot listen on {host}:{port}: {reason}. Choose another --port.") from error
    return opened


def serve(
    engine: SearchEngine,
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serves the pages until Ctrl-C.

    Args:
        engine: answers the queries of the run served.
        folder: that run's folder.
        host: address to listen on.
        port: port; 0 takes a free one.
        started: called with the first page's address once it is there.

    Raises:
        UserError: when it cannot listen there.
    """
    opened = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{opened.getsockname()[1]}/"
    server = make_server(engine, folder, host=host, ready=(lambda: started(url)) if started else None)
    messages = logging.getLogger("uvicorn.error")
    messages.setLevel(logging.WARNING)
    messages.addFilter(_worth_telling)
    server.run(sockets=[opened])


def _worth_telling(record: logging.LogRecord) -> bool:
    """Says whether a message is more than that a request was cut off by the end of the server."""
    cut_off = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut_off and not str(record.msg).startswith("Cancel %s running task")


def make_server(
    engine: SearchEngine, folder: Path, *, host: str, ready: Callable[[], None] | None = None
) -> uvicorn.Server:
    """Returns the server over the app, not yet listening."""
    config = uvicorn.Config(
        make_app(Library(folder, engine), host=host),
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=MOST_CONNECTIONS,
        http=ImpatientProtocol,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32_768,
    )
    return _Server(config, ready)
