"""What MariaDB compresses inside the log, and how it is opened without trusting its lengths. MySQL's way: `inflate`.

* MariaDB log_bin_compress (165 to 171): the body behind its fixed part is a head byte,
  the length (big endian) and zlib.
* MariaDB COMPRESSED columns: a head byte of method and length bytes, the length, deflate.

Every declared length is checked against what comes out, and nothing inflates further
than it declares.
"""

from __future__ import annotations

import zlib

_LARGEST = 1 << 30
"""No value, row or statement is larger: max_allowed_packet ends there on both servers."""
_ZLIB_METHOD = 8


def unpack(data: bytes) -> bytes:
    """MariaDB: head byte 0x80 | length bytes, the length, zlib. For rows and statements. Raises ValueError."""
    head = data[0]
    size = head & 7
    if head >> 4 != _ZLIB_METHOD or not 1 <= size <= 4:  # noqa: PLR2004
        raise ValueError(f"compressed by an unknown method ({head:#x})")
    return _inflate(data[1 + size :], int.from_bytes(data[1 : 1 + size], "big"), zlib.MAX_WBITS)


def length(data: bytes) -> int:
    """The length that the head of compressed rows declares."""
    return int.from_bytes(data[1 : 1 + (data[0] & 7)], "big")


def column(data: bytes) -> bytes:
    """The value of a MariaDB COMPRESSED column. Raises ValueError."""
    if not data:
        return data
    head = data[0]
    if head == 0:
        return data[1:]
    size = head & 7
    if head >> 4 != _ZLIB_METHOD or not 1 <= size <= 4:  # noqa: PLR2004
        raise ValueError(f"a COMPRESSED value of an unknown method ({head:#x})")
    bits = -zlib.MAX_WBITS if head & 8 else zlib.MAX_WBITS
    return _inflate(data[1 + size :], int.from_bytes(data[1 : 1 + size], "big"), bits)


def _inflate(data: bytes, length: int, bits: int) -> bytes:
    if length > _LARGEST:
        raise ValueError(f"{length} bytes declared for one compressed piece")
    machine = zlib.decompressobj(bits)
    try:
        out = machine.decompress(data, length + 1)
    except zlib.error as error:
        raise ValueError(f"compressed bytes that are none: {error}") from error
    if len(out) != length or not machine.eof:
        raise ValueError(f"compressed bytes that say they hold {length} bytes and do not")
    return out
