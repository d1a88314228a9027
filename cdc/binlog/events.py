"""What the events of a binary log are called, and how their fixed parts read. Pure functions of bytes.

An event is 19 bytes of header (time, type, server id, size, end position, flags), a body,
and four bytes of CRC32 where the file's FORMAT_DESCRIPTION says so. The bodies here come
without header and checksum. Rows, table maps and compressed bodies have modules of their own.

To change it, know: types up to 42 are MySQL's (MariaDB shares those up to 38), 160 to 171
are MariaDB's. `KINDS` decides what the feed does with each; a type that is in no row of
it stops the reader unless the server marked the event as ignorable.
"""

from __future__ import annotations

import struct
import uuid
from typing import NamedTuple

HEADER = 19
"""Bytes of an event's header."""
CRC_RESIDUE = 0x2144DF1C
"""CRC32 of any bytes followed by their own CRC32 (little endian)."""
IN_USE, ARTIFICIAL, IGNORABLE = 0x1, 0x20, 0x80

QUERY, STOP, ROTATE, FORMAT_DESCRIPTION, XID = 2, 3, 4, 15, 16
EXECUTE_LOAD_QUERY, TABLE_MAP, INCIDENT, HEARTBEAT = 18, 19, 26, 27
WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1 = 23, 24, 25
WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS = 30, 31, 32
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, XA_PREPARE, PARTIAL_UPDATE_ROWS = 33, 34, 35, 38, 39
TRANSACTION_PAYLOAD, HEARTBEAT_V2, GTID_TAGGED = 40, 41, 42
MARIADB_GTID, GTID_LIST, START_ENCRYPTION, QUERY_COMPRESSED = 162, 163, 164, 165
WRITE_ROWS_COMPRESSED_V1, WRITE_ROWS_COMPRESSED = 166, 169
UPDATE_ROWS_COMPRESSED_V1, UPDATE_ROWS_COMPRESSED = 167, 170
DELETE_ROWS_COMPRESSED_V1, DELETE_ROWS_COMPRESSED = 168, 171

NAMES = {
    QUERY: "QUERY",
    STOP: "STOP",
    ROTATE: "ROTATE",
    5: "INTVAR",
    9: "APPEND_BLOCK",
    11: "DELETE_FILE",
    13: "RAND",
    14: "USER_VAR",
    FORMAT_DESCRIPTION: "FORMAT_DESCRIPTION",
    XID: "XID",
    17: "BEGIN_LOAD_QUERY",
    EXECUTE_LOAD_QUERY: "EXECUTE_LOAD_QUERY",
    TABLE_MAP: "TABLE_MAP",
    20: "PRE_GA_WRITE_ROWS",
    21: "PRE_GA_UPDATE_ROWS",
    22: "PRE_GA_DELETE_ROWS",
    WRITE_ROWS_V1: "WRITE_ROWS_V1",
    UPDATE_ROWS_V1: "UPDATE_ROWS_V1",
    DELETE_ROWS_V1: "DELETE_ROWS_V1",
    INCIDENT: "INCIDENT",
    HEARTBEAT: "HEARTBEAT",
    28: "IGNORABLE",
    29: "ROWS_QUERY",
    WRITE_ROWS: "WRITE_ROWS",
    UPDATE_ROWS: "UPDATE_ROWS",
    DELETE_ROWS: "DELETE_ROWS",
    GTID: "GTID",
    ANONYMOUS_GTID: "ANONYMOUS_GTID",
    PREVIOUS_GTIDS: "PREVIOUS_GTIDS",
    36: "TRANSACTION_CONTEXT",
    37: "VIEW_CHANGE",
    XA_PREPARE: "XA_PREPARE",
    PARTIAL_UPDATE_ROWS: "PARTIAL_UPDATE_ROWS",
    TRANSACTION_PAYLOAD: "TRANSACTION_PAYLOAD",
    HEARTBEAT_V2: "HEARTBEAT_V2",
    GTID_TAGGED: "GTID_TAGGED",
    160: "ANNOTATE_ROWS",
    161: "BINLOG_CHECKPOINT",
    MARIADB_GTID: "MARIADB_GTID",
    GTID_LIST: "GTID_LIST",
    START_ENCRYPTION: "START_ENCRYPTION",
    QUERY_COMPRESSED: "QUERY_COMPRESSED",
    WRITE_ROWS_COMPRESSED_V1: "WRITE_ROWS_COMPRESSED_V1",
    UPDATE_ROWS_COMPRESSED_V1: "UPDATE_ROWS_COMPRESSED_V1",
    DELETE_ROWS_COMPRESSED_V1: "DELETE_ROWS_COMPRESSED_V1",
    WRITE_ROWS_COMPRESSED: "WRITE_ROWS_COMPRESSED",
    UPDATE_ROWS_COMPRESSED: "UPDATE_ROWS_COMPRESSED",
    DELETE_ROWS_COMPRESSED: "DELETE_ROWS_COMPRESSED",
}

