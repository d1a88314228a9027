"""Layouts: which column of an outbox table gets what of an event, and what a table cannot keep.

    native      ours (`table.py` has the reasons for its types)
    debezium    the Outbox Event Router's: topic is the aggregatetype, key the aggregateid, the
                record goes to outbox.event.<topic> unless it is routed
    cqrs        python-cqrs's own table, which knows no key and no headers; the payload is its
                envelope, as its PydanticNotificationEvent has it
    columns     any other table, by a map from role to column

What an event has and the table has no column for is refused, never dropped: a key lost here
would be an order lost in Kafka. The event's time is the exception, because every event has one.

A layout turns the checked values of an event (`NewRow`) into the values of its columns once
for all ways of writing. Times are naive UTC; cqrs gets local time, as its library writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from cdc.errors import ConfigError, EventTooLarge, InvalidEvent
from cdc.outbox.columns import REQUIRED, ROLES, Column, parse

if TYPE_CHECKING:
    from cdc.outbox.row import NewRow

Reader: TypeAlias = "str | Callable[[NewRow], Any]"  # a str is the field of NewRow as it is

_MICROSECONDS = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
EVENT_ID_DEFAULT = (
    "(UNHEX(CONCAT("
    f"LPAD(HEX({_MICROSECONDS} DIV 1000), 12, '0'), "
    f"HEX(28672 + ({_MICROSECONDS} MOD 1000) * 4096 DIV 1000), "  # 0x7000: version 7
    "HEX(128 + (ASCII(RANDOM_BYTES(1)) & 63)), "  # 0b10......: the RFC's variant
    "HEX(RANDOM_BYTES(7)))))"
)
CREATED_AT_DEFAULT = "(UTC_TIMESTAMP(6))"

DEBEZIUM_PREFIX = "outbox.event."
_LONGEST_TOPIC = 249
_FIELDS = {
    "id": "event_id",
    "name": "event_name",
    "topic": "topic",
    "key": "event_key",
    "payload": "payload",
    "headers": "headers",
    "content_type": "content_type",
    "timestamp": "created_at",
    "trace": "trace",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table in their order, and the values `add` writes into them.

    Not `strict`: `row.py` refuses already whatever the columns could not hold.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: str
    unique: tuple[tuple[str, tuple[str, ...]], ...] = ()
    strict: bool = True
    written: tuple[Column, ...] = field(init=False, compare=False, repr=False)
    names: tuple[str, ...] = field(init=False, compare=False, repr=False)
    values: Callable[[NewRow], tuple[Any, ...]] = field(init=False, compare=False, repr=False)
    _checked: tuple[tuple[int, Column], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        written = tuple(column for column in self.columns if column.is_written)
        readers = [_reader(column, cqrs=self.name == "cqrs") for column in written]
        object.__setattr__(self, "written", written)
        object.__setattr__(self, "names", tuple(column.name for column in written))
        object.__setattr__(self, "values", _all(readers))
        unchecked = {None, "id", "timestamp"}
        checked = [(n, column) for n, column in enumerate(written) if column.role not in unchecked]
        object.__setattr__(self, "_checked", tuple(checked))

    @property
    def id(self) -> Column:
        """The column by which a row is found again."""
        return [column for column in self.columns if column.role == "id"][-1]

    def has(self, role: str) -> bool:
        """Whether there is a column for it."""
        return any(column.role == role for column in self.columns)

    def refuse(self, row: NewRow) -> None:
        """Raise what this table could not hold of a row."""
        if not self.strict:
            return
        for role in ("topic", "key", "headers", "content_type"):
            if not self.has(role):
                self._refuse_homeless(row, role)
        if self.name == "debezium" and len(row.topic) > _LONGEST_TOPIC - len(DEBEZIUM_PREFIX):
            raise InvalidEvent(
                f"event {row.event_name!r}: the topic {DEBEZIUM_PREFIX}{row.topic} has more than 249 characters",
                hint=f"Shorten the topic: in layout debezium it goes behind {DEBEZIUM_PREFIX!r}.",
            )
        values = self.values(row)
        for n, column in self._checked:
            _check(self, row, column, values[n])

    def _refuse_homeless(self, row: NewRow, role: str) -> None:
        value = getattr(row, _FIELDS[role])
        if not value or (role == "content_type" and value == "application/json"):
            return
        advice = {
            "topic": "Leave the topic empty (topic='') and give such rows one by a route of the tailer",
            "key": "Leave the key out and let a route's `key` rule make it",
            "headers": "Leave the headers out",
            "content_type": "Leave content_type at application/json",
        }[role]
        raise InvalidEvent(
            f"event {row.event_name!r}: layout {self.name} has no column for its {role}",
            hint=f"{advice}; or add a column and say so: Outbox(columns={{{role!r}: '...'}}).",
        )


def _all(readers: list[Reader]) -> Callable[[NewRow], tuple[Any, ...]]:
    fields = [read for read in readers if isinstance(read, str)]
    if len(fields) == len(readers):
        return attrgetter(*fields)
    functions = [attrgetter(read) if isinstance(read, str) else read for read in readers]
    return lambda row: tuple([function(row) for function in functions])


def _reader(column: Column, *, cqrs: bool) -> Reader:
    """How a column's value is found in the values of an event."""
    role = column.role
    if role is None:
        return lambda _: column.constant
    if role == "id" and not column.is_binary:
        return lambda row: str(UUID(bytes=row.event_id))
    if cqrs and role == "payload":
        return _envelope
    if cqrs and role == "timestamp":
        return lambda row: _local(row.created_at)
    if role in {"key", "payload"} and not column.is_binary:
        return _as_text(_FIELDS[role])
    return _FIELDS[role]


