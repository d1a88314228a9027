"""`FirstGroup`: the first transaction of a log, and in which of its events each of its rows came.

Debezium's offset inside a transaction is a count of log events and of rows in the last of them; so here they are
counted as it counts: every event behind BEGIN (MySQL) or behind the GTID event (MariaDB), those of other tables,
savepoints and ROWS_QUERY too; only MariaDB's ANNOTATE_ROWS not. Of a compressed transaction the inner ones count.

Two feeds read the same packets. One reads them as they are and knows places; the other gets a payload's inner
events one by one, each sealed with a checksum, and knows after which event a row was there. What a
ROLLBACK TO takes away is no row of either.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator, Sequence

from cdc.binlog import events
from cdc.binlog.feed import Feed
from cdc.binlog.inflate import opened
from cdc.binlog.packets import HEAD, WHOLE
from cdc.binlog.refusals import UnknownXaRows
from cdc.model import Row, SourceTransaction, TableSpec
from cdc.position import Flavour, Position

_ANNOTATE_ROWS = 160
_STATUS = 1
_SIZE = slice(9, 13)


class FirstGroup:
    """Takes packets until the first group is finished."""

    def __init__(
        self, flavour: Flavour, tables: Sequence[TableSpec], start: Position, *, allowed: Collection[str] = ()
    ) -> None:
        self._feed = Feed(flavour, tables, start, statements_allowed_in=allowed)
        self._counting = Feed(flavour, tables, start, statements_allowed_in=allowed)
        self._begins = flavour == "mysql"
        self._event = b""
        self._begun = False
        self.number = 0
        """Events counted."""
        self.came_in: list[int] = []
        """For each row the number of its event."""
        self.transaction: SourceTransaction | None = None
        """With the rows that were committed; None where there are none of ours."""
        self.finished = False

    @property
    def position(self) -> Position:
        """Behind the group when it is finished, before it until then."""
        return self._feed.position

    @property
    def begun(self) -> bool:
        """Has it begun?"""
        return self._begun

    def take(self, packet: bytes) -> bool:
        """One more packet, its head included; True when the group is finished. Raises what a Feed raises."""
        self._event += packet[HEAD:]
        if len(packet) == HEAD + WHOLE:
            self._into(self._feed, packet)
            return False  # the event goes on in the next packet
        event, self._event = self._event[_STATUS:], b""
        for done in self._into(self._feed, packet):
            self.transaction = done
        if len(event) >= events.HEADER:
            self._count_all(event)
        self.finished = self._begun and not self._feed.in_transaction
        return self.finished

    def rest(self, event: int, rows: int) -> list[Row]:
        """The rows behind the first `rows` ones of an event: what somebody who stood there has not sent."""
        if self.transaction is None:
            return []
        left, seen = [], 0
        for number, row in zip(self.came_in, self.transaction.rows, strict=True):
            seen += number == event
            if number > event or (number == event and seen > rows):
                left.append(row)
        return left

    def _count_all(self, event: bytes) -> None:
        kind = event[4]
        if events.KINDS[kind] == events.BEGIN:
            self._begun, self._begins = True, event[4] != events.MARIADB_GTID
        elif self._begun and kind == events.TRANSACTION_PAYLOAD:
            checked = zlib.crc32(event) == events.CRC_RESIDUE
            for inner in _inner(event[events.HEADER : -4 if checked else None], checksums=checked):
                self._count(inner)
            return
        elif self._begun:
            self._count(event)
            return
        self._into(self._counting, _framed(event))

    def _count(self, event: bytes) -> None:
        self._into(self._counting, _framed(event))
        if self._begins and event[4] == events.QUERY:
            self._begins = False  # BEGIN, or XA START
        elif event[4] != _ANNOTATE_ROWS:
            self.number += 1
        if self._counting.in_transaction:
            rows = self._counting.open_rows
            del self.came_in[rows:]
            self.came_in += [self.number] * (rows - len(self.came_in))

    def _into(self, feed: Feed, data: bytes) -> list[SourceTransaction]:
        while True:
            try:
                return feed.feed(data)
            except UnknownXaRows as unknown:
                feed.supply(unknown.xid, [])
                data = b""


def _inner(body: bytes, *, checksums: bool) -> Iterator[bytes]:
    """The events of a payload, as they would stand in the log."""
    data = b"".join(opened(body))
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at:][_SIZE], "little")
        event = bytearray(data[at : at + size])
        struct.pack_into("<I", event, _SIZE.start, size + 4 * checksums)
        struct.pack_into("<I", event, _SIZE.stop, 0)  # its end inside the payload is no place in the log
        yield bytes(event) + struct.pack("<I", zlib.crc32(event)) * checksums
        at += size


def _framed(event: bytes) -> bytes:
    """An event as packets."""
    data, out = b"\0" + event, b""
    while True:
        part, data = data[:WHOLE], data[WHOLE:]
        out += len(part).to_bytes(3, "little") + b"\0" + part
        if len(part) < WHOLE:
            return out
