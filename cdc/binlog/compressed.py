"""What the servers compress inside the log, and how it is opened without trusting its lengths.

* MySQL TRANSACTION_PAYLOAD (40): a whole transaction's events, zstd in one or several
  frames, or plain; opened piece by piece, since it may be far larger than the event.
* MariaDB log_bin_compress (165 to 171): the body behind its fixed part is a head byte,
  the length (big endian) and zlib.
* MariaDB COMPRESSED columns: a head byte of method and length bytes, the length, deflate.

Every declared length is checked against what comes out, and nothing inflates further
than it declares.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import zstandard

from cdc.binlog.events import lenenc

_ZSTD, _NONE = 0, 255
_PIECE = 1 << 20
_LARGEST = 1 << 30
"""No value, row or statement is larger: max_allowed_packet ends there on both servers."""
_ZLIB_METHOD = 8


def payload(body: bytes) -> Iterator[bytes]:
    """The bytes of the events inside a TRANSACTION_PAYLOAD, in pieces. Raises ValueError."""
    at, method, size, whole = 0, _NONE, None, None
    while True:
        field, at = lenenc(body, at)
        if field == 0:
            break
        length, at = lenenc(body, at)
        number = lenenc(body, at)[0]
        at += length
        if field == 1:
            size = number
        elif field == 2:  # noqa: PLR2004 - the format's numbers of its fields
            method = number
        elif field == 3:  # noqa: PLR2004
            whole = number
    data = body[at:]
    if size is not None and size != len(data):
        raise ValueError(f"a payload that says it has {size} bytes and has {len(data)}")
    if method == _NONE:
        yield data
    elif method == _ZSTD:
        yield from _unzstd(data, whole)
    else:
        raise ValueError(f"a payload compressed by method {method}")


def _unzstd(data: bytes, whole: int | None) -> Iterator[bytes]:
    """All frames of it, in pieces of bounded size."""
    out = 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            while piece := reader.read(_PIECE):
                out += len(piece)
                if whole is not None and out > whole:
                    break
                yield piece
    except zstandard.ZstdError as error:
        raise ValueError(f"a payload that is not zstd: {error}") from error
    if whole is not None and out != whole:
        raise ValueError(f"a payload that says it holds {whole} bytes and holds {out}")


def unpack(data: bytes) -> bytes:
    """MariaDB: head byte 0x80 | length bytes, the length, zlib. For rows and statements. Raises ValueError."""
    head = data[0]
    size = head & 7
    if head >> 4 != _ZLIB_METHOD or not 1 <= size <= 4:  # noqa: PLR2004
        raise ValueError(f"compressed by an unknown method ({head:#x})")
    return _inflate(data[1 + size :], int.from_bytes(data[1 : 1 + size], "big"), zlib.MAX_WBITS)


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
