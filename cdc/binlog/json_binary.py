"""MySQL's binary JSON to JSON text equal in value to what the server would print.

A document is a type byte and a value. Objects and arrays are a count, a size, then
entries; what fits is inlined in its entry (integers of 16 bits; of 32 in the large
form), all else is found by an offset from the container's begin. DECIMAL, dates and
times, and SQL bytes are `opaque` values with the SQL type in front: the first becomes a
number with all its digits, times the server's text, the rest `base64:typeN:...`.

Offsets in garbage may point anywhere, so that a few bytes could stand for very many
values: every entry and every byte of text is paid for from a budget of the document's
own length, which no real document exceeds.
"""

from __future__ import annotations

import base64
import struct
from json.encoder import encode_basestring as _quote

from cdc.binlog.numbers import decimal
from cdc.binlog.table_map import DATE, DATETIME, NEWDECIMAL, TIME, TIMESTAMP

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY, _LITERAL = 0, 1, 2, 3, 4
_STRING, _OPAQUE = 12, 15
_LITERALS = {0: "null", 1: "true", 2: "false"}
_NUMBERS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q", 11: "<d"}
_INLINED, _INLINED_LARGE = frozenset((4, 5, 6)), frozenset((4, 5, 6, 7, 8))
_DEEPEST = 101
_SHORT = 127


def text_of(data: bytes) -> str:
    """The document as JSON text. Raises ValueError, IndexError or struct.error on bytes that are none."""
    if not data:
        return "null"  # the server's own rule for a value without bytes
    if data[0] == _SMALL_OBJECT and 0 < data[1] <= _FLAT_KEYS and (text := _flat(data)):
        return text
    return _Document(data).value(data[0], 1, 0)


_FLAT_KEYS = 8
_FLAT = tuple(struct.Struct("<xHH" + "HH" * n + "BH" * n).unpack_from for n in range(_FLAT_KEYS + 1))


def _flat(data: bytes) -> str | None:
    """The short way for what headers mostly are, a few short strings; None where it is anything else."""
    count = data[1]
    fields, parts, cost = _FLAT[count](data), [], 0
    if fields[0] != count:
        return None
    for i in range(2, 2 + 2 * count, 2):
        key, key_size, kind, at = fields[i], fields[i + 1], fields[i + 2 * count], fields[i + 1 + 2 * count]
        if kind != _STRING or (size := data[at + 1]) > _SHORT:
            return None
        key, at = key + 1, at + 2
        if key + key_size > len(data) or at + size > len(data):
            raise ValueError("a JSON value that is cut off")
        cost += key_size + size
        parts.append(_quote(data[key : key + key_size].decode()) + ": " + _quote(data[at : at + size].decode()))
    if cost > len(data):
        raise ValueError("a JSON value that points into itself")
    return "{" + ", ".join(parts) + "}"


class _Document:
    """One document and what it may still cost."""

    __slots__ = ("budget", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.budget = len(data)

    def pay(self, cost: int) -> None:
        self.budget -= cost
        if self.budget < 0:
            raise ValueError("a JSON value that points into itself")

    def value(self, kind: int, at: int, depth: int) -> str:
        """The value of a type that begins at `at`."""
        if kind == _STRING:
            return self.string(at)
        if kind <= _LARGE_ARRAY:
            return self.container(kind, at, depth + 1)
        if kind == _LITERAL:
            return _literal(self.data[at])
        if kind == _OPAQUE:
            return self.opaque(at)
        if kind in _NUMBERS:
            return repr(struct.unpack_from(_NUMBERS[kind], self.data, at)[0])
        raise ValueError(f"a JSON value of type {kind}")

    def string(self, at: int) -> str:
        size, at = self.length(at)
        return _quote(self.cut(at, size).decode())

    def length(self, at: int) -> tuple[int, int]:
        """Seven bits a byte, the lowest first; the eighth says there is more."""
        size = 0
        for shift in range(0, 35, 7):
            byte, at = self.data[at], at + 1
            size |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004
                return size, at
        raise ValueError("a JSON length without end")

    def cut(self, at: int, size: int) -> bytes:
        if at + size > len(self.data):
            raise ValueError("a JSON value that is cut off")
        self.pay(size)
        return self.data[at : at + size]

    def container(self, kind: int, start: int, depth: int) -> str:
        """An object or array."""
        if depth > _DEEPEST:
            raise ValueError("JSON deeper than a server stores")
        large, is_object = kind in (_LARGE_OBJECT, _LARGE_ARRAY), kind <= _LARGE_OBJECT
        width, number = (4, "<I") if large else (2, "<H")
        (count,) = struct.unpack_from(number, self.data, start)
        self.pay(count * (3 if not large else 5))
        at = start + 2 * width
        keys: list[str] = []
        if is_object:
            for _ in range(count):
                (offset,) = struct.unpack_from(number, self.data, at)
                (size,) = struct.unpack_from("<H", self.data, at + width)
                keys.append(_quote(self.cut(start + offset, size).decode()))
                at += width + 2
        values = []
        for _ in range(count):
            item = self.data[at]
            if item in (_INLINED_LARGE if large else _INLINED):
                values.append(self.value(item, at + 1, depth))
            else:
                (offset,) = struct.unpack_from(number, self.data, at + 1)
                values.append(self.value(item, start + offset, depth))
            at += 1 + width
        if is_object:
            return "{" + ", ".join([f"{k}: {v}" for k, v in zip(keys, values, strict=True)]) + "}"
        return "[" + ", ".join(values) + "]"

    def opaque(self, at: int) -> str:
        """SQL type, length, bytes."""
        kind = self.data[at]
        size, at = self.length(at + 1)
        raw = self.cut(at, size)
        if kind == NEWDECIMAL:
            return decimal(raw[2:], raw[0], raw[1])
        if kind in (DATE, DATETIME, TIMESTAMP, TIME):
            return f'"{_moment(kind, int.from_bytes(raw, "little", signed=True))}"'
        return f'"base64:type{kind}:{base64.b64encode(raw).decode()}"'


def _literal(byte: int) -> str:
    if byte not in _LITERALS:
        raise ValueError(f"a JSON literal {byte}")
    return _LITERALS[byte]


def _moment(kind: int, packed: int) -> str:
    """The server's packed form: the parts above 24 bits of microseconds."""
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    whole, micros = packed >> 24, packed & 0xFFFFFF
    clock = f"{whole >> 6 & 63:02}:{whole & 63:02}.{micros:06}"
    if kind == TIME:
        return f"{sign}{whole >> 12 & 1023:02}:{clock}"
    year_month = whole >> 22
    day = f"{year_month // 13:04}-{year_month % 13:02}-{whole >> 17 & 31:02}"
    return day if kind == DATE else f"{day} {whole >> 12 & 31:02}:{clock}"
