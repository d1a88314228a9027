"""The outbox table: its columns, and the DDL for both servers.

The columns are a contract with every writer in any language and with the tailer. Rows
written without `event_id` and `created_at` get them from the server, so a plain INSERT
of name, topic and payload is enough.

One expression serves MySQL (8.0.13 and later) and MariaDB (10.10 and later: RANDOM_BYTES).
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

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

Server: TypeAlias = Literal["mysql", "mariadb"]
SERVERS: tuple[Server, ...] = get_args(Server)
LAYOUTS = ("native",)

_MICROSECONDS = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
EVENT_ID_DEFAULT = (
    "(UNHEX(CONCAT("
    f"LPAD(HEX({_MICROSECONDS} DIV 1000), 12, '0'), "
    f"HEX(28672 + ({_MICROSECONDS} MOD 1000) * 4096 DIV 1000), "  # 0x7000: version 7
    "HEX(128 + (ASCII(RANDOM_BYTES(1)) & 63)), "  # 0b10......: the RFC's variant
    "HEX(RANDOM_BYTES(7)))))"
)
CREATED_AT_DEFAULT = "(UTC_TIMESTAMP(6))"

# name, definition; the order is that of `row.NewRow`
_NATIVE = (
    ("event_id", f"BINARY(16) NOT NULL DEFAULT {EVENT_ID_DEFAULT}"),
    ("event_name", "VARCHAR(255) NOT NULL"),
    ("topic", "VARCHAR(249) NOT NULL"),
    ("event_key", "VARBINARY(1024) NULL"),
    ("payload", "LONGBLOB NULL"),
    ("content_type", "VARCHAR(127) NOT NULL DEFAULT 'application/json'"),
    ("headers", "JSON NULL"),
    ("created_at", f"DATETIME(6) NOT NULL DEFAULT {CREATED_AT_DEFAULT}"),
)
COLUMNS = tuple(name for name, _ in _NATIVE)

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
        return ".".join(_quote(part) for part in (self.schema, self.name) if part is not None)


def _is_identifier(part: str) -> bool:
    return len(part) <= _LONGEST_IDENTIFIER and part == part.strip() and _IDENTIFIER.fullmatch(part) is not None


def _quote(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def checked_layout(layout: str) -> str:
    """The layout, if events can be written in it."""
    if layout not in LAYOUTS:
        raise ConfigError(f"cannot write layout {layout!r}", hint=f"Available: {', '.join(LAYOUTS)}.")
    return layout


def ddl(server: str, table: str = "outbox", layout: str = "native") -> str:
    """CREATE TABLE for `mysql` or `mariadb`, ready to run."""
    checked_layout(layout)
    if server not in SERVERS:
        raise ConfigError(f"unknown server {server!r}", hint=f"Available: {', '.join(SERVERS)}.")
    needs = "MySQL 8.0.13 or later" if server == "mysql" else "MariaDB 10.10 or later"
    width = max(map(len, COLUMNS)) + 2
    columns = "".join(f"  {_quote(name):{width}} {definition},\n" for name, definition in _NATIVE)
    return (
        f"-- Outbox table, layout {layout}, for {needs} with binlog_format=ROW.\n"
        f"CREATE TABLE {TableName.parse(table).quoted} (\n{columns}  PRIMARY KEY (`event_id`)\n"
        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;\n"
    )


def sqlalchemy_table(metadata: MetaData, name: str = "outbox", *, schema: str | None = None) -> Table:
    """The same table in your MetaData, so that Alembic's autogenerate and create_all know it."""
    import sqlalchemy as sa  # noqa: PLC0415  # the write library must work without SQLAlchemy
    from sqlalchemy.dialects import mysql  # noqa: PLC0415

    options: dict[str, Any] = {
        f"{dialect}_{option}": value
        for dialect in SERVERS
        for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
    }
    return sa.Table(
        name,
        metadata,
        sa.Column("event_id", sa.BINARY(16), primary_key=True, server_default=sa.text(EVENT_ID_DEFAULT)),
        sa.Column("event_name", sa.String(255), nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("event_key", sa.VARBINARY(1024)),
        sa.Column("payload", mysql.LONGBLOB()),
        sa.Column("content_type", sa.String(127), nullable=False, server_default="application/json"),
        sa.Column("headers", mysql.JSON()),
        sa.Column("created_at", mysql.DATETIME(fsp=6), nullable=False, server_default=sa.text(CREATED_AT_DEFAULT)),
        schema=schema,
        **options,
    )
