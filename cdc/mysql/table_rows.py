"""Rows of a table read by SQL, as the log would give them: same columns, same values, same order of columns.

A router does not know where a row came from, so a SELECT must answer in the log's own
terms (`cdc.model`). Most types do by themselves when PyMySQL converts nothing and the session
is in UTC; the rest is selected in another form and converted here. What the log trims or pads,
the server's answer has trimmed or padded likewise.

Rows come in the order of a key: the primary key, or a time column in front of it. Keys of
rows from the log are compared with it, so only types whose order we know for sure may be in one: integers
and binary strings are compared here, text and times by the server (`is_behind`), which knows its collations.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.converters import conversions
from pymysql.cursors import SSCursor

from cdc.errors import ServerNotReady, SourceError
from cdc.model import Column, Row, TableSchema, TableSpec, Value
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import quoted
from cdc.mysql.session import Session, connect, mapped

Key = tuple[Value, ...]

_ENCODERS = {kind: encode for kind, encode in conversions.items() if not isinstance(kind, int)}
"""PyMySQL's conversions of parameters, and none of results: they come as the server wrote them."""
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
_BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_TIMES = frozenset({"date", "datetime", "timestamp", "time"})
_HEX = frozenset({"vector", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
                  "multipolygon", "geometrycollection", "geomcollection"})  # fmt: skip
_ADDRESSES = {"uuid": 16, "inet6": 16, "inet4": 4}
_ORDERED = _INTEGERS | frozenset({"char", "varchar", "binary", "varbinary", "date", "datetime", "timestamp"})

_WIDTH = re.compile(r"(?<=int)\(\d+\)|(?<=year)\(4\)|(?<=float|ouble)\([\d,]+\)")
"""Widths for display, which are not in the log."""

_COLUMNS = (
    "SELECT COLUMN_NAME AS name, DATA_TYPE AS type, COLUMN_TYPE AS full, CHARACTER_OCTET_LENGTH AS length,"
    " CHARACTER_SET_NAME AS charset,"
    " COLLATION_NAME AS collation, IS_NULLABLE AS nullable, EXTRA AS extra FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"
)
_INDEXES = (
    "SELECT INDEX_NAME AS name, COLUMN_NAME AS col, SEQ_IN_INDEX AS seq FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY INDEX_NAME, SEQ_IN_INDEX"
)


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column as information_schema describes it."""

    name: str
    type: str
    full_type: str
    length: int | None
    charset: str | None
    collation: str | None
    is_nullable: bool
    counts: bool
    """AUTO_INCREMENT."""

    @property
    def kind(self) -> str:
        """The family that `model.Column.kind` names."""
        if self.type in _INTEGERS or self.type == "bit":
            return "integer"
        if self.type in {"float", "double"}:
            return "float"
        if self.type in {"decimal", "json"}:
            return self.type
        if self.type in _TIMES:
            return "temporal"
        return "text" if self.type in _TEXTS else "binary"

    def as_logged(self) -> Column:
        """As the log would describe it."""
        spelled = ""
        if self.kind in {"integer", "float", "decimal", "temporal"}:
            spelled = self.full_type if self.type in {"bit", "decimal"} else _WIDTH.sub("", self.full_type)
            spelled = spelled.replace(" zerofill", "")
        length = self.length if self.type in {"char", "varchar", "binary", "varbinary"} else _ADDRESSES.get(self.type)
        return Column(self.name, self.kind, length, spelled)

    @property
    def selected(self) -> str:
        """What to select for it."""
        name = quoted(self.name)
        if self.type in {"bit", "float"}:
            return f"{name} + 0" if self.type == "bit" else f"{name} + 0e0"
        return f"HEX({name})" if self.type in _HEX else name

    def converter(self) -> Callable[[Any], Value]:
        """From what the server answers to what the log holds; NULL never comes here."""
        if self.kind == "integer":
            return int
        if self.kind == "float":
            return float
        if self.type in _HEX:
            return bytes.fromhex
        if self.type == "uuid":
            return lambda text: uuid.UUID(text).bytes
        if self.type in _ADDRESSES:
            return lambda text: ipaddress.ip_address(text).packed
        return _as_it_is


def _as_it_is(value: Any) -> Value:
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class TableForm:
    """A table, its wanted columns in the log's order, and the order its rows are read in."""

    spec: TableSpec
    schema: TableSchema
    columns: tuple[SqlColumn, ...]
    order: tuple[SqlColumn, ...]
    by_time: bool

    def __str__(self) -> str:
        return str(self.spec)

    @property
    def name(self) -> str:
        """For SQL text."""
        return f"{quoted(self.spec.schema)}.{quoted(self.spec.name)}"

    def key(self, row: Row) -> Key:
        """What the row is ordered and known by; the row has all columns of it."""
        index, values = row.table.index, row.values
        return tuple([values[index[column.name]] for column in self.order])


