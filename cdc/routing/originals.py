"""What a row says of itself, for those who must name it or keep it although it could not become a record.

Nothing here raises: a row that is refused may be wrong in any column. What cannot be told
is None, or the bytes as they are.
"""

from __future__ import annotations

from uuid import UUID

import orjson

from cdc.model import Header, Original, Row, Value
from cdc.routing.layouts import Layout

_UUID = 16


def original(row: Row, layout: Layout) -> Original:
    """Read a row by its layout."""

    def value(role: str) -> Value:
        at = row.table.index.get(layout.columns.get(role, ""))
        return None if at is None else row.values[at]

    return Original(
        event_id=identity(value("id")),
        event_name=_text(value("name")),
        topic=_text(value("topic")),
        key=_bytes(value("key")),
        headers=_headers(value("headers")),
        payload=layout.columns.get("payload", ""),
    )


def identity(value: Value) -> str:
    """An event's id as text: BINARY(16) as a UUID (padded: the log cuts trailing zeros), other bytes in hexadecimal."""
    if isinstance(value, bytes):
        return str(UUID(bytes=value.ljust(_UUID, b"\0"))) if len(value) <= _UUID else value.hex()
    return str(value)


def _text(value: Value) -> str | None:
    if value is None:
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _bytes(value: Value) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode(errors="surrogatepass")


def _headers(value: Value) -> tuple[Header, ...]:
    """The row's headers by name; under the name `headers` what is no JSON object of texts."""
    raw = _bytes(value)
    if raw is None:
        return ()
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = raw
    if found is None:
        return ()
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        return (("headers", raw),)
    return tuple((name, found[name].encode()) for name in sorted(found))
