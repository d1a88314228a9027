"""Envelope `cloudevents`: CloudEvents 1.0 in Kafka's binary mode (DESIGN 4.2).

Attributes are headers `ce_...`; the payload is the data as it is, its type in
`content-type`. Row headers whose names can be attributes (small letters and digits)
become extensions, `ce_<name>`; the others stay what they are. A trace context is sent in
both forms, because tracers read the plain one.

Consumers take every header that begins with `ce_`, in any case, for an attribute, and fail on
one that cannot be. So a row's header of that kind passes only where it is an attribute that is
not ours; else it is dropped and counted, as names of ours are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import quote

from cdc.envelopes import fields
from cdc.envelopes.headed import Headed, MakeHeaders, Values
from cdc.errors import ValueInvalid
from cdc.model import Header, TableSchema

_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")
_TRACE = ("traceparent", "tracestate")
_OURS = ("specversion", "id", "type", "source", "time", "datacontenttype", "data", "key")
_NEVER_EMPTY = ("subject", "dataschema")
_PREFIX = "ce_"


class CloudEvents(Headed):
    """`ce_source` is `source`, or `/cdc/<name of the source>/<schema>.<table>`."""

    def __init__(
        self,
        *,
        source_name: str = "",
        source: str | None = None,
        headers: bool = True,
        created_at: bool = False,
        inflate: bool = False,
        dropped: Counter[str] | None = None,
    ) -> None:
        super().__init__(headers=headers, created_at=created_at, inflate=inflate, dropped=dropped)
        self._source_name, self._source = source_name, source

    def _ours(self, table: TableSchema, columns: Mapping[str, str]) -> MakeHeaders:
        id_at, name_at = fields.required(table, columns, "id"), fields.required(table, columns, "name")
        type_at = fields.column(table, columns, "content_type")
        time_at = fields.column(table, columns, "timestamp")
        source = self._source or f"/cdc/{self._source_name}/{quote(str(table))}"
        of_source = ("ce_source", source.encode())

        def ours(values: Values) -> list[Header]:
            headers: list[Header] = [
                ("ce_specversion", b"1.0"),
                ("ce_id", _not_empty(fields.event_id(values[id_at]), "event id")),
                ("ce_type", _not_empty(fields.text(values[name_at], "event name"), "event name")),
                of_source,
            ]
            if time_at is not None and values[time_at] is not None:
                headers.append(("ce_time", fields.instant(values[time_at])))
            if type_at is not None and values[type_at]:  # an empty one is no attribute
                headers.append(("content-type", fields.text(values[type_at], "content type")))
            return headers

        return ours

    def _theirs(self, headers_at: int) -> MakeHeaders:
        own, dropped = super()._theirs(headers_at), self.dropped

        def theirs(values: Values) -> list[Header]:
            out: list[Header] = []
            found = own(values)
            said = {name for name, _ in found}
            for name, value in found:
                folded = name.casefold()
                if folded.startswith(_PREFIX) or folded == "content-type":
                    if name.startswith(_PREFIX) and _is_attribute(name.removeprefix(_PREFIX), value):
                        out.append((name, value))
                    else:
                        dropped[name] += 1
                    continue
                attribute = _is_attribute(name, value) and _PREFIX + name not in said
                if not attribute or name in _TRACE:
                    out.append((name, value))
                if attribute:
                    out.append((_PREFIX + name, value))
            return out

        return theirs


def _is_attribute(name: str, value: bytes | None) -> bool:
    """May this be an attribute beside ours?"""
    return bool(_ATTRIBUTE.fullmatch(name)) and name not in _OURS and not (name in _NEVER_EMPTY and not value)


def _not_empty(text: bytes, what: str) -> bytes:
    if not text:
        raise ValueInvalid(f"the {what} is empty, which CloudEvents does not allow", hint="Correct the row's writer.")
    return text