PASS, MAP, WRITE, BEGIN, COMMIT, TEXT, OTHER = range(7)
"""What the feed does with an event: steps over it, or one of its branches; OTHER is everything rare."""

_PASSED = (STOP, 5, 9, 11, 13, 14, 17, 28, 29, 36, 37, 160, 161)
"""Hold no rows and end no transaction (5, 13, 14, 9, 11, 17 belong to a statement in text form, which stops)."""
_NOT_INSERTS = (21, 22, 24, 25, 31, 32, 39, 167, 168, 170, 171)
"""Updates and deletes: an outbox knows only INSERTs."""


def _kinds() -> tuple[int, ...]:
    kinds = [OTHER] * 256
    for number in _PASSED + _NOT_INSERTS:
        kinds[number] = PASS
    for number in (WRITE_ROWS_V1, WRITE_ROWS, WRITE_ROWS_COMPRESSED_V1, WRITE_ROWS_COMPRESSED):
        kinds[number] = WRITE
    for number in (GTID, ANONYMOUS_GTID, GTID_TAGGED, MARIADB_GTID):
        kinds[number] = BEGIN
    kinds[TABLE_MAP], kinds[XID], kinds[QUERY] = MAP, COMMIT, TEXT
    return tuple(kinds)


KINDS = _kinds()
DELETES = (DELETE_ROWS_V1, DELETE_ROWS, DELETE_ROWS_COMPRESSED_V1, DELETE_ROWS_COMPRESSED)
UPDATES_COMPRESSED = (UPDATE_ROWS_COMPRESSED_V1, UPDATE_ROWS_COMPRESSED)
UPDATES_WITH_EXTRA_DATA = (UPDATE_ROWS, PARTIAL_UPDATE_ROWS, UPDATE_ROWS_COMPRESSED)
UPDATES = (UPDATE_ROWS_V1, UPDATE_ROWS, PARTIAL_UPDATE_ROWS, *UPDATES_COMPRESSED)


def kinds(*, deletes: bool, updates: bool) -> tuple[int, ...]:
    """`KINDS`, for a reader that wants to know what was deleted or changed, too."""
    looked_at = (DELETES if deletes else ()) + (UPDATES if updates else ())
    return tuple(OTHER if number in looked_at else kind for number, kind in enumerate(KINDS))


_U16, _U32, _U64 = (struct.Struct(code).unpack_from for code in ("<H", "<I", "<Q"))
_LENENC = {252: 2, 253: 3, 254: 8}


def name_of(kind: int) -> str:
    """The type's name for messages: `WRITE_ROWS (30)`."""
    return f"{NAMES.get(kind, 'unknown')} ({kind})"


