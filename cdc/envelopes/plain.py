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
        event_id, text, instant = fields.event_id, fields.text, fields.instant

        def ours(values: Values) -> list[Header]:
            name = values[name_at]  # text, where it is what it should be; a call less for each
            headers: list[Header] = [
                ("event_id", event_id(values[id_at])),
                ("event_name", name.encode() if name.__class__ is str else text(name, "event name")),
            ]
            if type_at is not None and (kind := values[type_at]) is not None:
                headers.append(("content_type", kind.encode() if kind.__class__ is str else text(kind, "content type")))
            if time_at is not None and values[time_at] is not None:
                headers.append(("created_at", instant(values[time_at])))
            return headers

        return ours
