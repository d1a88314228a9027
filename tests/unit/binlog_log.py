"""Builds logs event by event, as a server writes them: sizes, end positions and checksums in order.

Columns of the outbox here: `id` INT, `name` VARCHAR(20) utf8mb4, `data` BLOB.
"""

from __future__ import annotations

import struct
import zlib

from cdc.binlog import events
from cdc.model import TableSpec

TABLE = TableSpec("shop", "outbox")
SERVER_ID = 7
SOURCE = bytes(range(16))
SOURCE_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
LENGTHS = {events.QUERY: 13, events.TABLE_MAP: 8, events.WRITE_ROWS_V1: 8, events.WRITE_ROWS: 10}


class Log:
    """The bytes of one file from byte 4 on, growing."""

    def __init__(self, flavour: str = "mysql", *, checksums: bool = True, begin: int = 4) -> None:
        self.flavour, self.checksums = flavour, checksums
        self.events: list[bytes] = []
        self.at = begin
        self.sequence = 0

    @property
    def raw(self) -> bytes:
        return b"".join(self.events)

    def packets(self) -> bytes:
        return b"".join((len(e) + 1).to_bytes(3, "little") + b"\x01\0" + e for e in self.events)

    def event(
        self, kind: int, body: bytes, *, time: int = 1000, flags: int = 0, made_up: bool = False, end: int | None = None
    ) -> Log:
        size = 19 + len(body) + 4 * self.checksums
        if not made_up:
            self.at += size
        ends = 0 if made_up else self.at & 0xFFFFFFFF
        self.events.append(seal(kind, body, time, ends if end is None else end, flags, checksums=self.checksums))
        return self

    def format(self, *, time: int = 900, made_up: bool = False) -> Log:
        lengths = bytes(LENGTHS.get(kind, 0) for kind in range(1, 43))
        version = (b"9.7.4" if self.flavour == "mysql" else b"11.8.6-MariaDB").ljust(50, b"\0")
        body = struct.pack("<H", 4) + version + struct.pack("<IB", 0, 19) + lengths + bytes([self.checksums])
        if not made_up:
            self.at += 19 + len(body) + 4
        ends = 0 if made_up else self.at
        self.events.append(seal(events.FORMAT_DESCRIPTION, body, time, ends, 0, checksums=True))
        return self

    def gtid(
        self,
        number: int | None = None,
        *,
        source: bytes = SOURCE,
        flags: int = 0,
        domain: int = 0,
        server: int = SERVER_ID,
    ) -> Log:
        """Begin a group."""
        self.sequence = number or self.sequence + 1
        if self.flavour == "mysql":
            return self.event(events.GTID, b"\0" + source + struct.pack("<q", self.sequence) + bytes(17))
        raw = struct.pack("<QIB", self.sequence, domain, flags) + bytes(6)
        self.event(events.MARIADB_GTID, raw)
        last = self.events.pop()
        self.events.append(reseal(last[:5] + struct.pack("<I", server) + last[9:], checksums=self.checksums))
        return self

    def anonymous(self) -> Log:
        return self.event(events.ANONYMOUS_GTID, bytes(42))

    def query(self, text: str | bytes, schema: bytes = b"", status: bytes = b"", *, time: int = 1000) -> Log:
        return self.event(events.QUERY, query_body(text, schema, status), time=time)

    def begin(self) -> Log:
        return self.query("BEGIN") if self.flavour == "mysql" else self

    def table(self, schema: str = "shop", name: str = "outbox", number: int = 70, names: bool = True) -> Log:
        return self.event(events.TABLE_MAP, table_body(schema, name, number, names=names))

    def rows(self, *ids: int, number: int = 70, kind: int | None = None) -> Log:
        return self.event(*rows_body(ids, number, kind or (30 if self.flavour == "mysql" else 23)))

    def xid(self, time: int = 1000) -> Log:
        return self.event(events.XID, bytes(8), time=time)

    def insert(self, *ids: int, time: int = 1000) -> Log:
        """A whole transaction."""
        return self.gtid().begin().table().rows(*ids).xid(time)

    def prepare(self, xid: str, *, one_phase: bool = False) -> Log:
        name = xid.encode()
        return self.event(events.XA_PREPARE, bytes([one_phase]) + struct.pack("<III", 1, len(name), 0) + name)

    def rotate(self, file: str, *, made_up: bool = False, position: int = 4) -> Log:
        body = struct.pack("<Q", position) + file.encode()
        return self.event(events.ROTATE, body, time=0 if made_up else 1000, made_up=made_up)


def seal(kind: int, body: bytes, time: int, ends: int, flags: int, *, checksums: bool) -> bytes:
    raw = struct.pack("<IBIIIH", time, kind, SERVER_ID, 19 + len(body) + 4 * checksums, ends, flags) + body
    return raw + struct.pack("<I", zlib.crc32(raw)) if checksums else raw


def reseal(raw: bytes, *, checksums: bool) -> bytes:
    return raw[:-4] + struct.pack("<I", zlib.crc32(raw[:-4])) if checksums else raw


def query_body(text: str | bytes, schema: bytes = b"", status: bytes = b"") -> bytes:
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<IIBHH", 1, 0, len(schema), 0, len(status)) + status + schema + b"\0" + text


def xid_text(name: str) -> str:
    return f"X'{name.encode().hex()}',X'',1"


def lenenc(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def table_body(schema: str, name: str, number: int, *, names: bool = True) -> bytes:
    out = number.to_bytes(6, "little") + b"\1\0"
    out += lenenc(schema.encode()) + b"\0" + lenenc(name.encode()) + b"\0"
    out += b"\x03" + bytes([3, 15, 252]) + lenenc(struct.pack("<HB", 80, 2)) + b"\x06"
    out += b"\x01" + lenenc(b"\0") + b"\x03" + lenenc(b"\x2d\x3f")
    return out + (b"\x04" + lenenc(b"".join(lenenc(n) for n in (b"id", b"name", b"data"))) if names else b"")


def rows_body(ids, number: int, kind: int) -> tuple[int, bytes]:
    out = number.to_bytes(6, "little") + b"\1\0" + (b"\2\0" if kind in (30, 31, 32) else b"") + b"\x03\x07"
    for i in ids:
        out += b"\x00" + struct.pack("<i", i) + lenenc(b"n%d" % i) + struct.pack("<H", 2) + b"\0\xff"
    return kind, out


def row_ids(transactions) -> list[list[int]]:
    return [[row.get("id") for row in t.rows] for t in transactions]