def form_of(session: Session, spec: TableSpec, time_column: str | None) -> TableForm:
    """The table as it is now. `time_column`: ordered by it where it is indexed and never NULL.

    Raises ServerNotReady where its rows have no order we can go on in after a stop.
    """
    columns = {str(row["name"]): _column(row) for row in session.rows(_COLUMNS, spec.schema, spec.name)}
    indexes: dict[str, list[str]] = {}
    for row in session.rows(_INDEXES, spec.schema, spec.name):
        indexes.setdefault(str(row["name"]), []).append(str(row["col"]))
    primary = indexes.get("PRIMARY", [])
    if not primary:
        raise ServerNotReady(
            f"{spec} at {session.address} has no primary key: a snapshot of it could not go on after a stop",
            hint="give it a primary key, or choose start: earliest or latest for this source",
        )
    by_time = False
    order = [columns[name] for name in primary]
    time = columns.get(time_column or "")
    if time is not None and not order[0].counts and time.name != order[0].name:
        by_time = not time.is_nullable and any(names[0] == time.name for names in indexes.values())
        if by_time:
            order = [time, *(column for column in order if column.name != time.name)]
    for column in order:
        if column.type not in _ORDERED:
            raise ServerNotReady(
                f"{spec} at {session.address} is ordered by {column.name}, which is of type {column.type}: "
                "a snapshot reads in the order of integers, text, binary strings and points in time",
                hint="choose start: earliest or latest for this source, or change the primary key",
            )
    wanted = tuple(
        column for name, column in columns.items() if spec.wanted is None or name in spec.wanted or column in order
    )
    schema = TableSchema(spec.schema, spec.name, tuple(c.as_logged() for c in wanted))
    return TableForm(spec, schema, wanted, tuple(order), by_time)


def _column(row: dict[str, Any]) -> SqlColumn:
    return SqlColumn(
        name=str(row["name"]),
        type=str(row["type"]).lower(),
        full_type=str(row["full"]).lower(),
        length=None if row["length"] is None else int(row["length"]),
        charset=row["charset"],
        collation=row["collation"],
        is_nullable=row["nullable"] == "YES",
        counts="auto_increment" in str(row["extra"]).lower(),
    )


class ConsistentRead:
    """A connection that sees the tables as they were at one moment; locks nothing, blocking, for use in a thread.

    An open one keeps ALTER and TRUNCATE of the tables it read waiting, and writers behind them: keep it short.
    """

    def __init__(self, address: ServerAddress, *, timeout: float) -> None:
        self.address = address
        self._connection = connect(
            address, read_timeout=timeout, write_timeout=timeout, conv=_ENCODERS, cursorclass=SSCursor
        )
        try:
            self._do("SET SESSION time_zone = '+00:00'")
            self._do("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._do("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it; what is under way is cut off."""
        self._connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 - close() would talk to the server

    def status(self, pattern: str) -> dict[str, str]:
        """SHOW STATUS of this session, by name in lower case."""
        return {str(row[0]).lower(): str(row[1]) for row in self._do("SHOW STATUS LIKE %s", pattern)}

    def end_of_log(self) -> tuple[str, int]:
        """Where MySQL's log ends now: behind all that this read sees."""
        try:
            found = self._do("SHOW BINARY LOG STATUS")
        except SourceError:  # before 8.2 it knows only the old name
            found = self._do("SHOW MASTER STATUS")
        return str(found[0][0]), int(found[0][1])

    def rows(
        self, form: TableForm, after: Key | None, limit: int, most_bytes: int, *, backwards: bool = False
    ) -> tuple[list[Row], bool]:
        """At most `limit` rows behind a key, in order, cut after `most_bytes` of values; and: were these the last?

        With `backwards` they come from the table's end; no key goes with it.
        """
        where, arguments = ("", []) if after is None else _behind(form, after)
        selected = ", ".join(column.selected for column in form.columns)
        order = ", ".join(quoted(column.name) + " DESC" * backwards for column in form.order)
        sql = f"SELECT {selected} FROM {form.name}{where} ORDER BY {order} LIMIT {limit}"  # noqa: S608 - quoted
        converters = [column.converter() for column in form.columns]
        out: list[Row] = []
        size, count = 0, 0
        for values in self._stream(sql, arguments):
            count += 1
            if size < most_bytes:
                row = tuple(None if v is None else c(v) for v, c in zip(values, converters, strict=True))
                out.append(Row(form.schema, row))
                size += sum(len(v) if isinstance(v, (str, bytes)) else 8 for v in row)
        return out, count < limit and len(out) == count

    def is_behind(self, form: TableForm, key: Key, other: Key) -> bool:
        """Does `key` come after `other` in the table's order?"""
        for column, ours, theirs in zip(form.order, key, other, strict=True):
            if ours == theirs:
                continue
            if isinstance(ours, (int, bytes)):
                return ours > theirs  # type: ignore[operator]  # two values of one column
            mark = "%s"
            if column.type in _TEXTS:
                mark = f"CONVERT(%s USING {column.charset}) COLLATE {column.collation}"
            (row,) = self._do(f"SELECT {mark} > {mark}, {mark} = {mark}", [ours, theirs, ours, theirs])
            if int(row[1]) == 0:
                return bool(int(row[0]))
        return False

    def _do(self, sql: str, arguments: object = None) -> list[tuple[Any, ...]]:
        return list(self._stream(sql, arguments))

    def _stream(self, sql: str, arguments: object) -> Iterator[tuple[Any, ...]]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, arguments)
                yield from cursor
        except (pymysql.MySQLError, OSError) as error:
            raise mapped(error, self.address) from error
        except (UnicodeDecodeError, ValueError) as error:
            raise SourceError(
                f"{self.address} answered with a value that cannot be read: {error}",
                hint="choose start: earliest or latest for this source, and tell us the table's types",
            ) from error


def _behind(form: TableForm, key: Key) -> tuple[str, Sequence[Value]]:
    """`(a, b) > (x, y)` spelled out: the servers use an index for it only so."""
    parts: list[str] = []
    arguments: list[Value] = []
    for i in range(len(key)):
        equal = [f"{quoted(form.order[j].name)} = %s" for j in range(i)]
        parts.append("(" + " AND ".join([*equal, f"{quoted(form.order[i].name)} > %s"]) + ")")
        arguments += key[: i + 1]
    first = f"{quoted(form.order[0].name)} >= %s AND " if len(key) > 1 else ""
    return f" WHERE {first}({' OR '.join(parts)})", [*key[:1], *arguments] if first else arguments
