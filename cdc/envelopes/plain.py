"""Envelope `plain`, the default of layout native (DESIGN 4.2).

Headers, in this order: `event_id`, `event_name`, `content_type`, `created_at`, then the
row's own by name. A layout without a content type or time leaves that header out, and so
does a NULL in it. `headers=False` sends the value alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from cdc.envelopes import fields
from cdc.model import Header, TableSchema, Value


class Plain:
    """`dropped` counts headers of rows that bore a name of ours."""

    row_key = True

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
        type_at = fields.column(table, columns, "content_type")
        time_at = fields.column(table, columns, "timestamp")
        headers_at = fields.column(table, columns, "headers")
        more = None if headers_at is None else fields.row_headers(headers_at, self.dropped)
        event_id, text, instant = fields.event_id, fields.text, fields.instant

        def encode(values: tuple[Value, ...]) -> tuple[bytes | None, list[Header]]:
            headers: list[Header] = [
                ("event_id", event_id(values[id_at])),
                ("event_name", text(values[name_at], "event name")),
            ]
            if type_at is not None and values[type_at] is not None:
                headers.append(("content_type", text(values[type_at], "content type")))
            if time_at is not None and values[time_at] is not None:
                headers.append(("created_at", instant(values[time_at])))
            if more is not None and values[headers_at] is not None:  # type: ignore[index]
                headers += more(values)
            return fields.payload(values[payload_at]), headers

        return encode
