r"""Texts as Java and Jackson write them: what Kafka Connect's converters put on the wire.

`json_text` is JsonConverter without schemas; `plain_text` is `toString()`, which
StringConverter sends; `header_text` is what SimpleHeaderConverter makes. Jackson escapes
characters beyond U+FFFF as two `\uXXXX` in capitals; Java writes doubles from 1e7 on,
and below 1e-3, with an E.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cdc.envelopes.connect_types import Array, Struct, Type
from cdc.errors import ValueInvalid

_SPECIAL = re.compile(r'["\\\x00-\x1f\U00010000-\U0010ffff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BMP = 0x10000
_PLAIN_FROM, _PLAIN_TO = 1e-3, 1e7
_DAY = 86_400_000
_FLOAT_DIGITS = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def quoted(text: str) -> str:
    """A JSON string."""
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if short := _SHORT.get(char):
        return short
    code = ord(char)
    if code < _BMP:
        return f"\\u{code:04X}"
    return f"\\u{0xD800 + (code - _BMP >> 10):04X}\\u{0xDC00 + (code & 0x3FF):04X}"


def double(number: float) -> str:
    """`Double.toString`."""
    return _java(number, repr(number))


def single(number: float) -> str:
    """`Float.toString`: the fewest digits that give the same 32 bits."""
    bits = struct.pack("<f", number)
    for digits in range(1, _FLOAT_DIGITS):
        text = f"{number:.{digits}g}"
        if struct.pack("<f", float(text)) == bits:
            return _java(number, text)
    return _java(number, f"{number:.{_FLOAT_DIGITS}g}")


def _java(number: float, text: str) -> str:
    if math.isinf(number) or math.isnan(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    exact = Decimal(text)
    if not number or _PLAIN_FROM <= abs(number) < _PLAIN_TO:
        plain = format(exact, "f")
        return plain if "." in plain else f"{plain}.0"
    sign, figures, _ = exact.as_tuple()
    figure = "".join(map(str, figures)).rstrip("0")
    return f"{'-' * sign}{figure[0]}.{figure[1:] or '0'}E{exact.adjusted()}"


def _unscaled(number: Decimal) -> bytes:
    """The digits as a signed number of as few bytes as hold it."""
    sign, figures, _ = number.as_tuple()
    value = int("".join(map(str, figures)))
    value = -value if sign else value
    return value.to_bytes(((value if value >= 0 else ~value).bit_length() // 8) + 1, "big", signed=True)


def json_text(type_: Type, value: Any) -> str:
    """JSON as JsonConverter writes it without schemas."""
    if value is None:
        return "null"
    if isinstance(type_, Struct):
        fields = (f"{quoted(name)}:{json_text(of, value.get(name))}" for name, of in type_.fields)
        return "{" + ",".join(fields) + "}"
    if isinstance(type_, Array):
        return "[" + ",".join(json_text(type_.item, item) for item in value) + "]"
    if type_ in ("bytes", "decimal"):
        value = base64.b64encode(_unscaled(value) if type_ == "decimal" else value).decode()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'"{double(value)}"'
    return _number(type_, value)


def _number(type_: Type, value: Any) -> str:
    if isinstance(value, float):
        return single(value) if type_ == "float32" else double(value)
    return str(value).lower() if type_ == "boolean" else str(value)


def plain_text(type_: Type, value: Any) -> str:
    """`toString()` of a Java value."""
    if isinstance(type_, Struct):
        fields = (
            f"{name}={plain_text(of, found)}" for name, of in type_.fields if (found := value.get(name)) is not None
        )
        return "Struct{" + ",".join(fields) + "}"
    if isinstance(type_, Array):
        return "[" + ", ".join("null" if item is None else plain_text(type_.item, item) for item in value) + "]"
    if type_ == "string":
        return value  # type: ignore[no-any-return]
    if type_ in ("bytes", "date", "time", "moment"):
        raise ValueInvalid(
            f"StringConverter has no text for a value of Connect type {type_}",
            hint="Use binary.handling.mode for bytes, time.precision.mode: isostring for times, or another converter.",
        )
    return _number(type_, value)


def header_text(type_: Type, value: Any) -> str:
    """What SimpleHeaderConverter makes of a single value."""
    if type_ == "bytes":
        return base64.b64encode(value).decode()
    if type_ == "date":
        return _moment(value * _DAY)
    if type_ == "time":
        return _clock(value)
    return _moment(value) if type_ == "moment" else plain_text(type_, value)


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(abs(milliseconds), 1000)
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}Z"


def _moment(milliseconds: int) -> str:
    """Java shows what lies on midnight as a date."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    if milliseconds % _DAY == 0:
        return moment.date().isoformat()
    return f"{moment.date().isoformat()}T{moment:%H:%M:%S}.{moment.microsecond // 1000:03}Z"
