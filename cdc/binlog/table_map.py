"""TABLE_MAP: what the log says of a table right before its rows.

Only with `binlog_row_metadata=FULL` has it names, signs, character sets and the members
of ENUM and SET; the event itself tells, not the server's variable, which another session
may have switched since. Optional fields nobody knows are passed over by their length.

Column types are those of the log, which are not those of CREATE TABLE: CHAR, ENUM and
SET are all type 254 whose metadata holds the real type; JSON on MariaDB is a BLOB, its
UUID and INET types are BINARY.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdc.binlog.charsets import BINARY
from cdc.binlog.events import lenenc
from cdc.position import Flavour

TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24 = 1, 2, 3, 4, 5, 7, 8, 9
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT = 10, 11, 12, 13, 14, 15, 16
TIMESTAMP2, DATETIME2, TIME2, BLOB_COMPRESSED, VARCHAR_COMPRESSED = 17, 18, 19, 140, 141
VECTOR, JSON, NEWDECIMAL, ENUM, SET, BLOB, VAR_STRING, STRING, GEOMETRY = 242, 245, 246, 247, 248, 252, 253, 254, 255

INTEGERS = {TINY: 1, SHORT: 2, INT24: 3, LONG: 4, LONGLONG: 8}
_NUMERIC = frozenset((*INTEGERS, FLOAT, DOUBLE, NEWDECIMAL, YEAR))
_CHARACTER = frozenset((VARCHAR, VAR_STRING, STRING, BLOB, BLOB_COMPRESSED, VARCHAR_COMPRESSED, VECTOR))
_CHARACTER_MARIADB = _CHARACTER | {GEOMETRY}
_METADATA_BYTES = {
    **dict.fromkeys((FLOAT, DOUBLE, BLOB, BLOB_COMPRESSED, VECTOR, JSON, GEOMETRY, TIMESTAMP2, DATETIME2, TIME2), 1),
    **dict.fromkeys((VARCHAR, VARCHAR_COMPRESSED, BIT, NEWDECIMAL, ENUM, SET, VAR_STRING, STRING), 2),
    **dict.fromkeys((TINY, SHORT, LONG, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR, NEWDATE), 0),
}
_SIGNEDNESS, _DEFAULT_CHARSET, _COLUMN_CHARSET, _NAMES, _SET_MEMBERS, _ENUM_MEMBERS = 1, 2, 3, 4, 5, 6
_KEY, _KEY_OF_PREFIXES = 8, 9
_MEMBERS_DEFAULT_CHARSET, _MEMBERS_CHARSET = 10, 11


@dataclass(slots=True)
class LogColumn:
    """A column as the log has it. `a` and `b` are its metadata; what they mean depends on the type."""

    type: int
    a: int = 0
    b: int = 0
    name: str | None = None
    unsigned: bool = False
    collation: int | None = None
    members: tuple[bytes, ...] | None = None

    @property
    def length(self) -> int | None:
        """Declared length in bytes, of strings that have one."""
        return self.a if self.type in (VARCHAR, VAR_STRING, STRING, VARCHAR_COMPRESSED) else None


@dataclass(slots=True)
class TableMap:
    """A table's definition; `columns` in the table's order. Names are None without FULL metadata."""

    schema: str
    table: str
    columns: list[LogColumn]
    primary_key: tuple[int, ...] = ()
    """Which columns; those of a key of prefixes, too."""

    @property
    def has_names(self) -> bool:
        """Was it written with binlog_row_metadata=FULL?"""
        return all(column.name is not None for column in self.columns)


def key_of(schema: str, table: str) -> bytes:
    """The bytes at offset 8 of every TABLE_MAP body of this table, and of no other table's."""
    names = schema.encode(), table.encode()
    return b"".join(bytes([len(name)]) + name + b"\0" for name in names)


def parse(body: bytes, flavour: Flavour) -> TableMap:
    """Read a TABLE_MAP body. Raises ValueError or IndexError on bytes that are none."""
    schema, at = _name(body, 8)
    table, at = _name(body, at)
    count, at = lenenc(body, at)
    types, at = body[at : at + count], at + count
    size, at = lenenc(body, at)
    metadata, at = body[at : at + size], at + size + (count + 7) // 8  # behind it: which may be NULL
    if len(types) != count or at > len(body):
        raise ValueError("a TABLE_MAP that is cut off")
    found = TableMap(schema, table, _columns(types, metadata))
    fields: dict[int, bytes] = {}
    while at < len(body):
        size, start = lenenc(body, at + 1)
        if start + size > len(body):
            raise ValueError("a TABLE_MAP field that is cut off")
        fields[body[at]], at = body[start : start + size], start + size
    _describe(found.columns, fields, _CHARACTER_MARIADB if flavour == "mariadb" else _CHARACTER)
    found.primary_key = _numbers(fields.get(_KEY, b"")) or _numbers(fields.get(_KEY_OF_PREFIXES, b""))[::2]
    return found


