"""A short look into a file of the log: when it was begun, and which transaction ends at a place.

It is a dump of its own (with a server_id of its own, or the server would end the tailer's)
from the begin of that transaction to its end. Only headers and GTIDs are read: rows
are nothing here, and a transaction that the decoder refuses can still be recognised.

What a server sends first, on both: a made-up ROTATE (header time 0), then the file's
FORMAT_DESCRIPTION event, its end 0 where we begin inside the file, its header time always the
one it was written with. RESET makes new files, so that time tells them apart. Places are taken
from the events' ends, never summed up: MariaDB leaves out ANNOTATE_ROWS, and gives
events inside a transaction (11.8) the end 0.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cdc.binlog import events
from cdc.errors import SourceUnavailable
from cdc.mysql.refusals import refusal
from cdc.mysql.stream import FIRST_BYTE, LONGEST_POSITION, LogStream
from cdc.position import LastTransaction, Position

WHOLE = 0xFFFFFF
HEADER = struct.Struct("<IBIIIH")
_BEGINS = (events.GTID, events.GTID_TAGGED, events.ANONYMOUS_GTID, events.MARIADB_GTID)
_BETWEEN = (events.ROTATE, events.FORMAT_DESCRIPTION, events.PREVIOUS_GTIDS, events.STOP, events.HEARTBEAT)
LONGEST_CHECKED = 64 << 20
"""A longer transaction is not read again only to compare its end."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the log says: the file's begin (0: it said nothing), and the transaction before a place, if asked for."""

    created: int
    last: LastTransaction | None = None


@dataclass(frozen=True, slots=True)
class Met:
    """The first transaction that came of a domain, and where it is in this server's log."""

    gtid: str
    file: str
    created: int
    begin: int
    end: int
    commit_time: int


class _Head(NamedTuple):
    time: int
    kind: int
    server_id: int
    size: int
    end: int
    body: bytes
    raw: bytes


def can_see(position: Position) -> bool:
    """Can the last transaction before the position be read again at its place?"""
    last = position.last
    return (
        last is not None
        and 0 < last.length <= min(LONGEST_CHECKED, last.position - FIRST_BYTE)
        and last.position <= LONGEST_POSITION
    )


def begin_of(position: Position) -> int:
    """Where to begin to see the last transaction before the position; its file's begin where that cannot be."""
    return position.last.position - position.last.length if position.last and can_see(position) else FIRST_BYTE


def look(stream: LogStream, position: Position) -> Found:
    """Read what is needed from a stream that was opened at `begin_of(position)`. Blocking."""
    begin, last = begin_of(position), position.last if can_see(position) else None
    created, gtid, first = 0, None, True
    for head in _heads(stream, position):
        if head.kind == events.FORMAT_DESCRIPTION:
            created = head.time
            if last is None:
                break
        elif head.time and created and last is not None:
            if first and head.kind in _BEGINS:
                gtid, first = _gtid(head), False
            if head.end >= last.position:
                return Found(created, LastTransaction(gtid, head.end, head.time, head.end - begin))
    return Found(created)


def look_for(stream: LogStream, position: Position) -> Found:
    """Find the last transaction in a stream that was opened by a GTID set without it.

    Transactions that were open as XA PREPARE may come before it. Another server's log has
    other places, so place and length count as the expected ones.
    """
    last = position.last
    gtid, time = None, 0
    for head in _heads(stream, position):
        if head.kind in _BEGINS:
            if last is not None and gtid == last.gtid:
                break
            gtid = _gtid(head)
        if head.time and head.kind not in _BETWEEN:
            time = head.time
    if last is None or gtid != last.gtid:
        return Found(0)
    return Found(0, LastTransaction(gtid, last.position, time, last.length))


def meet(stream: LogStream, domain: int) -> Met | None:
    """The first transaction of a MariaDB domain in a stream that was opened by a connect state; None where none comes.

    Its end is that of its last event that says one: those inside a transaction (11.8) do not.
    """
    file, created, met, end, time = "", 0, None, 0, 0
    for head in _heads(stream, f"domain {domain}"):
        if met is not None and head.kind in (*_BEGINS, *_BETWEEN):
            break
        if head.kind == events.ROTATE:
            raw = head.raw[:-4] if zlib.crc32(head.raw) == events.CRC_RESIDUE else head.raw
            file = events.rotate(raw[events.HEADER :])[0]
        elif head.kind == events.FORMAT_DESCRIPTION:
            created = head.time
        elif head.kind == events.MARIADB_GTID:
            gtid = str(_gtid(head))
            if gtid.startswith(f"{domain}-"):
                met = gtid, file, created, head.end - head.size
        if met is not None and head.time and head.kind != events.GTID_LIST:  # made up, at any place
            end, time = max(end, head.end), head.time
    return None if met is None else Met(*met, end, time)


def _gtid(head: _Head) -> str | None:
    """The GTID of a transaction's first event; None where it has none."""
    if head.kind == events.MARIADB_GTID:
        number, domain = struct.unpack_from("<QI", head.body)
        return f"{domain}-{head.server_id}-{number}"
    if head.kind == events.GTID:
        (number,) = struct.unpack_from("<Q", head.body, 17)
        return f"{uuid.UUID(bytes=head.body[1:17])}:{number}"
    if head.kind == events.GTID_TAGGED:
        return str(events.gtid_tagged(head.body))
    return None


def _heads(stream: LogStream, position: object) -> Iterator[_Head]:
    """Event headers, and the first bytes behind them."""
    for packet, size in _packets(stream):
        if packet[0] == 0xFF:  # noqa: PLR2004 - ERR
            (code,) = struct.unpack_from("<H", packet, 1)
            raise refusal(code, packet[9:].decode("utf-8", "replace"), stream.address, position)
        if packet[0] == 0xFE and size < 9:  # noqa: PLR2004 - EOF
            return
        time, kind, server_id, length, end, _ = HEADER.unpack_from(packet, 1)
        yield _Head(time, kind, server_id, length, end, packet[20:], packet[1:size])


def _packets(stream: LogStream, keep: int = 256) -> Iterator[tuple[bytes, int]]:
    """The first bytes of each packet and its whole size; parts of one over 16 MiB are one."""
    data, at = b"", 0
    while True:
        first, size, more = b"", 0, True
        while more:
            while len(data) - at < 4:  # noqa: PLR2004 - a packet's head
                data, at = data[at:] + _more(stream), 0
            length = int.from_bytes(data[at : at + 3], "little")
            at += 4
            more = length == WHOLE
            size += length
            while length:
                if at == len(data):
                    data, at = _more(stream), 0
                part = min(length, len(data) - at)
                if len(first) < keep:
                    first += data[at : at + min(part, keep - len(first))]
                at += part
                length -= part
        yield first, size


def _more(stream: LogStream) -> bytes:
    try:
        data = stream.receive(1 << 17)
    except OSError as error:  # a timeout is one too
        raise SourceUnavailable(
            f"{stream.address} stopped sending its log ({error})", hint="reading goes on after a reconnect"
        ) from error
    if not data:
        raise SourceUnavailable(f"{stream.address} ended the log stream", hint="reading goes on after a reconnect")
    return data