def _as_text(name: str) -> Reader:
    def read(row: NewRow) -> str | bytes | None:
        value: bytes | None = getattr(row, name)
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            return value  # refused by `_check`, which knows what to say

    return read


def _local(utc: datetime) -> datetime:
    return utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None, microsecond=0)


def _envelope(row: NewRow) -> bytes | None:
    """python-cqrs's JSON around a JSON payload, in its order; other payloads are an envelope already."""
    if row.payload is None or row.content_type != "application/json":
        return row.payload
    around = {
        "event_id": str(UUID(bytes=row.event_id)),
        "event_timestamp": row.created_at.replace(tzinfo=UTC).isoformat(),
        "event_name": row.event_name,
        "topic": row.topic,
    }
    rest = json.dumps(around, ensure_ascii=False, separators=(",", ":")).encode()
    return b'{"payload":' + row.payload + b"," + rest[1:]


def _check(layout: Layout, row: NewRow, column: Column, value: object) -> None:
    what = f"event {row.event_name!r}: {column.role}"
    where = f"column {column.name} {column.type}"
    if value is None:
        if not column.null:
            raise InvalidEvent(
                f"{what} is None, and {where} takes no NULL",
                hint=f"Layout {layout.name} needs a {column.role} in every event.",
            )
    elif isinstance(value, bytes) and not column.is_binary:
        raise InvalidEvent(
            f"{what} is not UTF-8, and {where} holds text",
            hint=f"Say so where the column is binary: Outbox(columns={{{column.role!r}: '{column.name} LONGBLOB'}}).",
        )
    elif column.kind == "JSON" and column.role == "payload":
        _check_json(what, where, str(value))
    _check_length(what, where, column, value)


