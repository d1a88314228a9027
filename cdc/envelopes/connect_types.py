"""Column values as Kafka Connect holds them: what Debezium's connectors make of each SQL type.

A Connect type is a word, a `Struct` or an `Array`. Words: string, boolean, int16, int32,
int64, float32, float64, bytes, decimal, and for `time.precision.mode: connect` date, time
and moment (in Java objects of one class, whose text depends on their value).

The modes are the connectors' options of the same names. Ours is right where theirs is not:
BIGINT UNSIGNED keeps its value beyond 2^63, negative times and those of a day and more
are no NULLs, years before 100 stay what they are. A MariaDB UUID is BINARY(16) in the log.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from cdc.errors import ValueInvalid
from cdc.model import Column

Type: TypeAlias = "str | Struct | Array"
Read = Callable[[Any], Any]
"""A value that is not NULL to what Connect holds; None for what it has no value for (a zero date)."""

_SQL = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?( unsigned)?")
_TIME = re.compile(r"(-?)(\d{2,3}):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
_BLANKS = re.compile(r'("(?:[^"\\]|\\.)*")|([:,]) ')
_EPOCH = date(1970, 1, 1).toordinal()
_MILLISECONDS = 3
_INTEGERS = {
    "tinyint": "int16",
    "smallint": "int16",
    "smallint unsigned": "int32",
    "mediumint": "int32",
    "mediumint unsigned": "int32",
    "int": "int32",
    "year": "int32",
}


@dataclass(frozen=True, slots=True)
class Struct:
    """Named fields; a field without a value is null."""

    fields: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True)
class Array:
    """Values of one type."""

    item: Type


@dataclass(frozen=True, slots=True)
class Modes:
    """The connector's options that decide on types."""

    binary: str = "bytes"
    decimal: str = "precise"
    unsigned: str = "long"
    time: str = "adaptive_time_microseconds"


@dataclass(frozen=True, slots=True)
class Typed:
    """What a column's values become."""

    type: Type
    read: Read


def typed(column: Column, modes: Modes) -> Typed:
    """The Connect type of a column, and how its values become it."""
    found = _SQL.match(column.type)
    name, digits, unsigned = (found[1], int(found[2] or 0), bool(found[4])) if found else ("", 0, False)
    if column.kind == "integer":
        return _integer(name, digits, modes, unsigned=unsigned)
    if column.kind == "float":
        return Typed("float32" if name == "float" else "float64", _same)
    if column.kind == "decimal":
        ways = {"string": Typed("string", str), "double": Typed("float64", float)}
        return ways.get(modes.decimal) or Typed("decimal", Decimal)
    if column.kind == "binary":
        return _bytes(modes, _same)
    if column.kind == "temporal":
        return _temporal(name, digits, modes)
    return Typed("string", _compact if column.kind == "json" else _same)


def _same(value: Any) -> Any:
    return value


def _integer(name: str, digits: int, modes: Modes, *, unsigned: bool) -> Typed:
    if name == "bit":
        if digits == 1:
            return Typed("boolean", bool)
        return _bytes(modes, lambda value: value.to_bytes((digits + 7) // 8, "little"))
    if name == "bigint" and unsigned and modes.unsigned == "precise":
        return Typed("decimal", Decimal)
    return Typed(_INTEGERS.get(name + " unsigned" * unsigned) or ("int16" if name == "tinyint" else "int64"), _same)


def _bytes(modes: Modes, read: Read) -> Typed:
    texts: Mapping[str, Callable[[bytes], str]] = {
        "base64": lambda data: base64.b64encode(data).decode(),
        "base64-url-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
        "hex": bytes.hex,
    }
    text = texts.get(modes.binary)
    return Typed("bytes", read) if text is None else Typed("string", lambda value: text(read(value)))


def _compact(value: Any) -> str:
    """JSON text of MySQL without the blanks the server puts in."""
    return _BLANKS.sub(lambda found: found[1] or found[2], value)


# -- times -----------------------------------------------------------------------------------


def _temporal(name: str, digits: int, modes: Modes) -> Typed:
    ways = {
        "date": {"": Typed("int32", days), "connect": Typed("date", days), "isostring": Typed("string", _iso_date)},
        "time": {
            "": Typed("int64", microseconds_of_time),
            "connect": Typed("time", lambda value: _down(microseconds_of_time(value), 1000)),
            "isostring": Typed("string", lambda value: f"{value}Z"),
        },
        "datetime": {
            "": Typed("int64", milliseconds if digits <= _MILLISECONDS else microseconds),
            "connect": Typed("moment", milliseconds),
            "isostring": Typed("string", _iso_moment),
        },
    }
    if name == "timestamp":
        return Typed("string", _iso_moment)
    if name not in ways:
        return Typed("string", _iso_moment)
    return ways[name].get(modes.time) or ways[name][""]


def _down(number: int | None, by: int) -> int | None:
    return None if number is None else number // by


@lru_cache(maxsize=1024)
def days(value: str) -> int | None:
    """Days since 1970 of the date a text begins with; None where it is none (a zero date)."""
    try:
        return date(int(value[:4]), int(value[5:7]), int(value[8:10])).toordinal() - _EPOCH
    except ValueError:
        return None


def microseconds_of_time(value: Any) -> int:
    """A TIME, which may be negative or of more than a day."""
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueInvalid(f"a time of the row is none: {str(value)[:40]!r}")
    sign, hours, minutes, seconds, rest = found.groups()
    count = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000 + int(f"{rest or 0:0<6}")
    return -count if sign else count


def microseconds(value: Any) -> int | None:
    """A DATETIME (or TIMESTAMP, which is UTC) since 1970."""
    day = days(value[:10])
    return None if day is None else day * 86_400_000_000 + microseconds_of_time(value[11:])


def milliseconds(value: Any) -> int | None:
    """The same, whole milliseconds."""
    return _down(microseconds(value), 1000)


def _iso_date(value: Any) -> str | None:
    return None if days(value) is None else f"{value}Z"


def _iso_moment(value: Any) -> str | None:
    return None if days(value[:10]) is None else f"{value[:10]}T{value[11:]}Z"
