"""Column values as the texts and bytes that envelopes are made of.

All of them raise ValueInvalid for what a record cannot carry; none re-encodes a payload.
Order and names of the row's own headers: byte order of names (Python's order of text is
that of its UTF-8 bytes), after ours; names of ours are dropped and counted, because a
consumer must be able to trust them. They are the names that the write library refuses,
those of all envelopes, so that a change of the route never changes what a row may say.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from binascii import hexlify
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import orjson

from cdc.errors import ColumnMissing, ValueInvalid
from cdc.model import Header, TableSchema, Value
from cdc.outbox.row import RESERVED_HEADERS

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}")
_FRACTION = len(".123456")
_DIGITS = re.compile(r"[0-9]+\Z").match
_UUID = 16
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_UUID_PARTS = struct.Struct("8s4s4s4s12s")
_uuid_parts = _UUID_PARTS.unpack
_TIME_PARTS = struct.Struct("19sx6s")
_MICROSECONDS = _TIME_PARTS.size
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_MOST_INFLATED = 64 * 1024 * 1024
_MOST_REMEMBERED = 1024
_HEADERS_HINT = "The headers column holds a JSON object whose names and values are text."


def column(table: TableSchema, columns: Mapping[str, str], role: str) -> int | None:
    """Where the column of a role is; None where the layout or the table has none."""
    return table.index.get(columns.get(role, ""))


def required(table: TableSchema, columns: Mapping[str, str], role: str) -> int:
    """Where the column of a role is. Raises ColumnMissing."""
    at = column(table, columns, role)
    if at is None:
        named = repr(columns[role]) if role in columns else f"for the role {role}"
        raise ColumnMissing(
            f"table {table} has no column {named}, which its records need",
            hint="Correct the table's `layout`, `columns` or `envelope` in the configuration.",
        )
    return at


def key(at: int) -> Callable[[tuple[Value, ...]], bytes | None]:
    """A function from a row's values to its own key."""

    def key(values: tuple[Value, ...]) -> bytes | None:
        value = values[at]
        if value is None or isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, int):
            return b"%d" % value
        raise ValueInvalid(
            f"the row's key is a {type(value).__name__}, and a key is text, bytes or an integer",
            hint="Map another column to the role `key`.",
        )

    return key


def event_id(value: Value) -> bytes:
    """An id as text: BINARY(16) as a dashed UUID (padded: trailing zeros may be cut), text and integers as they are."""
    if isinstance(value, bytes):
        if len(value) > _UUID:
            return value.hex().encode()
        return b"-".join(_uuid_parts(hexlify(value if len(value) == _UUID else value.ljust(_UUID, b"\0"))))
    return text(value, "event id")


def text(value: Value, what: str) -> bytes:
    """Text as UTF-8; bytes must already be it."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, bytes):
        return value
    is_what = "NULL" if value is None else f"a {type(value).__name__}"
    raise ValueInvalid(f"the {what} is {is_what}", hint="Correct the row's writer, or the table's `columns`.")


class Remembered:
    """Headers of one name whose texts come again and again; `known` has them by the column's value."""

    __slots__ = ("_name", "_what", "known")

    def __init__(self, name: str, what: str) -> None:
        self._name, self._what = name, what
        self.known: dict[Value, Header] = {}

    def make(self, value: Value) -> Header:
        """The header of a value that is not known yet. Raises ValueInvalid."""
        header = self._name, text(value, self._what)
        if value.__class__ is str:  # 1, 1.0 and True are one key, and not one text
            if len(self.known) >= _MOST_REMEMBERED:
                self.known.clear()
            self.known[value] = header
        return header


def instant(value: Value) -> bytes:
    """A DATETIME or TIMESTAMP text as RFC 3339, UTC, with microseconds."""
    if isinstance(value, str):
        second, rest = _second(value[:19]), value[19:]
        if second and len(rest) == _FRACTION and rest[0] == "." and rest.isascii() and rest[1:].isdecimal():
            return f"{second}{rest}Z".encode()  # a DATETIME(6), as the native layout has it
        rest = rest.removesuffix("Z")
        if second and (not rest or (rest[0] == "." and len(rest) <= _FRACTION and _DIGITS(rest, 1))):
            return f"{second}.{rest[1:]:0<6}Z".encode()
    raise ValueInvalid(
        f"the row's time is not a point in time: {str(value)[:40]!r}",
        hint="Correct the row's writer, or map a DATETIME or TIMESTAMP column to the role `timestamp`.",
    )


