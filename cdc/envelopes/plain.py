"""Envelope `plain`, the default of layout native (DESIGN 4.2).

Headers, in this order: `event_id`, `event_name`, `content_type`, `created_at`, then the
row's own by name. A layout without a content type or time leaves that header out, and so
does a NULL in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdc.envelopes import fields
from cdc.envelopes.headed import Headed, MakeHeaders, Values
from cdc.model import Header, TableSchema


class Plain(Headed):
    """Our own convention."""

    def _ours(self, table: TableSchema, columns: Mapping[str, str]) -> MakeHeaders:
        id_at, name_at = fields.required(table, columns, "id"), fields.required(table, columns, "name")
        type_at = fields.column(table, columns, "content_type")
        time_at = fields.column(table, columns, "timestamp")
        event_id, instant = fields.event_id, fields.instant
        named = fields.Remembered("event_name", "event name")
        typed = fields.Remembered("content_type", "content type")
        names, types = named.known, typed.known

        def ours(values: Values) -> list[Header]:
            name = values[name_at]  # few names and types come again and again: their headers are made once
            headers: list[Header] = [
                ("event_id", event_id(values[id_at])),
                names.get(name) or named.make(name),
            ]
            if type_at is not None and (kind := values[type_at]) is not None:
                headers.append(types.get(kind) or typed.make(kind))
            if time_at is not None and (time := values[time_at]) is not None:
                headers.append(("created_at", instant(time)))
            return headers

        return ours
