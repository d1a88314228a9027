"""SQL on a server, over PyMySQL, in a thread; the one place that turns PyMySQL's errors into ours.

`ask(address, question)` connects, runs the question (a plain function of a `Session`) in
a thread, and disconnects: control questions are rare, so no connection is kept that
could be half dead. Each single answer has a deadline, which is the socket's
timeout. A cancelled `ask` cuts the socket, so that no thread is left waiting behind.

Server quirks:

* 2013 stands for "lost", "no answer in time" and "TLS failed"; 2003 carries what the
  operating system said. Verification failures are told from outages by their text.
* A user without any privilege on a table gets 1142 for it, there or not.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import pymysql
from pymysql.cursors import DictCursor

from cdc.errors import SourceAccessDenied, SourceError, SourceUnavailable
from cdc.mysql.address import ServerAddress

T = TypeVar("T")

DENIED = frozenset({1044, 1045, 1130, 1142, 1143, 1227, 1251, 1370, 1698, 1820, 1862, 2059, 3118, 3159})
"""Login, host, grants, expired password, locked account, authentication plug-in, TLS demanded."""
LOST = frozenset({1040, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1203, 1317, 1927, 2002, 2003, 2006, 2013, 2055, 3169})
"""Too many connections, shutdown, killed, network, gone away."""

ANSWER_TIMEOUT = 30.0
"""Seconds that one answer may take; the questions asked here need milliseconds."""


class Session:
    """A connection that answers questions; blocking, for use in a thread."""

    def __init__(self, address: ServerAddress, connection: pymysql.Connection[Any]) -> None:
        self.address = address
        self._connection = connection

    def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        """All rows of a query, by column name as the server spells it."""
        try:
            with self._connection.cursor(DictCursor) as cursor:
                cursor.execute(sql, arguments or None)
                return list(cursor.fetchall())
        except (pymysql.MySQLError, OSError) as error:
            raise mapped(error, self.address) from error

    def first(self, sql: str, *arguments: object) -> dict[str, Any] | None:
        """The first row, None where there is none."""
        found = self.rows(sql, *arguments)
        return found[0] if found else None

    def value(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, None where there is none."""
        found = self.first(sql, *arguments)
        return next(iter(found.values())) if found else None

    def attempt(self, sql: str, *arguments: object) -> list[dict[str, Any]] | None:
        """Rows, or None where the server refuses the question (older, newer, or no grant for it)."""
        try:
            return self.rows(sql, *arguments)
        except SourceUnavailable:
            raise
        except SourceError:
            return None

    def variables(self, *names: str) -> dict[str, str]:
        """Global variables by name in lower case; one the server does not know is left out."""
        marks = ", ".join(["%s"] * len(names))
        found = self.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", *names)  # marks are ours
        return {row["Variable_name"].lower(): row["Value"] for row in found}

    def account(self) -> str:
        """The account we are, quoted for a GRANT."""
        user, _, host = str(self.value("SELECT CURRENT_USER()")).rpartition("@")
        return f"'{user}'@'{host}'"


def connect(address: ServerAddress, **more: Any) -> pymysql.Connection[Any]:
    """Log in, or raise one of our errors. Blocking."""
    try:
        connection: pymysql.Connection[Any] = pymysql.connect(**address.connect_arguments(), **more)
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise mapped(error, address) from error
    refuse_plain(connection, address)
    return connection


def refuse_plain(connection: pymysql.Connection[Any], address: ServerAddress) -> None:
    """Older PyMySQL goes on without TLS where the server offers none; we do not."""
    if address.demands_tls and not isinstance(socket_of(connection), ssl.SSLSocket):
        connection.close()
        raise SourceAccessDenied(
            f"{address} offers no TLS, and this source demands it",
            hint="set ssl_ca, ssl_cert and ssl_key on the server, or take `tls` out of the source",
        )


def socket_of(connection: pymysql.Connection[Any]) -> socket.socket:
    """PyMySQL's socket (a private name; tested)."""
    sock: socket.socket = connection._sock  # type: ignore[attr-defined]  # noqa: SLF001
    return sock


async def ask(address: ServerAddress, question: Callable[[Session], T]) -> T:
    """Connect, run the question in a thread, disconnect. May be cancelled."""
    opened: list[pymysql.Connection[Any]] = []
    cancelled = False

    def work() -> T:
        connection = connect(address, read_timeout=ANSWER_TIMEOUT, write_timeout=ANSWER_TIMEOUT)
        opened.append(connection)
        try:
            if cancelled:
                raise SourceUnavailable(f"the question to {address} was cancelled")
            return question(Session(address, connection))
        finally:
            connection.close()

    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancelled = True
        for connection in opened:
            cut(connection)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def cut(connection: pymysql.Connection[Any]) -> None:
    """End a connection that another thread may be waiting on: that thread sees end of file."""
    try:
        sock = socket_of(connection)
        if sock is not None:
            # the plain socket's own: SSLSocket.shutdown would take the TLS state from under the reader
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except (OSError, AttributeError):
        pass  # gone already


def mapped(error: BaseException, address: ServerAddress) -> SourceError:
    """PyMySQL's and the system's errors as ours. The texts hold user names, never passwords."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if isinstance(error, pymysql.MySQLError) and len(error.args) > 1 else str(error)
    who = f"{address.user!r} at {address}"
    if "CERTIFICATE" in text or "certificate" in text or "SSL is required" in text:
        return SourceAccessDenied(
            f"no trusted TLS connection to {address}: {text}",
            hint="tls.ca must hold the server's CA; tls.verify: ca skips the host name, for certificates without one",
        )
    if "cryptography" in text and isinstance(error, RuntimeError):
        return SourceAccessDenied(
            f"{who} logs in with caching_sha2_password over a plain connection, which needs the package cryptography",
            hint="pip install 'outbox-cdc[tailer]', or set tls.ca for the source",
        )
    if code in DENIED:
        return SourceAccessDenied(f"{who} was refused: {text} ({code})", hint=_denied_hint(code))
    if code in LOST or isinstance(error, OSError):
        return SourceUnavailable(
            f"{address} does not answer: {text} ({code or type(error).__name__})",
            hint=f"is the server up, and reachable from here? try: mysql -h {address.host} -P {address.port}",
        )
    return SourceError(f"{address} says: {text} ({code or type(error).__name__})", hint="see the server's error log")


def _denied_hint(code: int) -> str:
    if code in {1142, 1143, 1227, 1044, 1370}:
        return "least grants: REPLICATION SLAVE, REPLICATION CLIENT ON *.*, and SELECT on the outbox tables"
    if code == 3159:  # noqa: PLR2004 - the server wants TLS
        return "the server takes only encrypted connections: set tls.ca for the source"
    return "check user and password of the source (password, password_file or CDC_SOURCES__<NAME>__PASSWORD)"
