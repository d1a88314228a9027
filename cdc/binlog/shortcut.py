"""A shorter way through groups that look like the one before them, which is nearly all of an outbox's log.

A usual group is a GTID, on MySQL a BEGIN, the TABLE_MAP that came last, byte for byte, rows of the form
that came last, and an XID; each one whole packet with the right checksum. The
loop of `Feed` would look up at each of these events what may come next; here that is known.

It decides nothing by itself: whatever is not as expected, or not all there, or goes wrong in any
way, is left to the loop from the group's begin on, and nothing of that group has been kept. So
without this module the same would come out, later; a test holds the two together.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC

from cdc.binlog.events import BEGIN, CRC_RESIDUE, HEADER, KINDS, QUERY, TABLE_MAP, XID
from cdc.binlog.packets import WHOLE
from cdc.binlog.payloads import Payloads
from cdc.binlog.progress import text_of
from cdc.model import Row, SourceTransaction

packet = struct.Struct("<IBIB8xI").unpack_from
"""Length and sequence number, status byte; time, type, end position of the event in it."""
FOREIGN = (ValueError, LookupError, TypeError, OverflowError, struct.error, zlib.error, RecursionError)
"""What our own functions raise on bytes that are not what they should be."""
_CRC = 4


class Shortcut(Payloads, ABC):
    """Names with an underscore are shared with `Feed` only."""

    def _usual_groups(self, buf: bytes, p: int, pos: int) -> tuple[int, int]:  # noqa: PLR0912, PLR0915 - hot: one group from top to bottom
        """Take usual groups from the packet at `p`, the first of a group, on; place and count behind the last of them.

        Only between groups, and only where the file has checksums and the last TABLE_MAP's form of rows is known.
        """
        size, body, definition, _, _ = self._map
        if definition is None or definition.usual is None or self._crc != _CRC:
            return p, pos
        image, decoders, null_bytes, head_size = definition.usual
        table, rows_kind, rows_head, map_packet = body[:6], definition.kind, definition.head, size + _CRC + 1
        progress, begins_with_text = self._progress, self.flavour == "mysql"
        file, crc32, new = progress.file, zlib.crc32, tuple.__new__
        try:
            while True:
                # GTID
                head, status, _, kind, ends = packet(buf, p)
                e = p + 5
                q = e - 1 + (head & WHOLE)
                if status or KINDS[kind] != BEGIN or crc32(buf[e:q]) != CRC_RESIDUE:
                    break
                gtid, at = buf[e : q - _CRC], pos + q - e
                if ends:  # the server may have left something out before it
                    at += ends - at & 0xFFFFFFFF
                begin = at - q + e
                if begins_with_text:
                    head, status, _, kind, _ = packet(buf, q)
                    e = q + 5
                    q = e - 1 + (head & WHOLE)
                    if (
                        status
                        or kind != QUERY
                        or crc32(buf[e:q]) != CRC_RESIDUE
                        or not self._is_begin(buf, e, q - _CRC)
                    ):
                        break
                    at += q - e
                # TABLE_MAP: its body was verified when it came first, and no other field of the event is used
                head, status, _, kind, _ = packet(buf, q)
                if (
                    status
                    or kind != TABLE_MAP
                    or head & WHOLE != map_packet
                    or not buf.startswith(body, q + 5 + HEADER)
                ):
                    break
                q += 4 + map_packet
                at += map_packet - 1
                rows: list[Row] = []
                append, history = rows.append, 0
                # WRITE_ROWS, one or more
                head, status, time, kind, ends = packet(buf, q)
                while kind == rows_kind:
                    e = q + 5
                    q = e - 1 + (head & WHOLE)
                    if (
                        status
                        or q - e > self.largest_row
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
                        if row is None:
                            history += 1
                        else:
                            append(row)
                    if r != stop:
                        break
                    head, status, time, kind, ends = packet(buf, q)
                # XID
                e = q + 5
                q = e - 1 + (head & WHOLE)
                if status or kind != XID or crc32(buf[e:q]) != CRC_RESIDUE:
                    break
                at += q - e
                if ends:
                    at += ends - at & 0xFFFFFFFF
                fresh = progress.add(gtid)
                if rows and fresh:
                    self._out.append(new(SourceTransaction, (text_of(gtid), file, at, time, at - begin, rows, 0)))
                elif rows:
                    self.repeated += 1
                self.history_rows += history
                progress.finished = gtid, begin, at, time
                p, pos = q, at
        except FOREIGN:
            pass
        return p, pos
