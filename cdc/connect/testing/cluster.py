"""The fake cluster as tests hold it: they steer it, watch what it was asked, and reach it in process or over HTTP."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any
from urllib.parse import parse_qs

from cdc.connect.testing.endpoints import Answered, Endpoints, Part, Refused, Request, put_offset
from cdc.connect.testing.plugins import PLUGINS, FakePlugin


class FakeConnect(Endpoints):
    """A cluster without connectors. Safe for threads."""

    def __init__(
        self,
        plugins: Sequence[FakePlugin] = PLUGINS,
        *,
        basic_auth: tuple[str, str] | None = None,
        bearer_token: str | None = None,
    ) -> None:
        super().__init__(plugins)
        self.requests: list[tuple[str, str, Any]] = []
        """Every request: method, path with query, body."""
        self._planned: deque[tuple[str, int, str | None]] = deque()
        self._lock = threading.Lock()
        self._authorization = {
            *([f"Basic {b64encode(':'.join(basic_auth).encode()).decode()}"] if basic_auth else []),
            *([f"Bearer {bearer_token}"] if bearer_token else []),
        }

    # what a test does to it

    def answer_next(self, status: int, message: str | None, *, times: int = 1, method: str = "") -> None:
        """Answer the next requests (of a method) with an error; message None sends no body, as a starting worker."""
        self._planned.extend([(method, status, message)] * times)

    def fail_connector(self, name: str, trace: str) -> None:
        """Let a connector's own part fail."""
        self._connectors[name].state = Part("FAILED", trace)

    def fail_task(self, name: str, task: int, trace: str) -> None:
        """Let a task fail."""
        self._connectors[name].tasks[task] = Part("FAILED", trace)

    def set_offset(self, name: str, partition: dict[str, Any], offset: dict[str, Any]) -> None:
        """Let a connector have come somewhere."""
        put_offset(self._connectors[name].offsets, partition, offset)

    def used_topics(self, name: str, *topics: str) -> None:
        """Let a connector have used topics."""
        self._connectors[name].topics.extend(topics)

    @contextmanager
    def serving(self, tls: SSLContext | None = None) -> Iterator[str]:
        """Answer over HTTP on a free port of this machine; the URL."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = fake.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    # what it answers

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request."""
        given = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            try:
                status, more, content = self._answer(method, target, given, body)
            except Refused as error:
                status, more, content = error.status, {}, {"error_code": error.status, "message": str(error)}
        if content is None:
            return status, more, b""
        return status, {"Content-Type": "application/json", **more}, json.dumps(content).encode()

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answered:
        path, _, query = target.partition("?")
        if self._authorization and headers.get("authorization") not in self._authorization:
            raise Refused(401, "User cannot access the resource.")
        if headers.get("accept", "*/*").partition(",")[0] not in ("*/*", "application/json"):
            raise Refused(406, "HTTP 406 Not Acceptable")
        if "%2f" in path.lower() or "%252f" in path.lower():
            return 400, {}, None
        data = self._read(headers, body)
        self.requests.append((method, target, data))
        planned = next((one for one in self._planned if one[0] in ("", method)), None)
        if planned:
            self._planned.remove(planned)
            if planned[2] is None:
                return planned[1], {}, None
            raise Refused(planned[1], planned[2])
        return self.route(method, path, Request(parse_qs(query), data))

    def _read(self, headers: Mapping[str, str], body: bytes) -> Any:
        if not body:
            return None
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refused(415, "HTTP 415 Unsupported Media Type")
        try:
            return json.loads(body)
        except ValueError as error:
            raise Refused(500, f"Unexpected end-of-input within/between Object entries: {error}") from error
