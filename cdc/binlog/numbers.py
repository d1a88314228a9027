"""DECIMAL of the log, and of JSON's opaque values, as text with all digits of its scale.

Nine decimal digits lie in four bytes, big endian, the rest of either side in as few as
they need. The first bit is inverted and, for a negative number, all others too.
"""

from __future__ import annotations

from functools import cache

_SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_MOST_DIGITS = 65


@cache
def decimal_shape(precision: int, scale: int) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """(bytes, digits) of each group, how many groups are before the point, and the bytes of all."""
    whole = precision - scale
    if not 0 <= scale <= precision <= _MOST_DIGITS or precision == 0:
        raise ValueError(f"DECIMAL({precision},{scale})")
    before = ([(_SIZES[whole % 9], whole % 9)] if whole % 9 else []) + [(4, 9)] * (whole // 9)
    after = [(4, 9)] * (scale // 9) + ([(_SIZES[scale % 9], scale % 9)] if scale % 9 else [])
    groups = tuple(before + after)
    return groups, len(before), sum(size for size, _ in groups)


def decimal(data: bytes, precision: int, scale: int) -> str:
    """Bytes to text: `-0.00001`. Raises ValueError."""
    groups, before, size = decimal_shape(precision, scale)
    if len(data) != size:
        raise ValueError(f"a DECIMAL({precision},{scale}) of {len(data)} bytes")
    negative = data[0] < 128  # noqa: PLR2004 - the inverted sign bit
    data = bytes([data[0] ^ 128]) + data[1:]
    if negative:
        data = bytes(byte ^ 255 for byte in data)
    texts, at = [], 0
    for width, digits in groups:
        text = f"{int.from_bytes(data[at : at + width], 'big'):0{digits}}"
        if len(text) > digits:
            raise ValueError("a DECIMAL with more digits than it may have")
        texts.append(text)
        at += width
    whole = "".join(texts[:before]).lstrip("0") or "0"
    rest = "".join(texts[before:])
    sign = "-" if negative else ""
    return f"{sign}{whole}.{rest}" if rest else sign + whole
