"""Dates and times of the log as ISO 8601 text, with the digits of fraction the column has.

The new formats (17, 18, 19: MySQL 5.6+, MariaDB 10.1+) are big endian, so that bytes sort;
their fraction is 1 to 3 bytes of 1/100, 1/10000 or microseconds. The old ones (7, 11, 12)
are little endian; MariaDB's own old formats with a fraction have the same type numbers
and nothing in the log says so, hence every old value is checked to be a real date: then a
row of such a table is refused instead of read wrongly.

Zero dates and zero parts come as they are. TIMESTAMP is UTC; second 0 is the zero date.
Rows of one moment come together: the text up to the second is kept for the next ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

FRACTION_BYTES = (0, 1, 1, 2, 2, 3, 3)
"""Bytes that hold a fraction of so many digits."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED = 8192
seconds: dict[int, str] = {}
_hours: dict[int, str] = {}
_PACKED_MINUTES = {m << 6 | s: f"{m:02}:{s:02}" for m in range(60) for s in range(60)}
_MINUTES = tuple(f"{i // 60:02}:{i % 60:02}" for i in range(3600))
_DATETIME_OFFSET, _TIME_OFFSET = 0x8000000000, 0x800000


def datetime2_seconds(packed: int) -> str:
    """The five bytes of a DATETIME as text, kept in `seconds` for the next row of the same second."""
    moment = packed - _DATETIME_OFFSET
    year_month, day, hour = moment >> 22, moment >> 17 & 31, moment >> 12 & 31
    if moment < 0 or hour > 23:  # noqa: PLR2004
        raise ValueError("a DATETIME that is none")
    if len(seconds) >= _CACHED:
        seconds.clear()
    day_text = f"{year_month // 13:04}-{year_month % 13:02}-{day:02}"
    text = seconds[packed] = f"{day_text} {hour:02}:{_PACKED_MINUTES[moment & 4095]}"
    return text


def datetime2(data: bytes, digits: int) -> str:
    """DATETIME(n), 5 bytes and the fraction."""
    packed = int.from_bytes(data[:5], "big")
    text = seconds.get(packed) or datetime2_seconds(packed)
    return text + fraction(data[5:], digits) if digits else text


def timestamp2(data: bytes, digits: int) -> str:
    """TIMESTAMP(n) in UTC, 4 bytes of unsigned seconds and the fraction."""
    text = timestamp_text(int.from_bytes(data[:4], "big"))
    return text + fraction(data[4:], digits) if digits else text


def timestamp_text(unix: int) -> str:
    """Seconds since 1970 as text; 0 is the zero date."""
    if not unix:
        return "0000-00-00 00:00:00"
    hour = unix // 3600
    head = _hours.get(hour)
    if head is None:
        if len(_hours) >= _CACHED:
            _hours.clear()
        head = _hours[hour] = (_EPOCH + timedelta(hours=hour)).strftime("%Y-%m-%d %H:")
    return head + _MINUTES[unix % 3600]


def fraction(data: bytes, digits: int) -> str:
    """`.345`; the stored number has an even count of digits."""
    size = len(data)
    number = int.from_bytes(data, "big")
    text = f"{number:0{2 * size}}"
    if len(text) > 2 * size:
        raise ValueError("a fraction of more than a second")
    return "." + text[:digits]


def time2(data: bytes, digits: int) -> str:
    """TIME(n): 3 bytes and the fraction, all of it one number with an offset, so that negative ones sort."""
    size = len(data) - 3
    number = int.from_bytes(data, "big") - (_TIME_OFFSET << 8 * size)
    sign, number = ("-", -number) if number < 0 else ("", number)
    whole, rest = number >> 8 * size, number & ((1 << 8 * size) - 1)
    text = f"{sign}{whole >> 12 & 1023:02}:{whole >> 6 & 63:02}:{whole & 63:02}"
    return text + fraction(rest.to_bytes(size, "big"), digits) if digits else text


def date(data: bytes) -> str:
    """DATE, 3 bytes."""
    number = int.from_bytes(data, "little")
    return f"{number >> 9:04}-{number >> 5 & 15:02}-{number & 31:02}"


def year(number: int) -> int:
    """YEAR: 0 is 0, else counted from 1900."""
    return number and 1900 + number


def old_datetime(data: bytes) -> str:
    """DATETIME before 5.6: the decimal number yyyymmddhhmmss in 8 bytes."""
    day, clock = divmod(int.from_bytes(data, "little"), 1_000_000)
    parts = (day // 10000, day // 100 % 100, day % 100, clock // 10000, clock // 100 % 100, clock % 100)
    if parts[0] > 9999 or parts[1] > 12 or parts[2] > 31 or parts[3] > 23 or parts[4] > 59 or parts[5] > 59:  # noqa: PLR2004
        raise ValueError("a DATETIME of an old format that is not the plain one")
    return "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*parts)


def old_time(data: bytes) -> str:
    """TIME before 5.6: the decimal number hhmmss in 3 signed bytes."""
    number = int.from_bytes(data, "little", signed=True)
    sign, number = ("-", -number) if number < 0 else ("", number)
    if number > 8385959 or number // 100 % 100 > 59 or number % 100 > 59:  # noqa: PLR2004
        raise ValueError("a TIME of an old format that is not the plain one")
    return f"{sign}{number // 10000:02}:{number // 100 % 100:02}:{number % 100:02}"


def old_timestamp(data: bytes) -> str:
    """TIMESTAMP before 5.6: 4 bytes of seconds."""
    return timestamp_text(int.from_bytes(data, "little"))