def _check_json(what: str, where: str, text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise InvalidEvent(
            f"{what} is not JSON, and {where} takes nothing else: {error}",
            hint="Give a dict, list, dataclass or model, or text that is JSON.",
        ) from error


def _check_length(what: str, where: str, column: Column, value: object) -> None:
    if not isinstance(value, (str, bytes)):
        return
    characters, size = column.most_characters, column.most_bytes
    if characters is not None and len(value) > characters:
        raise EventTooLarge(
            f"{what} has {len(value):,} characters, and {where} takes {characters:,}",
            hint="Shorten it or the table's column is too small: ALTER TABLE ... MODIFY.",
        )
    length = len(value) if isinstance(value, bytes) else len(value.encode())
    if size is not None and length > size:
        raise EventTooLarge(
            f"{what} has {length:,} bytes, and {where} takes {size:,}",
            hint="Send a reference instead, or widen the column and say so in Outbox(columns=...).",
        )


NATIVE = Layout(
    "native",
    (
        Column("event_id", "BINARY(16)", "id", default=EVENT_ID_DEFAULT),
        Column("event_name", "VARCHAR(255)", "name"),
        Column("topic", "VARCHAR(249)", "topic"),
        Column("event_key", "VARBINARY(1024)", "key", null=True),
        Column("payload", "LONGBLOB", "payload", null=True),
        Column("content_type", "VARCHAR(127)", "content_type", default="'application/json'"),
        Column("headers", "JSON", "headers", null=True),
        Column("created_at", "DATETIME(6)", "timestamp", default=CREATED_AT_DEFAULT),
    ),
    primary_key="event_id",
    strict=False,
)
DEBEZIUM = Layout(
    "debezium",
    (
        Column("id", "CHAR(36)", "id"),
        Column("aggregatetype", "VARCHAR(255)", "topic"),
        Column("aggregateid", "VARCHAR(255)", "key"),
        Column("type", "VARCHAR(255)", "name"),
        Column("payload", "LONGTEXT", "payload", null=True),
    ),
    primary_key="id",
)
CQRS = Layout(
    "cqrs",
    (
        Column("id", "BIGINT", auto_increment=True),
        Column("event_id", "BINARY(16)", "id"),
        Column("event_id_bin", "BINARY(16)", "id"),
        Column("event_status", "ENUM('NEW','PRODUCED','NOT_PRODUCED')", constant="NEW"),
        Column("flush_counter", "SMALLINT", constant=0),
        Column("event_name", "VARCHAR(255)", "name"),
        Column("topic", "VARCHAR(255)", "topic"),
        Column("created_at", "DATETIME", "timestamp", default="CURRENT_TIMESTAMP"),
        Column("payload", "BLOB", "payload"),
    ),
    primary_key="id",
    unique=(("event_id_unique_index", ("event_id_bin", "event_name")),),
)
LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (NATIVE, DEBEZIUM, CQRS)}

_STANDARD = {column.role: column for column in NATIVE.columns} | {
    "trace": Column("tracingspancontext", "VARCHAR(256)", "trace", null=True)
}


def layout_of(name: str | None, columns: Mapping[str, str] | None = None) -> Layout:
    """The layout of that name, with columns of the user's own in place of its or beside them.

    As in the tailer's settings: columns without a layout are the whole map.
    """
    if name is not None and name not in LAYOUTS:
        raise ConfigError(
            f"unknown layout {name!r}", hint=f"Available: {', '.join(LAYOUTS)}; or columns={{role: column}}."
        )
    base = LAYOUTS[name or "native"]
    if not columns:
        return base
    if unknown := [role for role in columns if role not in ROLES]:
        raise ConfigError(f"columns: unknown role {unknown[0]!r}", hint=f"Roles are: {', '.join(ROLES)}.")
    standard: dict[str, Column] = {str(column.role): column for column in base.columns if column.role}
    own = {role: parse(role, text, standard.get(role) or _STANDARD[role]) for role, text in columns.items()}
    if name is None:
        return _whole(own)
    if name == "cqrs" and "id" in own:
        raise ConfigError(
            "columns: layout cqrs has its ids in two columns",
            hint="Leave `id` out, or map all columns without a layout.",
        )
    kept = tuple(own.pop(str(column.role), column) for column in base.columns)
    key = dict(zip((old.name for old in base.columns), (new.name for new in kept), strict=True))[base.primary_key]
    return _unambiguous(replace(base, columns=(*kept, *own.values()), primary_key=key, strict=True))


def _whole(own: Mapping[str, Column]) -> Layout:
    if missing := [role for role in REQUIRED if role not in own]:
        raise ConfigError(
            f"columns lacks {', '.join(missing)}",
            hint=f"A table needs columns for {', '.join(REQUIRED)}; roles are: {', '.join(ROLES)}.",
        )
    ordered = tuple(own[role] for role in ROLES if role in own)
    return _unambiguous(Layout("columns", ordered, primary_key=own["id"].name))


def _unambiguous(layout: Layout) -> Layout:
    names = [column.name.lower() for column in layout.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"columns: {twice[0]!r} is named twice", hint="Give every role a column of its own.")
    return layout
