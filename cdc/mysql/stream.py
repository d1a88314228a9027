"""The connection the log comes through: login, registration and dump request, by mysql-replication.

The library logs in, negotiates checksum, heartbeat and capability, registers us as a
replica, and sends COM_BINLOG_DUMP. Nothing else of it is used: what follows the request is
read from the socket and decoded by `cdc.binlog`, so its reconnects (which send rows
twice) and its event classes (which lose rows) never run. What is ours here:

* `init_command` sets what the library does not: a net_write_timeout that outlasts
  back-pressure, and that we understand checksums even where the server writes none
  now (files from before a switch have them).
* Resuming by GTID sends our own COM_BINLOG_DUMP_GTID in the place of the library's request:
  its GtidSet refuses tags. On MariaDB a GTID state goes into `@slave_connect_state`, before the library's
  request by file and position, which the server then ignores; the library's own GTID request declares 14 bytes
  and sends 15.
* Private names of the library and of PyMySQL that this relies on are listed in
  `PRIVATE_NAMES`, and a unit test says which one is gone after an upgrade.

Blocking, for use in a thread, but `opened`.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants.COMMAND import COM_BINLOG_DUMP
from pymysqlreplication import BinLogStreamReader

from cdc.errors import PositionLost, SourceError
from cdc.mysql.address import ServerAddress
from cdc.mysql.refusals import refusal
from cdc.mysql.session import DENIED, cut, mapped, refuse_plain, socket_of
from cdc.position import GtidSet

COM_BINLOG_DUMP_GTID = 0x1E
NON_BLOCK, THROUGH_GTID = 0x01, 0x04
FIRST_BYTE = 4
"""Where the first event of a file begins."""
NET_WRITE_TIMEOUT = 3600
LONGEST_POSITION = 0xFFFFFFFF

PRIVATE_NAMES = {
    "pymysqlreplication.BinLogStreamReader": ("_BinLogStreamReader__connect_to_stream", "_register_slave"),
    "pymysql.connections.Connection": ("_write_bytes", "_read_packet", "_force_close"),
}


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which part of the log we want. With `gtid_set` all that is not in it, else from file and position on."""

    file: str
    position: int
    server_id: int
    gtid_set: GtidSet | None = None
    connect_state: str | None = None
    """MariaDB: begin behind these GTIDs instead."""
    heartbeat: float = 5.0
    silence: float = 15.0
    until_end: bool = False
    """End the stream where the log ends now, instead of waiting for more."""


class LogStream:
    """An open dump: bytes as the server sends them."""

    def __init__(self, address: ServerAddress, connection: Any, silence: float) -> None:
        self.address = address
        self.silence = silence
        self._connection = connection
        self._socket = socket_of(connection)
        self._socket.settimeout(silence)

    def receive(self, most: int) -> bytes:
        """The next bytes, b"" at the end of the stream. TimeoutError after `silence` seconds without any."""
        return self._socket.recv(most)

    def cut(self) -> None:
        """End a `receive` under way in another thread."""
        cut(self._connection)

    def close(self) -> None:
        """Let go of the socket; no other thread may be in `receive`."""
        self._connection._force_close()  # noqa: SLF001 - close() would send COM_QUIT into a dump


class _DumpConnection(pymysql.connections.Connection):
    """Sends our own dump request where the library sends its one."""

    replacement: bytes | None = None

    def _write_bytes(self, data: bytes) -> None:
        if self.replacement is not None and len(data) > FIRST_BYTE and data[FIRST_BYTE] == COM_BINLOG_DUMP:
            data = self.replacement
        super()._write_bytes(data)  # type: ignore[misc]


def open_stream(address: ServerAddress, request: LogRequest, name: str = "cdc") -> LogStream:
    """Log in, register as replica `name`, ask for the log. Raises SourceError."""
    if request.gtid_set is None and request.position > LONGEST_POSITION:
        raise PositionLost(
            f"{request.file}:{request.position} at {address} is past 4 GiB, where no server can be asked to begin",
            hint="a transaction over 4 GiB ended there. The next file is a place to go on: cdc checkpoint set -c FILE "
            "--source NAME --to binlog.NUMBER:4",
        )
    connection: list[Any] = []

    def log_in(**settings: Any) -> _DumpConnection:
        made = _DumpConnection(**settings)
        connection.append(made)
        refuse_plain(made, address)
        made.replacement = None if request.gtid_set is None else dump_by_gtid(request, request.gtid_set)
        return made

    try:
        _reader(address, request, name, log_in)._BinLogStreamReader__connect_to_stream()  # noqa: SLF001
        return LogStream(address, connection[0], request.silence)
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        if not connection:
            raise mapped(error, address) from error
        connection[0]._force_close()  # noqa: SLF001 - nothing to say goodbye to
        raise _after_login(error, address, request) from error


def _after_login(error: Exception, address: ServerAddress, request: LogRequest) -> SourceError:
    """Registration is refused with 1045, as if the password were wrong; it is a grant that is missing."""
    if isinstance(error, pymysql.MySQLError) and error.args and error.args[0] in DENIED:
        return refusal(int(error.args[0]), str(error.args[-1]), address, f"{request.file}:{request.position}")
    return mapped(error, address)


async def opened(address: ServerAddress, request: LogRequest, name: str) -> LogStream:
    """`open_stream` in a thread; a stream that comes when we are cancelled already is closed."""
    future = asyncio.get_running_loop().run_in_executor(None, open_stream, address, request, name)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:

        def undone(done: asyncio.Future[LogStream]) -> None:
            if not done.cancelled() and done.exception() is None:
                done.result().close()

        future.add_done_callback(undone)
        raise


def _init_command(request: LogRequest) -> str:
    """One statement, for PyMySQL runs but one."""
    command = (
        f"SET SESSION net_write_timeout = {NET_WRITE_TIMEOUT}, "
        "@source_binlog_checksum = 'CRC32', @master_binlog_checksum = 'CRC32'"
    )
    if request.connect_state is not None:
        # our own numbers and dashes; strict mode would refuse a number that does not exist
        command += f", @slave_connect_state = '{request.connect_state}', @slave_gtid_strict_mode = 0"
    return command


def _reader(address: ServerAddress, request: LogRequest, name: str, log_in: Any) -> Any:
    settings = address.connect_arguments() | {
        "read_timeout": max(request.silence, 2 * request.heartbeat),
        "write_timeout": address.connect_timeout,
        "init_command": _init_command(request),
    }
    return BinLogStreamReader(
        connection_settings=settings,
        server_id=request.server_id,
        resume_stream=True,  # else it begins at byte 4 whatever the position
        blocking=not request.until_end,
        log_file=request.file,
        log_pos=FIRST_BYTE if request.gtid_set is not None else request.position,
        report_slave={"hostname": name[:60], "username": "", "password": "", "port": 0},
        slave_heartbeat=request.heartbeat,
        pymysql_wrapper=log_in,
        enable_logging=False,
    )


def dump_by_gtid(request: LogRequest, gtid_set: GtidSet) -> bytes:
    """COM_BINLOG_DUMP_GTID as a whole packet: flags, server id, no file name, position 4, the set."""
    encoded = gtid_set.encode()
    flags = THROUGH_GTID | (NON_BLOCK if request.until_end else 0)
    body = struct.pack("<BHIIQI", COM_BINLOG_DUMP_GTID, flags, request.server_id, 0, FIRST_BYTE, len(encoded)) + encoded
    return struct.pack("<I", len(body)) + body