def lenenc(data: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer and the place behind it. Raises IndexError or ValueError."""
    first = data[at]
    if first < 251:  # noqa: PLR2004 - the format's own limit of the one-byte form
        return first, at + 1
    size = _LENENC.get(first)
    if size is None or at + 1 + size > len(data):
        raise ValueError("not a length-encoded integer")
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of MySQL's serialization library: as many one bits at the end of the first byte as bytes follow."""
    first, size = data[at], 1
    while size < 9 and first & 1:  # noqa: PLR2004 - nine bytes are the longest form
        first >>= 1
        size += 1
    if at + size > len(data):
        raise ValueError("not a variable-length integer")
    if size == 9:  # noqa: PLR2004
        return int.from_bytes(data[at + 1 : at + 9], "little"), at + 9
    return int.from_bytes(data[at : at + size], "little") >> size, at + size


class FormatDescription(NamedTuple):
    """How the events of a file are written."""

    server_version: str
    checksums: bool


def format_description(body: bytes) -> FormatDescription:
    """Read FORMAT_DESCRIPTION, the body still with its own checksum. Raises ValueError where we would fail."""
    if _U16(body, 0)[0] != 4 or body[56] != HEADER:  # noqa: PLR2004 - version 4 of the log, since 5.0
        raise ValueError(f"log format {_U16(body, 0)[0]} with headers of {body[56]} bytes")
    lengths = body[57:-5]
    for kind, length in ((TABLE_MAP, 8), (WRITE_ROWS_V1, 8), (WRITE_ROWS, 10), (QUERY, 13)):
        if len(lengths) >= kind and lengths[kind - 1] not in (length, 0):
            raise ValueError(f"{name_of(kind)} events with {lengths[kind - 1]} fixed bytes")
    algorithm = body[-5]
    if algorithm > 1:
        raise ValueError(f"checksum algorithm {algorithm}")
    version = body[2:52].rstrip(b"\0").decode("ascii", "replace")
    return FormatDescription(version, algorithm == 1)


def rotate(body: bytes) -> tuple[str, int]:
    """The next file and the position in it."""
    return body[8:].decode(), _U64(body, 0)[0]


class Query(NamedTuple):
    """A statement in text form, and the schemas it is said to touch."""

    text: bytes
    schemas: tuple[bytes, ...]


def query(body: bytes) -> Query:
    """Read QUERY (the body uncompressed)."""
    at = 13 + _U16(body, 11)[0]
    end = at + body[8]
    if end >= len(body) or body[end] != 0:
        raise ValueError("a QUERY event whose parts do not fit")
    return Query(body[end + 1 :], _updated_schemas(body[13:at]) or (body[at:end],))


_STATUS_SIZES = {
    0: 4,
    1: 8,
    3: 4,
    4: 6,
    7: 2,
    8: 2,
    9: 8,
    10: 4,
    13: 3,
    16: 1,
    17: 8,
    18: 2,
    19: 1,
    20: 1,
    128: 3,
    129: 8,
}
_UPDATED_SCHEMAS, _TOO_MANY = 12, 254


def _updated_schemas(status: bytes) -> tuple[bytes, ...]:
    """MySQL lists the schemas a statement touches among the status variables; () where it does not."""
    at = 0
    while at < len(status):
        code, at = status[at], at + 1
        if code == _UPDATED_SCHEMAS:
            count = status[at]
            names = status[at + 1 :].split(b"\0")[:count]
            return () if count == _TOO_MANY else tuple(names)
        if code in (2, 6):  # catalog
            at += status[at] + (2 if code == 2 else 1)  # noqa: PLR2004 - the old form ends with a zero
        elif code == 5:  # noqa: PLR2004 - time zone
            at += status[at] + 1
        elif code == 11:  # noqa: PLR2004 - invoker: user and host
            at += status[at] + 1
            at += status[at] + 1
        elif code in _STATUS_SIZES:
            at += _STATUS_SIZES[code]
        else:
            return ()
    return ()


class Xid(NamedTuple):
    """An XA transaction's name. Both servers tell them apart by `gtrid` and `bqual` only."""

    gtrid: bytes
    bqual: bytes
    format: int

    def __str__(self) -> str:
        return f"X'{self.gtrid.hex()}',X'{self.bqual.hex()}',{self.format}"


_MAX_XID_PART = 64


def xa_prepare(body: bytes) -> tuple[Xid, bool]:
    """The xid, and whether this is the commit of ONE PHASE."""
    form, gtrid, bqual = struct.unpack_from("<III", body, 1)
    if gtrid > _MAX_XID_PART or bqual > _MAX_XID_PART or 13 + gtrid + bqual > len(body):
        raise ValueError("an XA_PREPARE event whose parts do not fit")
    return Xid(body[13 : 13 + gtrid], body[13 + gtrid : 13 + gtrid + bqual], form), body[0] != 0


class Gtid(NamedTuple):
    """A MySQL GTID; `number` 0 for an anonymous transaction."""

    source: str
    tag: str
    number: int

    def __str__(self) -> str:
        return f"{self.source}:{self.tag}:{self.number}" if self.tag else f"{self.source}:{self.number}"


def gtid_tagged(body: bytes) -> Gtid:
    """Read GTID_TAGGED (42): fields by number, of which 1 is the UUID, 2 the number, 3 the tag."""
    at, source, number, tag = 0, b"", 0, ""
    for _ in range(3):  # format version, size, last field that must be known
        _, at = varint(body, at)
    while at < len(body) and not (source and number and tag):
        field, at = varint(body, at)
        if field == 1:
            parts = []
            for _ in range(16):
                part, at = varint(body, at)
                parts.append(part)
            source = bytes(parts)
        elif field == 2:  # noqa: PLR2004
            value, at = varint(body, at)
            number = value >> 1  # zigzag, never negative
        elif field == 3:  # noqa: PLR2004
            size, at = varint(body, at)
            tag, at = body[at : at + size].decode("ascii"), at + size
        elif field == 0:
            _, at = varint(body, at)
        else:
            break  # fields come in order
    if not source or number < 1:
        raise ValueError("a GTID_TAGGED event without a GTID")
    return Gtid(str(uuid.UUID(bytes=source)), tag, number)


def gtid_list(body: bytes) -> dict[int, tuple[int, int]]:
    """GTID_LIST: the last GTID of each domain before this file; (server id, sequence) by domain."""
    count = _U32(body, 0)[0] & 0xFFFFFFF
    if len(body) < 4 + 16 * count:
        raise ValueError("a GTID_LIST event whose parts do not fit")
    return {
        domain: (server, sequence)
        for domain, server, sequence in (struct.unpack_from("<IIQ", body, 4 + 16 * i) for i in range(count))
    }


def heartbeat_v2(body: bytes) -> tuple[str | None, int | None]:
    """HEARTBEAT_V2: file and 64-bit position, each None where it is not said."""
    file, position, at = None, None, 0
    while at < len(body):
        field, at = lenenc(body, at)
        if field == 0:
            break
        size, at = lenenc(body, at)
        value, at = body[at : at + size], at + size
        if field == 1:
            file = value.decode()
        elif field == 2:  # noqa: PLR2004
            position = lenenc(value, 0)[0]
    return file, position
