"""Envelope `cqrs`, the default of layout cqrs (DESIGN 4.2): python-cqrs's own names.

Headers `message_id` and `event_name`, as its producer sends for Protobuf events, then the
row's own where the layout has such a column (python-cqrs's has none). Its producer sends
JSON events without any header: `headers=False` gives records equal to those. The payload
is its whole envelope, perhaps compressed or Protobuf and not flagged as that; it passes
as it is unless a route asks to inflate it.

The record has no key unless a route makes one, whatever the row has.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdc.envelopes import fields
from cdc.envelopes.headed import Headed, MakeHeaders
from cdc.model import TableSchema


class Cqrs(Headed):
    """python-cqrs's convention."""

    row_key = False

    def _ours(self, table: TableSchema, columns: Mapping[str, str]) -> MakeHeaders:
        id_at, name_at = fields.required(table, columns, "id"), fields.required(table, columns, "name")
        event_id, text = fields.event_id, fields.text
        return lambda values: [
            ("message_id", event_id(values[id_at])),
            ("event_name", text(values[name_at], "event name")),
        ]
