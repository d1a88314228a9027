"""Envelope `plain`, the default of layout native (DESIGN 4.2).

Headers, in this order: `event_id`, `event_name`, `content_type`, `created_at`, then the
row's own by name. A layout without a content type or time leaves that header out, and so
does a NULL in it.

Many rows are encoded by columns, a step of the interpreter for all of them, where none of them has
anything unusual; what is unusual, and every error, is left to the way of one row, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

from cdc.envelopes import fields
from cdc.envelopes.headed import EncodeAll, Headed, MakeHeaders, Values
from cdc.model import Encoded, Header, TableSchema

_ROLES = ("id", "name", "payload", "content_type", "headers", "timestamp")
_ID, _TIME = repeat("event_id"), repeat("created_at")
_AS_THEY_ARE = {bytes, type(None)}


class Plain(Headed):
    """Our own convention."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._named = fields.Remembered("event_name", "event name")
        self._typed = fields.Remembered("content_type", "content type")

    def _ours(self, table: TableSchema, columns: Mapping[str, str]) -> MakeHeaders:
        id_at, name_at = fields.required(table, columns, "id"), fields.required(table, columns, "name")
        type_at = fields.column(table, columns, "content_type")
        time_at = fields.column(table, columns, "timestamp")
        event_id, instant = fields.event_id, fields.instant
        named, typed = self._named, self._typed
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

    def _encode_all(self, table: TableSchema, columns: Mapping[str, str]) -> EncodeAll | None:
        """For rows as the native layout has them: all columns there, no headers of their own."""
        places = [fields.column(table, columns, role) for role in _ROLES]
        if not self.headers or self.inflate or None in places:
            return None
        of_columns = itemgetter(*[place for place in places if place is not None])
        names, types = self._named.known.get, self._typed.known.get

        def encode_all(rows: Sequence[Values]) -> Encoded | None:
            ids, events, payloads, kinds, own, times = of_columns([*zip(*rows, strict=True)])
            if own.count(None) != len(rows) or {*map(type, payloads)} - _AS_THEY_ARE:
                return None
            event_ids, instants = fields.event_ids(ids), fields.instants(times)
            named, typed = [*map(names, events)], [*map(types, kinds)]
            if event_ids is None or instants is None or None in named or None in typed:
                return None
            told = zip(zip(_ID, event_ids, strict=False), named, typed, zip(_TIME, instants, strict=False), strict=True)
            headers: list[list[Any]] = [*map(list, told)]
            return payloads, headers

        return encode_all
