"""A shorter way through groups that look like the one before them, which is nearly all of an outbox's log.

A usual group is a GTID, on MySQL a BEGIN, the TABLE_MAP that came last, byte for byte, rows of the form
that came last, and an XID; each one whole packet with the right checksum. The
loop of `Feed` would look up at each of these events what may come next; here that is known, and
the heads of all events up to the first rows are read in one go: the sizes of what is before them come again, too.

It decides nothing by itself: whatever is not as expected, or not all there, or goes wrong in any
way, is left to the loop from the group's begin on, and nothing of that group has been kept. So
without this module the same would come out, later; a test holds the two together.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cdc.binlog.definition import Definition
from cdc.binlog.events import BEGIN, CRC_RESIDUE, HEADER, KINDS, QUERY, TABLE_MAP, XID
from cdc.binlog.packets import WHOLE
from cdc.binlog.payloads import Payloads
from cdc.binlog.progress import REPEATED
from cdc.model import SourceTransaction

packet = struct.Struct("<IBIB8xI").unpack_from
"""Length and sequence number, status byte; time, type, end position of the event in it."""
FOREIGN = (ValueError, LookupError, TypeError, OverflowError, struct.error, zlib.error, RecursionError)
"""What our own functions raise on bytes that are not what they should be."""
_CRC = 4
_HEAD, _NEXT, _FIRST_ROWS = "IB4xB8xI2x", "IB4xB14x", "IBIB8xI"
"""Of a packet with an event: of the group's first one, of one of which place and time do not matter, of the rows."""
_HEADS = 24
"""Bytes of a packet's head, its status and the event's header."""


@lru_cache(64)
def _heads(*packets: int) -> Callable[[bytes, int], tuple[Any, ...]]:
    """Reads the heads of packets that follow one another, of these sizes, and of the rows behind them."""
    first, *others = packets
    form = f"<{_HEAD}{first - _HEADS}x" + "".join(f"{_NEXT}{size - _HEADS}x" for size in others) + _FIRST_ROWS
    return struct.Struct(form).unpack_from


class Shortcut(Payloads, ABC):
    """Names with an underscore are shared with `Feed` only."""

    def _usual_groups(self, buf: bytes, p: int, pos: int) -> tuple[int, int]:
        """Take usual groups from the packet at `p`, the first of a group, on; place and count behind the last of them.

        Only between groups, and only where the file has checksums and the last TABLE_MAP's form of rows is known.
        """
        definition = self._map[2]
        if definition is None or definition.usual is None or self._crc != _CRC:
            return p, pos
        try:
            while True:
                came = p
                p, pos = self._groups_like(buf, p, pos, definition)
                if p == came:
                    break
        except FOREIGN:
            pass
        return p, pos

    def _groups_like(self, buf: bytes, p: int, pos: int, definition: Definition) -> tuple[int, int]:  # noqa: PLR0912, PLR0915 - hot: one group from top to bottom
        """Groups whose first events have the sizes that those at `p` have. Raises FOREIGN before the first one ends."""
        size, body, _, _, _ = self._map
        image, decoders, null_bytes, head_size = definition.usual
        table, rows_kind, rows_head = body[:6], definition.kind, definition.head
        begins_with_text = self.flavour == "mysql"
        first = (packet(buf, p)[0] & WHOLE) + 4
        text = (packet(buf, p + first)[0] & WHOLE) + 4 if begins_with_text else 0
        mapped = size + _CRC + 5
        heads = _heads(first, text, mapped) if begins_with_text else _heads(first, mapped)
        map_at, rows_at, between = first + text + 5 + HEADER, first + text + mapped, mapped - 5 + (text and text - 5)
        progress, versioned = self._progress, definition.row_end is not None
        file, crc32, new, out, largest = progress.file, zlib.crc32, tuple.__new__, self._out, self.largest_row
        try:
            while True:
                if begins_with_text:
                    h1, s1, k1, ends, ht, st, kt, h2, s2, k2, h3, status, time, kind, last = heads(buf, p)
                    q = p + first
                    if (
                        st
                        or kt != QUERY
                        or (ht & WHOLE) + 4 != text
                        or crc32(buf[q + 5 : q + text]) != CRC_RESIDUE
                        or not self._is_begin(buf, q + 5, q + text - _CRC)
                    ):
                        break
                else:
                    h1, s1, k1, ends, h2, s2, k2, h3, status, time, kind, last = heads(buf, p)
                # The TABLE_MAP's body was verified when it came first, and no other field of the event is used.
                if (
                    s1
                    or s2
                    or KINDS[k1] != BEGIN
                    or k2 != TABLE_MAP
                    or (h1 & WHOLE) + 4 != first
                    or (h2 & WHOLE) + 4 != mapped
                    or crc32(buf[p + 5 : p + first]) != CRC_RESIDUE
                    or not buf.startswith(body, p + map_at)
                ):
                    break
                gtid, at = buf[p + 5 : p + first - _CRC], pos + first - 5
                if ends:  # the server may have left something out before it
                    at += ends - at & 0xFFFFFFFF
                begin = at - first + 5
                at += between
                q = p + rows_at
                rows: list[Any] = []
                head = h3
                # WRITE_ROWS, one or more
                while kind == rows_kind:
                    e = q + 5
                    q = e - 1 + (head & WHOLE)
                    if (
                        status
                        or q - e > largest
                        or crc32(buf[e:q]) != CRC_RESIDUE
                        or not buf.startswith(table, e + HEADER)
                        or not buf.startswith(rows_head, e + HEADER + 8)
                    ):
                        break
                    at += q - e
                    stop, r = q - _CRC, e + head_size
                    while r < stop:
                        nulls = buf[r : r + null_bytes]
                        try:
                            row, r = decoders[nulls](buf, r + null_bytes)
                        except KeyError:
                            row, r = image.decoder(nulls)(buf, r + null_bytes)
                        rows.append(row)
                    if r != stop:
                        break
                    head, status, time, kind, last = packet(buf, q)
                # XID
                e = q + 5
                q = e - 1 + (head & WHOLE)
                if status or kind != XID or crc32(buf[e:q]) != CRC_RESIDUE:
                    break
                at += q - e
                if last:
                    at += last - at & 0xFFFFFFFF
                name, history = progress.enter(gtid), 0
                if versioned:
                    living = [row for row in rows if row is not None]
                    rows, history = living, len(rows) - len(living)
                if rows and name is not REPEATED:
                    out.append(new(SourceTransaction, (name, file, at, time, at - begin, rows, 0)))
                elif rows:
                    self.repeated += 1
                self.history_rows += history
                progress.finished = gtid, begin, at, time
                p, pos = q, at
        except FOREIGN:
            pass
        return p, pos
