"""Envelope `cqrs`, the default of layout cqrs (DESIGN 4.2): python-cqrs's own names.

Headers `message_id` and `event_name`, as its producer sends for Protobuf events, then the
row's own where the layout has such a column (python-cqrs's has none). Its producer sends
JSON events without any header: `headers=False` gives records equal to those. The payload
is its whole envelope, perhaps compressed or Protobuf, and passes as it is.

The record has no key unless a route makes one, whatever the row has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from cdc.envelopes import fields
from cdc.model import Header, TableSchema, Value


class Cqrs:
    """`dropped` counts headers of rows that bore a name of ours."""

    row_key = False

    def __init__(self, *, headers: bool = True, dropped: Counter[str] | None = None) -> None:
        self.headers = headers
        self.dropped: Counter[str] = Counter() if dropped is None else dropped

    def plan(
        self, table: TableSchema, columns: Mapping[str, str]
    ) -> Callable[[tuple[Value, ...]], tuple[bytes | None, list[Header]]]:
        """Look the columns up once."""
        payload_at = table.index[columns["payload"]]
        if not self.headers:
            return lambda values: (fields.payload(values[payload_at]), [])
        id_at, name_at = table.index[columns["id"]], table.index[columns["name"]]
        headers_at = fields.column(table, columns, "headers")
        more = None if headers_at is None else fields.row_headers(headers_at, self.dropped)

        def encode(values: tuple[Value, ...]) -> tuple[bytes | None, list[Header]]:
            headers: list[Header] = [
                ("message_id", fields.event_id(values[id_at])),
                ("event_name", fields.text(values[name_at], "event name")),
            ]
            if more is not None:
                headers += more(values)
            return fields.payload(values[payload_at]), headers

        return encode
