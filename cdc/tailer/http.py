"""The service seen from outside: /livez, /readyz, /metrics, /status and a page for people.

Everything is read from the `Status` objects when it is asked for; no request reaches a database or
Kafka, and nothing here shows payloads, keys, headers' values or secrets. Read-only, without a
login, hence loopback by default.

`serve` is a context: the server is up before the sources start and ends after them, so that
a probe always finds somebody. /livez says only that the event loop turns.
"""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import web

from cdc import __version__
from cdc.errors import ConfigError
from cdc.tailer.metrics import Metrics
from cdc.tailer.page import page
from cdc.tailer.status import READY, WORST_FIRST, Status

_log = structlog.get_logger()

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
_STOPPING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """This process and its sources."""

    instance: str
    statuses: Sequence[Status]
    started_at: float = field(default_factory=time.time)

    def state(self) -> str:
        """The worst state of all."""
        states = {status.state for status in self.statuses}
        return next(state for state in WORST_FIRST if state in states)

    def as_data(self) -> dict[str, Any]:
        """What /status says."""
        state = self.state()
        return {
            "version": __version__,
            "instance": self.instance,
            "state": state,
            "ready": state == READY,
            "started_at": datetime.fromtimestamp(self.started_at, UTC).isoformat(timespec="seconds"),
            "uptime_seconds": round(time.time() - self.started_at, 1),
            "sources": {status.name: status.as_data() for status in self.statuses},
        }


@asynccontextmanager
async def serve(
    service: Service, address: tuple[str, int] | None, *, gives_way: bool = False
) -> AsyncIterator[str | None]:
    """Listen while the block runs, and hand out the URL. Raises ConfigError where that address cannot be had.

    `gives_way`: where only the port is in use, any free one is taken instead, with a warning.
    """
    if address is None:
        yield None
        return
    runner = web.AppRunner(application(service), access_log=None, shutdown_timeout=_STOPPING_SECONDS)
    await runner.setup()
    try:
        host, port = address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            if not (gives_way and error.errno == errno.EADDRINUSE):
                raise _refused(host, port, error) from error
            _log.warning("the default port is in use; taking a free one. http.listen fixes it", port=port)
            await web.TCPSite(runner, host, 0).start()
        url = _url(host, runner.addresses[0][1])
        _log.info("listening for health checks and metrics", url=url)
        yield url
    finally:
        await runner.cleanup()


def application(service: Service) -> web.Application:
    """The routes."""
    metrics = Metrics(service.statuses)

    async def livez(_: web.Request) -> web.Response:
        return _answer("ok\n")

    async def readyz(_: web.Request) -> web.Response:
        state = service.state()
        word = "ready" if state == READY else state
        lines = [word, *(f"{status.name}: {status.state}" for status in service.statuses)]
        return _answer("\n".join(lines) + "\n", status=200 if state == READY else 503)

    async def measured(request: web.Request) -> web.Response:
        body, content_type = metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    async def status(_: web.Request) -> web.Response:
        body = orjson.dumps(service.as_data(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=body, content_type="application/json", headers=_HEADERS)

    async def front(_: web.Request) -> web.Response:
        return web.Response(text=page(service.as_data()), content_type="text/html", headers=_HEADERS)

    app = web.Application()
    app.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/metrics", measured),
            web.get("/status", status),
            web.get("/", front),
        ]
    )
    return app


def _answer(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, headers=_HEADERS)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError) -> ConfigError:
    where = _url(host, port).removeprefix("http://")
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"http.listen: {where} is in use by another process",
            hint="another tailer on this machine? Give this one another port (http.listen or CDC_HTTP__LISTEN), "
            "port 0 for any that is free, or off",
        )
    return ConfigError(
        f"http.listen: cannot listen on {where}: {error.strerror or error}",
        hint="http.listen must be an address of this machine and a port this user may open, or off",
    )
