"""A small search server of the standard library: the page at `/`, JSON at `/api/search?q=...&k=...`.

It listens on 127.0.0.1 unless told otherwise and answers to no other host name there, so that a page elsewhere
cannot read it through the browser.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twotower.core.errors import UserError
from twotower.search.engine import SearchEngine
from twotower.search.page import notice_html, page, results_html

log = logging.getLogger(__name__)

MOST_HITS = 1000
LONGEST_QUERY = 10_000
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class SearchServer(ThreadingHTTPServer):
    """The server with the engine it asks.

    Args:
        engine: answers the queries.
        host: address to listen on.
        port: port; 0 takes a free one.
        title: heading of the page.

    Raises:
        UserError: when it cannot listen there.
    """

    daemon_threads = True

    def __init__(
        self, engine: SearchEngine, *, host: str = "127.0.0.1", port: int = 8080, title: str = "twotower"
    ) -> None:
        self.engine, self.host, self.title = engine, host, title
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UserError(
                f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose another --port."
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.host}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: SearchServer
    server_version = "twotower"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._expected_host():
            return self._send(
                HTTPStatus.FORBIDDEN, "text/plain", "This server answers to 127.0.0.1 and localhost only.\n"
            )
        parts = urlsplit(self.path)
        try:
            parameters = parse_qs(parts.query, max_num_fields=20)
            query, k = _parameters(parameters)
            if parts.path == "/":
                self._page(query, k)
            elif parts.path == "/api/search":
                answer = self.server.engine.search(query, k).to_dict()
                self._send(HTTPStatus.OK, "application/json", json.dumps(answer, ensure_ascii=False))
            else:
                self._send(
                    HTTPStatus.NOT_FOUND, "text/plain", "Not here. The page is / and the API /api/search?q=...&k=...\n"
                )
        except (UserError, ValueError) as error:
            self._refuse(parts.path, str(error))
        return None

    def _page(self, query: str, k: int) -> None:
        body = ""
        if query.strip():
            engine = self.server.engine
            body = results_html(engine.search(query, k), engine.model.tokenizer.token_spans)
        self._send(HTTPStatus.OK, "text/html", self._whole(query, k, body))

    def _whole(self, query: str, k: int, body: str) -> str:
        facts = self.server.engine.manifest
        about = f"{facts['count']:,} documents · {facts['name']}"
        return page(name=self.server.title, about=about, query=query, k=k, body=body)

    def _refuse(self, path: str, message: str) -> None:
        if path == "/":
            self._send(HTTPStatus.BAD_REQUEST, "text/html", self._whole("", 10, notice_html(message)))
        else:
            self._send(HTTPStatus.BAD_REQUEST, "application/json", json.dumps({"error": message}, ensure_ascii=False))

    def _expected_host(self) -> bool:
        if self.server.host not in ("127.0.0.1", "localhost", "::1"):
            return True
        name = self.headers.get("Host", "")
        return (name.rpartition(":")[0] if not name.endswith("]") and ":" in name else name) in LOCAL_NAMES

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        data = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _parameters(given: dict[str, list[str]]) -> tuple[str, int]:
    query, number = given.get("q", [""])[0], given.get("k", ["10"])[0]
    if len(query) > LONGEST_QUERY:
        raise UserError(f"The query has {len(query)} characters; at most {LONGEST_QUERY} are read.")
    if not number.isascii() or not number.isdigit() or not 1 <= int(number[:9]) <= MOST_HITS:
        raise UserError(f"k={number[:20]}: give a whole number from 1 to {MOST_HITS}.")
    return query, int(number)


def serve(
    engine: SearchEngine,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    title: str = "twotower",
    started: Callable[[str], None] | None = None,
) -> None:
    """Serves the page until Ctrl-C.

    Args:
        engine: answers the queries.
        host: address to listen on.
        port: port; 0 takes a free one.
        title: heading of the page.
        started: called with the page's address once it is there.
    """
    with SearchServer(engine, host=host, port=port, title=title) as server:
        if started:
            started(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("stopped")
