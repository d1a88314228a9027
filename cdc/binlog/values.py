"""Row images to Python values: writes one function per form of row, in source, and compiles it.

A form is a table's definition, which columns are in the image, and which of them are
NULL. The function takes (buffer, place behind the NULL bitmap) and returns (Row, place
behind the row): no loop over columns and no look-up of types per row, constant offsets
between fixed-size columns, nothing decoded that nobody wants. With `nulls=None` the
function takes the NULL bits as a third argument: slower, but one for all patterns.

A function reads whatever the bytes say: it may run past the event (then its returned place
is wrong, which the caller must check) or raise ValueError, KeyError, IndexError,
TypeError or struct.error. What comes out for which type is said in `cdc.model`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from cdc.binlog import temporal
from cdc.binlog.charsets import decoder, is_utf8
from cdc.binlog.compressed import column as decompress
from cdc.binlog.json_binary import text_of
from cdc.binlog.numbers import decimal, decimal_shape
from cdc.binlog.table_map import (
    BIT,
    BLOB,
    BLOB_COMPRESSED,
    DATE,
    DATETIME,
    DATETIME2,
    DOUBLE,
    ENUM,
    FLOAT,
    GEOMETRY,
    INT24,
    INTEGERS,
    JSON,
    LONGLONG,
    NEWDATE,
    NEWDECIMAL,
    SET,
    STRING,
    TIME,
    TIME2,
    TIMESTAMP,
    TIMESTAMP2,
    TINY,
    VAR_STRING,
    VARCHAR,
    VARCHAR_COMPRESSED,
    VECTOR,
    YEAR,
    LogColumn,
    is_binary,
)
from cdc.model import Row, TableSchema

Decode: TypeAlias = Callable[..., tuple[Row | None, int]]

FOREVER = {
    TIMESTAMP2: (b"\x7f\xff\xff\xff\x0f\x42\x3f", b"\xff\xff\xff\xff\x0f\x42\x3f"),
    LONGLONG: (b"\xff\xff\xff\xff\xff\xff\xff\xff",),
}
"""What row_end of a system-versioned MariaDB table is while the row lives (2038 before 11.5, then 2106)."""

_STRUCTS = {1: "b", 2: "h", 4: "i", 8: "q"}
_LONG_PREFIX = 255
_MOST_BLOB_BYTES, _MOST_BITS = 4, 64

_NAMESPACE: dict[str, Any] = {
    "Row": Row,
    "new": tuple.__new__,
    "number": int.from_bytes,
    "u16": struct.Struct("<H").unpack_from,
    "u32": struct.Struct("<I").unpack_from,
    "big64": struct.Struct(">Q").unpack_from,
    "known": temporal.seconds.get,
    "seconds": temporal.datetime2_seconds,
    "decimal": decimal,
    "json": text_of,
    "decompress": decompress,
    **{
        name: getattr(temporal, name)
        for name in ("datetime2", "timestamp2", "time2", "date", "year", "old_datetime", "old_time", "old_timestamp")
    },
}
_OLD_TIMES = {TIMESTAMP: (4, "old_timestamp"), TIME: (3, "old_time"), DATETIME: (8, "old_datetime")}
_NEW_TIMES = {TIMESTAMP2: (4, "timestamp2"), TIME2: (3, "time2"), DATETIME2: (5, "datetime2")}
_PREFIXED_BLOBS = frozenset((BLOB, BLOB_COMPRESSED, JSON, GEOMETRY, VECTOR))
_SQL_TYPES = {
    **dict(zip(INTEGERS, ("tinyint", "smallint", "mediumint", "int", "bigint"), strict=True)),
    **dict(zip((FLOAT, DOUBLE, NEWDECIMAL, BIT, YEAR), ("float", "double", "decimal", "bit", "year"), strict=True)),
    **dict.fromkeys((DATE, NEWDATE), "date"),
    **dict.fromkeys((TIME, TIME2), "time"),
    **dict.fromkeys((DATETIME, DATETIME2), "datetime"),
    **dict.fromkeys((TIMESTAMP, TIMESTAMP2), "timestamp"),
}


def kind_of(column: LogColumn) -> str:
    """The family that `model.Column.kind` names."""
    if column.type in INTEGERS or column.type in (BIT, YEAR):
        return "integer"
    if column.type in (FLOAT, DOUBLE):
        return "float"
    if column.type in (DATE, NEWDATE) or column.type in _OLD_TIMES or column.type in _NEW_TIMES:
        return "temporal"
    if column.type in (NEWDECIMAL, JSON):
        return "decimal" if column.type == NEWDECIMAL else "json"
    if column.type in (ENUM, SET):
        return "text"
    return "binary" if column.type in (GEOMETRY, VECTOR) or is_binary(column) else "text"


def sql_type(column: LogColumn) -> str:
    """What `model.Column.type` holds: the SQL type of a number or a time, empty for others."""
    name = _SQL_TYPES.get(column.type, "")
    if column.type == NEWDECIMAL:
        name += f"({column.a},{column.b})"
    elif column.type == BIT:
        name += f"({column.a + 8 * column.b})"
    elif column.type in _NEW_TIMES and column.a:
        name += f"({column.a})"
    return f"{name} unsigned" if column.unsigned and column.type in INTEGERS else name


def generate(
    columns: Sequence[LogColumn],
    wanted: Sequence[bool],
    schema: TableSchema,
    nulls: bytes | None,
    row_end: int | None = None,
) -> Decode:
    """Compile the decoder of one form.

    `columns` are those in the image, in order; `row_end` is the index of that column in a
    system-versioned table, whose history rows come out as None. Raises ValueError
    that names the column (a character set without decoder, metadata that cannot be).
    """
    writer = _Writer(dynamic=nulls is None)
    out: list[str] = []
    for i, column in enumerate(columns):
        name = f"v{i}" if wanted[i] else None
        if name:
            out.append(name)
        try:
            if nulls is None:
                writer.guarded(i, name, column, history=i == row_end)
            elif nulls[i >> 3] >> (i & 7) & 1:
                if name:
                    writer.add(f"{name} = None")
            else:
                writer.column(i, name, column, history=i == row_end)
        except (LookupError, ValueError) as error:
            raise ValueError(f"column {column.name}: {error}") from error
    writer.names["schema"] = schema
    values = "(" + "".join(f"{name}, " for name in out) + ")"
    row = f"new(Row, (schema, {values}))"
    if row_end is not None:
        row = f"None if history else {row}"
    writer.add(f"return ({row}), {writer.place()}")
    return writer.compile(row_end is not None)


class _Writer:
    """Lines of source. The next column begins `offset` bytes behind the place that the variable `base` holds.

    Every column of variable length makes a new such variable, so that no place is computed twice.
    """

    def __init__(self, *, dynamic: bool) -> None:
        self.names = dict(_NAMESPACE)
        self.lines: list[str] = []
        self.base, self.offset = "p", 0
        self.indent = " "
        self.dynamic = dynamic

    def add(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def place(self, more: int = 0) -> str:
        """The place `more` bytes behind the current column's begin."""
        return f"{self.base} + {self.offset + more}" if self.offset + more else self.base

    def cut(self, size: int) -> str:
        return f"buf[{self.place()}:{self.place(size)}]"

    def compile(self, history: bool) -> Decode:  # noqa: FBT001
        head = "def row(buf, p, nulls):" if self.dynamic else "def row(buf, p):"
        text = "\n".join([head, *([" history = False"] if history else []), *self.lines])
        exec(compile(text, "<row decoder>", "exec"), self.names)  # noqa: S102 - the point of this module; holds no foreign text
        made: Decode = self.names["row"]
        return made

    def guarded(self, i: int, name: str | None, column: LogColumn, *, history: bool) -> None:
        """A column that may be NULL or not, as a bit of `nulls` says; `p` is its begin and then its end."""
        self.add(f"if nulls >> {i} & 1: {name or '_'} = None")
        self.add("else:")
        self.indent = "  "
        self.column(i, name, column, history=history)
        self.add(f"p = {self.place()}")
        self.indent, self.base, self.offset = " ", "p", 0

    def column(self, i: int, name: str | None, column: LogColumn, *, history: bool) -> None:
        """One column that is not NULL; `name` None steps over it."""
        kind = column.type
        if history:
            size = len(FOREVER[kind][0])
            self.names["forever"] = FOREVER[kind]
            self.add(f"history = {self.cut(size)} not in forever")
        if kind in (VARCHAR, VAR_STRING, VARCHAR_COMPRESSED, STRING) or kind in _PREFIXED_BLOBS:
            self._prefixed(i, name, column)
        else:
            size, code = self._fixed(i, column)
            if name:
                for line in code:
                    self.add(line.replace("VALUE", name))
            self.offset += size

    def _fixed(self, i: int, column: LogColumn) -> tuple[int, list[str]]:
        """Bytes and source of a column whose size is known; VALUE stands for its variable."""
        kind = column.type
        if kind in INTEGERS:
            return INTEGERS[kind], [self._integer(i, column, INTEGERS[kind])]
        if kind in (FLOAT, DOUBLE):
            size = 4 if kind == FLOAT else 8
            return size, [self._struct(i, "<f" if kind == FLOAT else "<d")]
        if kind == NEWDECIMAL:
            size = decimal_shape(column.a, column.b)[2]
            return size, [f"VALUE = decimal({self.cut(size)}, {column.a}, {column.b})"]
        if kind == BIT:
            size = column.b + (column.a > 0)
            if not 0 < 8 * column.b + column.a <= _MOST_BITS:
                raise ValueError(f"BIT of {8 * column.b + column.a} bits")
            return size, [f"VALUE = number({self.cut(size)}, 'big')"]
        if kind in (ENUM, SET):
            return self._listed(i, column)
        return self._time(column)

    def _time(self, column: LogColumn) -> tuple[int, list[str]]:
        kind = column.type
        if kind == YEAR:
            return 1, [f"VALUE = year(buf[{self.place()}])"]
        if kind in (DATE, NEWDATE):
            return 3, [f"VALUE = date({self.cut(3)})"]
        if kind in _OLD_TIMES:
            size, function = _OLD_TIMES[kind]
            return size, [f"VALUE = {function}({self.cut(size)})"]
        if kind not in _NEW_TIMES:
            raise ValueError(f"column type {kind} is not known")
        size, function = _NEW_TIMES[kind]
        size += temporal.FRACTION_BYTES[column.a]
        if kind == DATETIME2 and column.a == 6:  # noqa: PLR2004 - DATETIME(6), the hot one: all in one number
            return size, [
                f"y, = big64(buf, {self.place()})",
                "f = y & 0xFFFFFF",
                "if f > 999999: raise ValueError('a fraction of more than a second')",
                "VALUE = (known(y >> 24) or seconds(y >> 24)) + '.%06d' % f",
            ]
        return size, [f"VALUE = {function}({self.cut(size)}, {column.a})"]

    def _integer(self, i: int, column: LogColumn, size: int) -> str:
        if column.type == TINY and column.unsigned:
            return f"VALUE = buf[{self.place()}]"
        if column.type == INT24:
            return f"VALUE = number({self.cut(3)}, 'little', signed={not column.unsigned})"
        code = _STRUCTS[size]
        return self._struct(i, "<" + (code.upper() if column.unsigned else code))

    def _struct(self, i: int, code: str) -> str:
        self.names[f"s{i}"] = struct.Struct(code).unpack_from
        return f"VALUE, = s{i}(buf, {self.place()})"

    def _listed(self, i: int, column: LogColumn) -> tuple[int, list[str]]:
        """ENUM: a number into its members, 0 the empty one. SET: a bit each."""
        size = column.a
        if not 1 <= size <= 8:  # noqa: PLR2004
            raise ValueError(f"an ENUM or SET of {size} bytes")
        if column.members is None or column.collation is None:
            raise LookupError("no members of its ENUM or SET in the log")
        decode = decoder(column.collation)
        members = tuple(decode(member) for member in column.members)
        if column.type == ENUM:
            self.names[f"m{i}"] = ("", *members)
            return size, [f"VALUE = m{i}[number({self.cut(size)}, 'little')]"]
        self.names[f"m{i}"] = _set_of(members)
        return size, [f"VALUE = m{i}(number({self.cut(size)}, 'little'))"]

    def _prefixed(self, i: int, name: str | None, column: LogColumn) -> None:
        """A length, then so many bytes."""
        size = column.a if column.type in _PREFIXED_BLOBS else 1 + (column.a > _LONG_PREFIX)
        if not 1 <= size <= _MOST_BLOB_BYTES:
            raise ValueError(f"a length of {size} bytes")
        if size == 1:
            length = f"buf[{self.place()}]"
        elif size == 3:  # noqa: PLR2004
            length = f"number({self.cut(3)}, 'little')"
        else:
            length = f"u{8 * size}(buf, {self.place()})[0]"
        begin, end = self.place(size), f"p{i}"
        self.add(f"{end} = {begin} + {length}")
        self.base, self.offset = end, 0
        if name:
            self.add(f"{name} = {self._bytes(i, column, f'buf[{begin}:{end}]')}")
            if column.type == STRING and is_binary(column):
                self.add(f"if {end} - ({begin}) != {column.a}: {name} = {name}.ljust({column.a}, b'\\0')")

    def _bytes(self, i: int, column: LogColumn, cut: str) -> str:
        """The expression for the value of the bytes that `cut` is."""
        if column.type in (BLOB_COMPRESSED, VARCHAR_COMPRESSED):
            cut = f"decompress({cut})"
        if column.type == JSON:
            return f"json({cut})"
        if column.type in (GEOMETRY, VECTOR) or is_binary(column):
            return cut
        if column.collation is None:
            raise LookupError("no character set of it in the log")
        if is_utf8(column.collation):
            return f"{cut}.decode()"
        self.names[f"d{i}"] = decoder(column.collation)
        return f"d{i}({cut})"


def _set_of(members: tuple[str, ...]) -> Callable[[int], str]:
    def text(bits: int) -> str:
        if bits >> len(members):
            raise ValueError("a SET with a member that it does not have")
        return ",".join([member for k, member in enumerate(members) if bits >> k & 1])

    return text
