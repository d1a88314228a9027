"""The inside of a TRANSACTION_PAYLOAD event, opened as its bytes come: neither they nor what they hold are whole here.

The event's body is a head of fields (its size, the method, the size of what it holds), each a type, a length
and a number, ended by a zero; then zstd, in one or several frames, or plain bytes.

Zstd gives out all that its input holds, and four bytes may hold 128 KiB. So it gets `_BITE` bytes at a time:
no more than 16 MiB come out at once whatever is inside, and some KiB of what outboxes hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zstandard

from cdc.binlog.events import lenenc

_ZSTD, _NONE = 0, 255
_PIECE = 128 << 10
_BITE = 512
_HEAD = 64
"""Bytes that surely hold all fields of the head."""


class Payload:
    """Takes the body's bytes with `add`, gives out what is inside with `read`. Raises ValueError."""

    def __init__(self, size: int) -> None:
        self._missing = self._size = size
        self._data, self._at = b"", 0
        self._method: int | None = None
        self._whole: int | None = None
        self._out = 0
        self._machine: Any = None

    def add(self, data: bytes) -> None:
        """More of the body."""
        self._missing -= len(data)
        if self._missing < 0:
            raise ValueError("a payload that is longer than its event")
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        if self._method is None and (len(self._data) >= _HEAD or not self._missing):
            self._read_head()

    def read(self) -> bytes:
        """The next piece; empty: there is none until more was added."""
        if self._method is None:
            return b""
        if self._method == _NONE:
            piece = self._data[self._at : self._at + _PIECE]
            self._at += len(piece)
        else:
            piece = self._inflated()
        self._out += len(piece)
        if self._whole is not None and self._out > self._whole:
            raise ValueError(f"a payload that says it holds {self._whole} bytes and holds more")
        return piece

    def is_over(self) -> bool:
        """Is all of it out? Raises ValueError where it was cut off."""
        if self._missing or self._at < len(self._data):
            return False
        unfinished = self._machine is not None and not self._machine.eof
        if self._method is None or unfinished or (self._whole is not None and self._out != self._whole):
            raise ValueError(f"a payload that says it holds {self._whole} bytes and holds {self._out}")
        return True

    def _read_head(self) -> None:
        data, at, size, method = self._data, 0, None, _NONE
        while True:
            field, at = lenenc(data, at)
            if field == 0:
                break
            length, at = lenenc(data, at)
            number = lenenc(data, at)[0]
            at += length
            if field == 1:
                size = number
            elif field == 2:  # noqa: PLR2004 - the format's numbers of its fields
                method = number
            elif field == 3:  # noqa: PLR2004
                self._whole = number
        if size is not None and size != self._size - at:
            raise ValueError(f"a payload that says it has {size} bytes and has {self._size - at}")
        if method not in (_ZSTD, _NONE):
            raise ValueError(f"a payload compressed by method {method}")
        self._method, self._at = method, at

    def _inflated(self) -> bytes:
        pieces, size = [], 0
        data, end = self._data, len(self._data)
        try:
            while self._at < end and size < _PIECE:
                if self._machine is None or self._machine.eof:
                    self._machine = zstandard.ZstdDecompressor().decompressobj()
                bite = data[self._at : self._at + _BITE]
                piece = self._machine.decompress(bite)
                self._at += len(bite) - (len(self._machine.unused_data) if self._machine.eof else 0)
                if piece:
                    pieces.append(piece)
                    size += len(piece)
        except zstandard.ZstdError as error:
            raise ValueError(f"a payload that is not zstd: {error}") from error
        return b"".join(pieces)


def opened(body: bytes) -> Iterator[bytes]:
    """All that is inside a body that is whole, in pieces. Raises ValueError."""
    payload = Payload(len(body))
    payload.add(body)
    while piece := payload.read():
        yield piece
    payload.is_over()