def _name(body: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + body[at]
    if body[end] != 0:
        raise ValueError("a name without its end")
    return body[at + 1 : end].decode(), end + 1


def _columns(types: bytes, metadata: bytes) -> list[LogColumn]:
    columns: list[LogColumn] = []
    at = 0
    for kind in types:
        size = _METADATA_BYTES.get(kind)
        if size is None:
            raise ValueError(f"column {len(columns) + 1} is of type {kind}, which is not known")
        raw, at = metadata[at : at + size], at + size
        if len(raw) < size:
            raise ValueError("column metadata that is cut off")
        columns.append(_column(kind, raw))
    if at != len(metadata):
        raise ValueError("column metadata of another length")
    return columns


def _column(kind: int, raw: bytes) -> LogColumn:
    if kind == STRING:  # the real type, and two more bits of the length in inverted form
        if raw[0] & 0x30 != 0x30:  # noqa: PLR2004
            return LogColumn(raw[0] | 0x30, raw[1] | (raw[0] & 0x30 ^ 0x30) << 4)
        return LogColumn(raw[0], raw[1])
    if kind in (VARCHAR, VAR_STRING, VARCHAR_COMPRESSED):
        return LogColumn(kind, int.from_bytes(raw, "little"))
    return LogColumn(kind, *raw)


def _describe(columns: list[LogColumn], fields: dict[int, bytes], character: frozenset[int]) -> None:
    """Put the optional metadata where it belongs."""
    numeric = [c for c in columns if c.type in _NUMERIC]
    for column, sign in zip(numeric, _bits(fields.get(_SIGNEDNESS, b"")), strict=False):
        column.unsigned = sign
    text = [c for c in columns if c.type in character]
    _collations(text, fields.get(_DEFAULT_CHARSET), fields.get(_COLUMN_CHARSET))
    listed = [c for c in columns if c.type in (ENUM, SET)]
    _collations(listed, fields.get(_MEMBERS_DEFAULT_CHARSET), fields.get(_MEMBERS_CHARSET))
    for kind, field in ((ENUM, _ENUM_MEMBERS), (SET, _SET_MEMBERS)):
        if field in fields:
            _members([c for c in columns if c.type == kind], fields[field])
    if _NAMES in fields:
        at, names = 0, fields[_NAMES]
        for column in columns:
            size, at = lenenc(names, at)
            column.name, at = names[at : at + size].decode(), at + size
        if at != len(names):
            raise ValueError("column names for another number of columns")


def _numbers(data: bytes) -> tuple[int, ...]:
    out, at = [], 0
    while at < len(data):
        number, at = lenenc(data, at)
        out.append(number)
    return tuple(out)


def _bits(data: bytes) -> list[bool]:
    """Bits from the highest of each byte on."""
    return [bool(byte >> bit & 1) for byte in data for bit in range(7, -1, -1)]


def _collations(columns: list[LogColumn], default: bytes | None, each: bytes | None) -> None:
    """Either one for all with exceptions (default, then pairs of index and collation), or one for each."""
    if each is not None:
        at = 0
        for column in columns:
            column.collation, at = lenenc(each, at)
    elif default is not None:
        usual, at = lenenc(default, 0)
        for column in columns:
            column.collation = usual
        while at < len(default):
            index, at = lenenc(default, at)
            columns[index].collation, at = lenenc(default, at)


def _members(columns: list[LogColumn], data: bytes) -> None:
    at = 0
    for column in columns:
        count, at = lenenc(data, at)
        members = []
        for _ in range(min(count, len(data))):
            size, at = lenenc(data, at)
            members.append(data[at : at + size])
            at += size
        column.members = tuple(members)
    if at != len(data):
        raise ValueError("ENUM or SET members for another number of columns")


def is_binary(column: LogColumn) -> bool:
    """Bytes, not text."""
    return column.collation == BINARY
