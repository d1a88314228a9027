"""`cdc route test`: rows through the configuration's own router, and why each goes where it goes. Sends nothing.

Rows come from three places: made up from what somebody gives, a file of JSON lines (as `cdc log decode` prints them, or
one object of columns a line), or the end of the live table. Made-up rows and those of a file have columns of the types
their values have; what a column's own type would change (layout debezium) only the live table shows.

Partition counts are the cluster's, or one number for all topics, so that routes can be tried without Kafka. No
topic is made, also where the tailer would make it (`topics.create: all`): the count it would get is taken.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cdc.errors import ConfigError, RowRefused
from cdc.kafka import KafkaTopics
from cdc.model import Column, Record, Row, TableSchema, TableSpec, Topics, Value
from cdc.mysql.table_scan import last
from cdc.routing.explain import Reason
from cdc.routing.layouts import NATIVE, Layout
from cdc.routing.router import RuleRouter
from cdc.settings import Settings
from cdc.settings.sources import split_table

_BINARY = {"id", "key", "payload"}
"""Roles whose columns hold bytes in the native table."""
_INT32 = 1 << 31
_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """The table whose rows are tried."""

    source: str
    table: str
    layout: Layout

    @classmethod
    def find(cls, settings: Settings, source: str | None, table: str | None) -> Target:
        """The one that is meant; not said is fine where there is only one. Raises ConfigError."""
        found = [
            (name, full, one)
            for name, full, one in settings.tables()
            if source in {None, name} and table in {None, full}
        ]
        if len(found) == 1:
            name, full, one = found[0]
            return cls(name, full, one.as_layout())
        if source is not None:
            settings.source(source)
        known = ", ".join(f"{full} of {name}" for name, full, _ in settings.tables())
        what = "no table of the configuration is the one that is meant" if not found else "several tables may be meant"
        raise ConfigError(what, hint=f"name it with --source and --table; there are {known}")


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one row. `refused` and `record` are None where the routes pass it over."""

    row: Row
    event_id: str
    event_name: str | None
    reason: Reason | None
    record: Record | None
    refused: RowRefused | None
    policy: str | None

    @property
    def outcome(self) -> str:
        """A word for it: record, passed over, or the policy of the refusal."""
        if self.record is not None:
            return "record"
        return self.policy or "passed over"

    def as_data(self) -> dict[str, Any]:
        """For output; stable names."""
        record, refused, reason = self.record, self.refused, self.reason
        return {
            "table": str(self.row.table),
            "event_id": self.event_id,
            "event_name": self.event_name,
            "outcome": self.outcome,
            "route": None if reason is None else reason.rule,
            "topic": None if record is None else record.topic,
            "key": None if record is None else readable(record.key),
            "partition": None if record is None else record.partition,
            "timestamp": None if record is None else record.timestamp,
            "headers": [] if record is None else [[name, readable(value)] for name, value in record.headers],
            "value": None if record is None else readable(record.value),
            "why": [] if reason is None else list(reason.why),
            "refused": None
            if refused is None
            else {
                "reason": refused.reason,
                "error": type(refused).__name__,
                "message": str(refused),
                "hint": refused.hint,
                "on_error": self.policy,
            },
        }


