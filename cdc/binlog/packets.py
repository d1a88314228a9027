"""Packets of the wire that are not one whole event each.

A server sends an event behind a zero byte in one packet; what is longer than 16 MiB - 1
bytes goes on in the next ones, and a packet that is exactly full is followed by an
empty one. 0xFE in a short packet is the end of the stream, 0xFF an error with code,
state and text.
"""

from __future__ import annotations

from cdc.binlog.refusals import ServerSaid

WHOLE = 0xFFFFFF
"""Bytes of a packet after which another one follows."""
HEAD = 4
"""Length and sequence number."""
LARGEST = (1 << 30) + (64 << 20)
"""No event is larger: max_allowed_packet ends at 1 GiB, and a rows event adds little."""


class Joiner:
    """Puts the packets of a large event together, within bounds. `size` is 0 while there is none."""

    __slots__ = ("_expected", "_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._expected = self.size = 0

    def add(self, part: bytes) -> None:
        """The next packet's payload. Raises ValueError where these packets can be no event."""
        if not self._parts:
            self._expected = int.from_bytes(part[10:14], "little") + 1
            if part[0] or self._expected > LARGEST:
                raise ValueError("packets that make no event")
        self._parts.append(part if self._parts else part[1:])
        self.size += len(part)
        if self.size > self._expected:
            raise ValueError("packets that make no event")

    def take(self) -> bytes:
        """The event, when its last packet is in. Raises ValueError where its size is another."""
        event, right = b"".join(self._parts), self.size == self._expected
        self._parts, self.size = [], 0
        if not right:
            raise ValueError("an event whose size is not that of its packets")
        return event


def is_end(payload: bytes) -> bool:
    """Is this short packet the end of the stream? Raises ServerSaid for an error, ValueError for nonsense."""
    status = payload[0] if payload else -1
    if status == 0xFE and len(payload) < 9:  # noqa: PLR2004 - EOF
        return True
    if status == 0xFF and len(payload) > 2:  # noqa: PLR2004 - ERR: code, sqlstate, text
        text = payload[9:] if payload[3:4] == b"#" else payload[3:]
        raise ServerSaid(int.from_bytes(payload[1:3], "little"), text.decode("utf-8", "replace"))
    raise ValueError(f"a packet of {len(payload)} bytes that is no event")