def event_ids(values: Sequence[Value]) -> Iterable[bytes] | None:
    """`event_id` of many BINARY(16); None where one is anything else."""
    try:
        joined = b"".join(values)  # type: ignore[arg-type]  # refused below
    except TypeError:
        return None
    if {*map(len, values)} != {_UUID}:  # type: ignore[arg-type]  # they are bytes
        return None
    return map(b"-".join, _UUID_PARTS.iter_unpack(hexlify(joined)))


def instants(values: Sequence[Value]) -> Iterable[bytes] | None:
    """`instant` of many times with microseconds; None where one is anything else."""
    count = len(values)
    try:
        joined = "".join(values).encode("ascii")  # type: ignore[arg-type]  # refused here
    except (TypeError, UnicodeEncodeError):
        return None
    if {*map(len, values)} != {_MICROSECONDS}:  # type: ignore[arg-type]  # they are text
        return None
    seconds, digits = zip(*_TIME_PARTS.iter_unpack(joined), strict=True)
    if joined[19::_MICROSECONDS] != b"." * count or not b"".join(digits).isdigit():
        return None
    known = {second: _second(second.decode()).encode() for second in {*seconds}}
    if b"" in known.values():
        return None
    return [b"%b.%bZ" % told for told in zip(map(known.__getitem__, seconds), digits, strict=True)]


@lru_cache(maxsize=256)
def _second(text: str) -> str:
    """The time without its fraction, empty if it is none; rows of one second come together, so few are looked at."""
    if not _TIME.fullmatch(text) or text.startswith("0000") or "-00" in text[:10]:
        return ""
    return f"{text[:10]}T{text[11:]}"


def not_later_than_now(at: int) -> Callable[[tuple[Value, ...]], int | None]:
    """A function from a row's values to its time in milliseconds since 1970; None where it is NULL."""

    def timestamp(values: tuple[Value, ...]) -> int | None:
        value = values[at]
        if value is None:
            return None
        moment = datetime.fromisoformat(instant(value).decode())
        milliseconds = (moment - _EPOCH) // _MILLISECOND
        if milliseconds < 0:
            raise ValueInvalid(
                f"the row's time is before 1970, which no record's timestamp can be: {str(value)[:40]!r}",
                hint="Correct the row's writer, or let records carry their publish time: `timestamp: publish`.",
            )
        return min(milliseconds, int(time.time() * 1000))

    return timestamp


def inflated(value: Value) -> bytes | None:
    """The payload, unpacked where it is zlib; what only looks like it passes as it is."""
    packed = payload(value)
    if packed is None or packed[:2] not in _ZLIB:
        return packed
    unpacking = zlib.decompressobj()
    try:
        out = unpacking.decompress(packed, _MOST_INFLATED)
    except zlib.error:
        return packed
    if unpacking.unconsumed_tail:
        raise ValueInvalid(
            f"the payload is of more than {_MOST_INFLATED >> 20} MiB when it is inflated",
            hint="Send it as it is: remove `inflate` from the route or table.",
        )
    return out if unpacking.eof and not unpacking.unused_data else packed


def payload(value: Value) -> bytes | None:
    """The record's value: bytes as they are, text as UTF-8, NULL a tombstone."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise ValueInvalid(
        f"the payload column holds a {type(value).__name__}, and a payload is text, JSON or bytes",
        hint="Map another column to the role `payload`.",
    )


def row_headers(at: int, dropped: Counter[str]) -> Callable[[tuple[Value, ...]], list[Header]]:
    """A function from a row's values to the row's own headers, those that bear a name of ours left out."""

    def headers(values: tuple[Value, ...]) -> list[Header]:
        value = values[at]
        if value is None:
            return []
        try:
            found = orjson.loads(value)  # type: ignore[arg-type]
        except orjson.JSONDecodeError as error:
            raise ValueInvalid(f"the row's headers are not JSON: {error}", hint=_HEADERS_HINT) from error
        if found is None:
            return []  # what SQLAlchemy's JSON type makes of None
        if not isinstance(found, dict):
            raise ValueInvalid("the row's headers are not a JSON object", hint=_HEADERS_HINT)
        out: list[Header] = []
        for name in sorted(found):
            text = found[name]
            if not isinstance(text, str):
                raise ValueInvalid(f"the row's header {name[:80]!r} is not text", hint=_HEADERS_HINT)
            if name in RESERVED_HEADERS:
                dropped[name] += 1
            else:
                out.append((name, text.encode()))
        return out

    return headers