def readable(value: bytes | None) -> object:
    """Text where bytes are text, else base64; what is long is cut."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(value)} bytes)"


# -- rows ----------------------------------------------------------------------------------------


def made_up(settings: Settings, target: Target, given: Mapping[str, str]) -> Row:
    """A row of which some columns are given, by the words routes use or by their names; NULL in all others."""
    columns: dict[str, Value] = dict.fromkeys(target.layout.columns.values())
    columns |= dict.fromkeys(sorted(_spec(settings, target).wanted or ()))
    roles = {column: role for role, column in target.layout.columns.items()}
    if (id_column := target.layout.columns["id"]) in columns:
        columns[id_column] = uuid.UUID(int=0).bytes if target.layout.name != "debezium" else str(uuid.UUID(int=0))
    if "timestamp" in target.layout.columns:
        columns[target.layout.columns["timestamp"]] = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    if (kind := target.layout.columns.get("content_type")) is not None:
        columns[kind] = "application/json"
    for name, text in given.items():
        column = target.layout.column(name)
        if column is None:
            raise ConfigError(
                f"{name!r} is nothing that layout {target.layout.name} of {target.table} has",
                hint=f"It has {', '.join(sorted(target.layout.known()))}; every other name is a column of the table.",
            )
        columns[column] = _typed(target.layout, roles.get(column), text)
    return _row(target.table, columns)


def _typed(layout: Layout, role: str | None, text: str) -> Value:
    try:
        is_binary = role in _BINARY and layout.columns == NATIVE.columns
        if is_binary and role != "id":
            return text.encode(errors="surrogateescape")  # so bytes that are no text come from the command line
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{text!r} is no text in UTF-8", hint="Only key and payload take any bytes.") from error
    if role == "id" and layout.name != "debezium":
        try:
            return uuid.UUID(text).bytes
        except ValueError:
            return text
    if role is None and text.lstrip("-").isdecimal():
        return int(text)
    return text


def from_lines(lines: Iterable[bytes], target: Target, file: str) -> Iterator[Row]:
    """Rows of a file: transactions as `cdc log decode` prints them, or objects of columns. Raises ConfigError."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                raise ValueError("not an object")  # noqa: TRY004, TRY301 - one sentence for all that is wrong with a line
            for one in found["rows"] if isinstance(found.get("rows"), list) else [found]:
                columns = one["columns"] if isinstance(one.get("columns"), dict) else one
                yield _row(str(one.get("table") or target.table), {k: _value(v) for k, v in columns.items()})
        except (ValueError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"{file}, line {number}: {error}",
                hint="Each line is an object of columns, or a transaction as `cdc log decode` prints it.",
            ) from error


def _value(found: Any) -> Value:
    if isinstance(found, dict) and found.keys() == {"b64"}:
        try:
            return base64.b64decode(found["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"b64: {error}") from error
    if isinstance(found, (dict, list)):
        return json.dumps(found, ensure_ascii=False)
    if isinstance(found, bool):
        return int(found)
    return found  # type: ignore[no-any-return]


def _row(table: str, columns: Mapping[str, Value]) -> Row:
    made = tuple(_column(name, value) for name, value in columns.items())
    return Row(TableSchema(*split_table(table), made), tuple(columns.values()))


def _column(name: str, value: Value) -> Column:
    if isinstance(value, int):
        return Column(name, "integer", None, "int" if -_INT32 <= value < _INT32 else "bigint")
    if isinstance(value, float):
        return Column(name, "float", None, "double")
    return Column(name, "binary" if isinstance(value, bytes) else "text")


async def from_table(settings: Settings, target: Target, count: int, note: Callable[[str], None]) -> list[Row]:
    """The last rows of the live table, oldest first. Raises SourceError."""
    rows, is_cut = await last(settings.source(target.source).address, _spec(settings, target), count)
    if is_cut:
        note(f"only the last {len(rows)}: more of them are too large to be taken at once")
    return rows


def _spec(settings: Settings, target: Target) -> TableSpec:
    name = split_table(target.table)
    return next(spec for spec in settings.table_specs(target.source) if (spec.schema, spec.name) == name)


# -- what becomes of them ------------------------------------------------------------------------


class _Known:
    """Partition counts: one number for all topics, or the cluster's."""

    def __init__(self, listed: Topics | None, otherwise: int | None) -> None:
        self._listed, self._otherwise = listed, otherwise

    def partitions(self, topic: str) -> int | None:
        return (None if self._listed is None else self._listed.partitions(topic)) or self._otherwise

    async def refresh(self) -> None:
        """Nothing changes while rows are tried."""


async def tried(settings: Settings, target: Target, rows: Sequence[Row], *, partitions: int | None) -> list[Tried]:
    """Route them all. Raises SinkError; with `partitions` no Kafka is asked."""
    if partitions is not None:
        return _all(settings.router_for(target.source, _Known(None, partitions)), rows)
    listed = KafkaTopics(settings.kafka.address())
    try:
        await listed.start()
        otherwise = settings.topics.partitions if settings.topics.create == "all" else None
        return _all(settings.router_for(target.source, _Known(listed, otherwise)), rows)
    finally:
        await listed.close()


def _all(router: RuleRouter, rows: Sequence[Row]) -> list[Tried]:
    return [_one(router, row) for row in rows]


def _one(router: RuleRouter, row: Row) -> Tried:
    record = refused = reason = policy = None
    try:
        record = router.route(row)
    except RowRefused as error:
        refused, policy = error, router.on_error(row)
    try:
        reason = router.explain(row, record)
    except RowRefused:
        pass  # `refused` says why no rule could be asked
    said = router.original(row)
    return Tried(row, said.event_id, said.event_name, reason, record, refused, policy)
