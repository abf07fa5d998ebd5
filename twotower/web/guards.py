"""What stands between the network and the pages: host names, headers, lengths, and how often one address may ask."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
LONGEST_ADDRESS = 16_384
PER_SECOND, BURST = 200.0, 400.0
"""Requests one address may send: so many a second on average, so many at once. A person's typing stays far below."""
REMEMBERED = 1024


class Rate:
    """How often each address may ask: a bucket of tokens per address, the longest silent ones forgotten first.

    Args:
        per_second: tokens an address gains a second.
        burst: the most it can hold.
        clock: seconds that only grow.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Takes one token from an address; False when it has none."""
        now = self.clock()
        tokens, before = self._buckets.pop(address, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.per_second)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed


def guard(app: FastAPI, *, host: str, rate: Rate | None = None) -> None:
    """Puts the checks before every page of an app and the headers on every answer.

    Args:
        app: the app.
        host: the address it listens on; on a local one only local names are answered, so that a page elsewhere cannot
            point its own name at this server and read it through the browser.
        rate: how often an address may ask.
    """
    app.add_middleware(Guard, host=host, rate=rate or Rate(PER_SECOND, BURST))


class Guard:
    """The checks before a page and the headers after it, as plain ASGI: what it passes on is not copied.

    Args:
        app: what answers.
        host: the address the server listens on.
        rate: how often an address may ask.
    """

    def __init__(self, app: ASGIApp, *, host: str, rate: Rate) -> None:
        self.app, self.host, self.rate = app, host, rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = _refusal(Request(scope), self.host, self.rate) or self.app
        await answer(scope, receive, with_headers)


def _refusal(request: Request, host: str, rate: Rate) -> Response | None:
    if host in LOCAL and _name(request.headers.get("host", "")) not in LOCAL:
        return PlainTextResponse("This server answers to 127.0.0.1 and localhost only.\n", 403)
    if len(request.url.path) + len(request.url.query) > LONGEST_ADDRESS:
        return PlainTextResponse("This address is too long.\n", 414)
    if not rate.allows(request.client.host if request.client else ""):
        return PlainTextResponse("Too many requests; wait a second.\n", 429, {"Retry-After": "1"})
    return None


def _name(host: str) -> str:
    """Returns the name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
