"""The outbox table by name: its DDL for both servers, and SQLAlchemy's Table of it.

The columns (`layouts.py`) are a contract with every writer in any language and with the
tailer. Rows of layout native that are written without `event_id` and `created_at` get them
from the server, so a plain INSERT of name, topic and payload is enough.

One expression for `event_id` serves MySQL (8.0.13 and later) and MariaDB (10.10 and later: RANDOM_BYTES).
It is a UUIDv7 in RFC 9562's byte order: 48 bits of milliseconds, then as many bits of the
microsecond as fit (the RFC's method 3, so that rows sort by time within a millisecond, too),
then 62 random bits. The time comes from UTC_TIMESTAMP, which no session's time zone or
daylight saving can move; all rows of one statement share it and differ in the random bits.
Functions with other results at every call are only allowed as a default where the log holds
rows: binlog_format=ROW or MIXED, and the tailer needs ROW anyway.

Collation utf8mb4_bin, because names and topics are compared byte by byte in Kafka, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from cdc.errors import ConfigError
from cdc.outbox.columns import Column
from cdc.outbox.layouts import NATIVE, Layout, layout_of

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

Server: TypeAlias = Literal["mysql", "mariadb"]
SERVERS: tuple[Server, ...] = get_args(Server)
COLUMNS = NATIVE.names
OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"

_LONGEST_IDENTIFIER = 64
# What the servers take between backticks, less control characters and the dot, which parts the names.
_IDENTIFIER = re.compile(r"[^\x00-\x1f\x7f.\U00010000-\U0010ffff]+")


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, with its schema where the connection's own is not meant."""

    schema: str | None
    name: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """`outbox` or `shop.outbox`; quoting is ours, so names come without backticks."""
        parts = text.split(".")
        if len(parts) not in {1, 2} or not all(map(_is_identifier, parts)):
            raise ConfigError(
                f"{text!r} is no table name",
                hint="Write table or schema.table, without backticks, at most 64 characters each.",
            )
        return cls(parts[0] if len(parts) == 2 else None, parts[-1])  # noqa: PLR2004

    @property
    def quoted(self) -> str:
        """For SQL text."""
        return ".".join(quote(part) for part in (self.schema, self.name) if part is not None)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an Outbox writes: the table, its columns, and whether the rows are deleted again."""

    table: TableName
    layout: Layout
    remove_after_insert: bool = False


def _is_identifier(part: str) -> bool:
    return len(part) <= _LONGEST_IDENTIFIER and part == part.strip() and _IDENTIFIER.fullmatch(part) is not None


def quote(identifier: str) -> str:
    """Between backticks."""
    return "`" + identifier.replace("`", "``") + "`"


_NEEDS = {"mysql": "MySQL 8.0.13 or later", "mariadb": "MariaDB 10.10 or later"}


def ddl(server: str, table: str = "outbox", layout: str | Layout | None = None) -> str:
    """CREATE TABLE for `mysql` or `mariadb`, ready to run."""
    if server not in SERVERS:
        raise ConfigError(f"unknown server {server!r}", hint=f"Available: {', '.join(SERVERS)}.")
    form = layout if isinstance(layout, Layout) else layout_of(layout)
    width = max(len(column.name) for column in form.columns) + 2
    lines = [f"{quote(column.name):{width}} {column.definition}" for column in form.columns]
    lines += [f"PRIMARY KEY ({quote(form.primary_key)})"]
    lines += [f"UNIQUE KEY {quote(name)} ({', '.join(map(quote, columns))})" for name, columns in form.unique]
    return (
        f"-- Outbox table, layout {form.name}, for {_NEEDS[server]} with binlog_format=ROW.\n"
        f"CREATE TABLE {TableName.parse(table).quoted} (\n  " + ",\n  ".join(lines) + f"\n) {OPTIONS};\n"
    )


def sqlalchemy_table(
    metadata: MetaData, name: str = "outbox", *, schema: str | None = None, layout: str | Layout | None = None
) -> Table:
    """The same table in your MetaData, so that Alembic's autogenerate and create_all know it."""
    import sqlalchemy as sa  # noqa: PLC0415  # the write library must work without SQLAlchemy

    form = layout if isinstance(layout, Layout) else layout_of(layout)
    options: dict[str, Any] = {
        f"{dialect}_{option}": value
        for dialect in SERVERS
        for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
    }
    columns = [
        sa.Column(
            column.name,
            _type(column),
            primary_key=column.name == form.primary_key,
            nullable=column.null,
            server_default=None if column.default is None else sa.text(column.default),
            autoincrement=column.auto_increment,
        )
        for column in form.columns
    ]
    unique = [sa.UniqueConstraint(*names, name=key) for key, names in form.unique]
    return sa.Table(name, metadata, *columns, *unique, schema=schema, **options)


def _type(column: Column) -> Any:
    from sqlalchemy.dialects import mysql  # noqa: PLC0415  # as above

    kind = getattr(mysql, column.kind)
    if column.kind == "ENUM":
        return kind(*re.findall(r"'([^']*)'", column.type))
    if column.kind == "DATETIME":
        return kind(fsp=column.length)
    return kind() if column.length is None else kind(column.length)
