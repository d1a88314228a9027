"""Envelope `debezium`, the default of layout debezium: records as Debezium 3.4's Outbox Event Router writes them.

What depends on the table is decided in `plan`: the Connect type of each column
(`connect_types`) and the converter bound to it. The header `id` comes first, then the
placed columns in the order they were named; the four headers with the connector's context
are not written (`extended.headers.enabled=false`).

A record equals Debezium's byte for byte, but for the cases in connectors/README.md.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from cdc.envelopes import connect_types, fields
from cdc.envelopes.connect_types import Struct, Typed
from cdc.envelopes.converters import Convert
from cdc.envelopes.expand import NotExpandable, expand
from cdc.envelopes.router_options import RouterOptions
from cdc.errors import ColumnMissing, PartitionInvalid, ValueInvalid
from cdc.model import Encoding, Header, TableSchema, Value

Values = tuple[Value, ...]
_log = logging.getLogger(__name__)
_BLANK = "".join(map(chr, range(33)))  # what Java's trim() takes away
_AHEAD = 3_600_000
_TIMES = ("datetime", "")
_NO_COLUMN_HINT = "Correct the table's `router` options in the configuration, or add the column to the table."


class Debezium:
    """`headers=False` sends records without any; `unexpanded` counts payloads that could not become a structure."""

    def __init__(
        self, options: RouterOptions | None = None, *, headers: bool = True, unexpanded: Counter[str] | None = None
    ) -> None:
        self.options = options or RouterOptions()
        self.headers = headers
        self.unexpanded: Counter[str] = Counter() if unexpanded is None else unexpanded

    def plan(self, table: TableSchema, columns: Mapping[str, str]) -> Encoding:
        """Look the columns up once. Raises ColumnMissing."""
        options = self.options
        for name in sorted(options.needed()):
            _place(table, name)
        value = self._value(table, columns)
        headers = self._headers(table, columns) if self.headers else None
        key_at = fields.column(table, columns, "key")

        def encode(values: Values) -> tuple[bytes | None, list[Header]]:
            return value(values), [] if headers is None else [(name, make(values)) for name, make in headers]

        return Encoding(
            encode,
            key=None if key_at is None else self._converted(table, key_at, options.key.bind),
            partition=self._partition(table),
            timestamp=None if options.timestamp is None else _timestamp(table, options.timestamp),
        )

    def _typed(self, table: TableSchema, at: int) -> Typed:
        return connect_types.typed(table.columns[at], self.options.modes)

    def _reader(self, table: TableSchema, at: int) -> tuple[connect_types.Type, Callable[[Values], Any]]:
        typed = self._typed(table, at)
        read = typed.read
        return typed.type, lambda values: None if (value := values[at]) is None else read(value)

    def _converted(
        self, table: TableSchema, at: int, bind: Callable[[connect_types.Type], Convert]
    ) -> Callable[[Values], bytes | None]:
        type_, read = self._reader(table, at)
        convert = bind(type_)
        return lambda values: convert(read(values))

    def _headers(
        self, table: TableSchema, columns: Mapping[str, str]
    ) -> list[tuple[str, Callable[[Values], bytes | None]]]:
        bind = self.options.header.bind
        out = [("id", self._converted(table, fields.required(table, columns, "id"), bind))]
        placed = (one for one in self.options.placed if one.placement == "header" and one.column in table.index)
        return [*out, *((one.name, self._converted(table, table.index[one.column], bind)) for one in placed)]

    def _partition(self, table: TableSchema) -> Callable[[Values], int | None] | None:
        name = next((one.column for one in self.options.placed if one.placement == "partition"), None)
        at = table.index.get(name or "")
        if at is None:
            return None
        is_int = self._typed(table, at).type == "int32"

        def partition(values: Values) -> int | None:
            value = values[at]
            if value is None:
                return None
            if not is_int or not isinstance(value, int):
                raise PartitionInvalid(
                    f"column {name!r} is placed as the partition, and it is no INT", hint="Make the column an INT."
                )
            return value

        return partition

    # -- the value -----------------------------------------------------------------------

    def _value(self, table: TableSchema, columns: Mapping[str, str]) -> Callable[[Values], bytes | None]:
        options = self.options
        type_, read = self._reader(table, fields.required(table, columns, "payload"))
        bind = options.value.bind
        more = [
            (one.name, *self._reader(table, _place(table, one.column)))
            for one in options.placed
            if one.placement == "envelope"
        ]
        if not more and not options.expand and not options.tombstones:
            convert = bind(type_)
            return lambda values: convert(read(values))

        def value(values: Values) -> bytes | None:
            payload, of = read(values), type_
            if options.tombstones and (payload is None or (isinstance(payload, str) and not payload.strip(_BLANK))):
                return None
            if options.expand:
                of, payload = self._expanded(of, payload)
            if not more:
                return bind(of)(payload)
            whole = Struct((("payload", of), *((name, one) for name, one, _ in more)))
            return bind(whole)({"payload": payload, **{name: get(values) for name, _, get in more}})

        return value

    def _expanded(self, type_: connect_types.Type, payload: Any) -> tuple[connect_types.Type, Any]:
        """A payload that cannot be expanded is sent as it is, as the Event Router does."""
        if isinstance(payload, str):
            try:
                return expand(payload, nulls=self.options.expand_nulls)
            except NotExpandable as error:
                self._note(str(error).partition(":")[0][:80])  # without the place, which differs each time
        return type_, payload

    def _note(self, why: str) -> None:
        """Count it, and say it when it is the first of its kind, its tenth, hundredth and so on."""
        self.unexpanded[why] += 1
        count = self.unexpanded[why]
        if count == 10 ** (len(str(count)) - 1):
            _log.warning("payloads sent as they are, for they could not be expanded (%d so far): %s", count, why)


def _place(table: TableSchema, name: str) -> int:
    at = table.index.get(name)
    if at is None:
        raise ColumnMissing(f"table {table} has no column {name!r}, which `router` names", hint=_NO_COLUMN_HINT)
    return at


def _timestamp(table: TableSchema, name: str) -> Callable[[Values], int | None]:
    """The record's time from a DATETIME; what Kafka would refuse is refused here, where `on_error` decides."""
    at = _place(table, name)
    is_time = table.columns[at].type.partition("(")[0] in _TIMES and table.columns[at].kind in ("temporal", "text")

    def timestamp(values: Values) -> int | None:
        value = values[at]
        if value is None:
            return None
        found = connect_types.milliseconds(value) if is_time and isinstance(value, str) else None
        if found is None or found < 0 or found > time.time() * 1000 + _AHEAD:
            why = "is no DATETIME" if not is_time else "is no point in time from 1970 to an hour from now"
            raise ValueInvalid(
                f"column {name!r} is to be the record's timestamp, and it {why}",
                hint="Correct the row's writer, or remove table.field.event.timestamp from the table's `router`.",
            )
        return found

    return timestamp
