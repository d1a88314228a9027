"""The events inside a TRANSACTION_PAYLOAD, as if they stood in the log; a large one is never whole here.

`_payload` takes one that fitted into a packet. A larger one is met by `_streams` while its first bytes wait for the
rest: its bytes are then taken as they come, off their packets, its checksum with them (`Stream`). Both give what
is inside to the loop piece by piece, and stop where the open group holds more than `pause_at` bytes: `paused` asks
its owner to take rows out (`hand_out`) and to feed on with nothing.

A group inside ends with the payload, when all of it has turned out right, checksum included.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC
from functools import partial

from cdc.binlog.events import CRC_RESIDUE, HEADER, TRANSACTION_PAYLOAD
from cdc.binlog.groups import INSIDE
from cdc.binlog.inflate import Payload
from cdc.binlog.packets import HEAD, LARGEST, WHOLE
from cdc.binlog.reader import Reader

STREAMED = 1 << 20
"""Payloads in packets longer than this are taken as they come."""
_header = struct.Struct("<IBIIIH").unpack_from


class Stream:
    """The bytes of one large event, header excluded, out of the packets they come in."""

    def __init__(self, packet: int, event: int, header: bytes, crc: int) -> None:
        if event > LARGEST or packet > event + 1:
            raise ValueError("packets that make no event")
        self._missing, self._crc, self._sum = event - HEADER, crc, zlib.crc32(header)
        self._in_packet, self._full = packet - 1 - HEADER, packet == WHOLE

    def take(self, data: bytes) -> tuple[list[bytes], int]:
        """Of more bytes of the socket: the pieces of the body, and the place behind the last byte that was used."""
        pieces, at = [], 0
        while at < len(data) and (self._in_packet or self._full):
            if not self._in_packet:
                if len(data) - at < HEAD:
                    break
                self._in_packet = int.from_bytes(data[at : at + 3], "little")
                self._full = self._in_packet == WHOLE
                at += HEAD
                if self._in_packet > self._missing:
                    raise ValueError("packets that make no event")
                continue
            piece = data[at : at + self._in_packet]
            at += len(piece)
            self._in_packet -= len(piece)
            self._sum = zlib.crc32(piece, self._sum)
            body = min(len(piece), max(0, self._missing - self._crc))
            self._missing -= len(piece)
            if body:
                pieces.append(piece if body == len(piece) else piece[:body])
        return pieces, at

    def is_over(self) -> bool:
        """Are all packets in? Raises ValueError where they are not the event."""
        if self._in_packet or self._full:
            return False
        if self._missing:
            raise ValueError("an event whose size is not that of its packets")
        if self._crc and self._sum != CRC_RESIDUE:
            raise ValueError("its checksum is wrong")
        return True


class Inside:
    """A payload that is being read: what is not yet walked of its events, and how its group ends."""

    def __init__(self, payload: Payload, time: int, end: int, stream: Stream | None = None) -> None:
        self.payload, self.time, self.end, self.stream = payload, time, end, stream
        self.outer: partial[None] = INSIDE
        self.need = self.have = 0
        self._rest: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """More of the events."""
        self._rest.append(piece)
        self.have += len(piece)

    def take(self) -> bytes:
        """All that is not walked."""
        rest, self._rest, self.have = b"".join(self._rest), [], 0
        return rest

    def is_over(self) -> bool:
        """Is everything inside out? Raises ValueError."""
        return (self.stream is None or self.stream.is_over()) and self.payload.is_over()


class Payloads(Reader, ABC):
    """Names with an underscore are shared with `Feed` only."""

    pause_at: int | None = None
    """Bytes of an open group's rows at which reading inside a payload pauses; None: never."""
    _inside: Inside | None = None
    _paused = False

    @property
    def paused(self) -> bool:
        """Does `feed(b"")` have something to do? Bytes that come are not looked at before."""
        return self._inside is not None and self._paused

    def _payload(self, body: bytes, time: int, end: int) -> None:
        payload = Payload(len(body))
        payload.add(body)
        self._inside = Inside(payload, time, end)
        self._inflate()

    def _streams(self) -> bool:
        """Do the bytes that wait begin a large payload? Then they are the first of its stream."""
        if not self._framed or self._big.size or not self._parts:
            return False
        left = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        length = int.from_bytes(left[:3], "little")
        if len(left) < HEAD or length <= STREAMED:
            return False
        if len(left) < HEAD + 1 + HEADER:
            self._need = HEAD + 1 + HEADER
            return False
        header = left[HEAD + 1 : HEAD + 1 + HEADER]
        if left[HEAD] or header[4] != TRANSACTION_PAYLOAD:
            return False
        time, _, _, size, ends, _ = _header(header)
        stream = Stream(length, size, header, self._crc)
        at = self._progress.at + size
        if ends and ends != at & 0xFFFFFFFF:
            at = self._resync(at, ends)
        self._inside = Inside(Payload(size - HEADER - self._crc), time, at, stream)
        self._parts, self._need = [left[HEAD + 1 + HEADER :]], 0
        self._have = len(self._parts[0])
        return True

    def _inflate(self) -> bool:
        """Go on inside; False: a pause, or more bytes are needed."""
        inside = self._inside
        assert inside is not None  # noqa: S101 - who calls has seen it
        if inside.stream is not None and self._have and not self._paused:
            self._drink(inside, inside.stream)
        self._paused, self._outer = False, inside.outer
        try:
            while piece := inside.payload.read():
                inside.add(piece)
                if inside.have >= inside.need:
                    rest = inside.take()
                    inside.add(rest[self._walk(rest, 0, framed=False) :])
                    inside.need = self._need
                if self.pause_at is not None and self._tx.size > self.pause_at:
                    self._paused = True
                    return False
            if not inside.is_over():
                return False
        finally:
            finish = inside.outer = self._outer
            self._outer, self._need, self._progress.at = None, 0, inside.end
        if inside.have or finish is INSIDE or (self._tx.rows and finish.func != self._prepare):
            raise ValueError("a payload that does not end where its transaction does")
        self._inside = self._position = None
        finish(inside.time, inside.end)
        return True

    def _drink(self, inside: Inside, stream: Stream) -> None:
        """What has come of a stream, off its packets."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        pieces, used = stream.take(data)
        self._parts = [data[used:]] if used < len(data) else []
        self._have = len(data) - used
        for piece in pieces:
            inside.payload.add(piece)
