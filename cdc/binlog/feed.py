"""`Feed`: bytes of the log in, finished source transactions out. No I/O, no waiting, no threads.

    feed = Feed("mysql", [TableSpec("shop", "outbox")], position)
    for transaction in feed.feed(data): ...         # any cut of the bytes will do
    feed.position                                   # behind everything finished so far

One loop walks the packets of a socket or the events of a file. Most events cost it one
unpack, one checksum and a look into a table of kinds. Rare events leave the loop for a
method each (`reader.py`), and groups like the one before take a shorter way (`shortcut.py`).

Rules one must know to change it:

* Everything that is finished is handed out before an error is raised: `feed` returns it, and
  raises at its next call. Call `feed(b"")` when the bytes have ended.
* Every event's CRC32 is verified where the file has checksums, also of events that are
  stepped over: a flipped bit in a type or a table's name would hide rows.
* FORMAT_DESCRIPTION says whether there are checksums. Made-up events before it may have one or
  not: whether the last four bytes are one is looked at, not reckoned.
* A TABLE_MAP is compared with the last one, then looked up, then parsed. Others' are refused on the
  bytes of schema and table. Ids are valid in their group only.
* A payload's inner events go through the same loop without packets and checksums; what ends
  the group inside counts at the payload's own end and time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Sequence

from cdc.binlog import events
from cdc.binlog.events import (
    BEGIN,
    COMMIT,
    CRC_RESIDUE,
    MAP,
    OTHER,
    PASS,
    TEXT,
    TRANSACTION_PAYLOAD,
    WRITE,
)
from cdc.binlog.packets import HEAD, LARGEST, WHOLE, is_end
from cdc.binlog.refusals import ServerSaid, UnknownXaRows, undecodable
from cdc.binlog.shortcut import FOREIGN, Shortcut, packet
from cdc.errors import CdcError
from cdc.model import SourceTransaction, TableSpec
from cdc.position import Flavour, Position

__all__ = ["Feed", "ServerSaid", "UnknownXaRows"]

_event = struct.Struct("<IB4xII").unpack_from
_NO_KIND = -1
_LEAST, _MOST = events.HEADER, WHOLE - 1
"""Sizes of an event that is one packet."""


class Feed(Shortcut):
    """A reader of the log of one server, from one position on."""

    def __init__(
        self,
        flavour: Flavour,
        tables: Sequence[TableSpec],
        start: Position,
        *,
        framed: bool = True,
        statements_allowed_in: Collection[str] = (),
        deletes: bool = False,
    ) -> None:
        """With `deletes` rows that a DELETE took away come as `DeletedRow`, in their place among the others."""
        super().__init__(
            flavour, tables, start, framed=framed, statements_allowed_in=statements_allowed_in, deletes=deletes
        )

    @property
    def failure(self) -> Exception | None:
        """What the next call of `feed` will raise; None while all is well."""
        return self._failure

    def feed(self, data: bytes) -> list[SourceTransaction]:
        """Take more bytes; hand out what they finished, in order, only what holds rows of the tables.

        Raises DecodeError, StatementInLog, RowMetadataNotFull, RowImageIncomplete, ColumnMissing, ServerSaid,
        UnknownXaRows; every later call raises the same again (but after `supply` of the rows that were unknown).
        """
        if self._failure is not None:
            raise self._failure
        if data:
            self._parts.append(data)
            self._have += len(data)
        try:
            while self._inflate() if self._inside is not None else self._advance():
                pass
        except FOREIGN as error:
            self._failure = undecodable(error, TRANSACTION_PAYLOAD, f"{self._progress.file}:{self._begin}")
            self._failure.__cause__ = error
        except CdcError as error:
            self._failure = self._placed(error, self._begin)
            self._failure.__cause__ = None if self._failure is error else error
        out, self._out = self._out, []
        if self._failure is not None and not out:
            raise self._failure
        return out

    def _advance(self) -> bool:
        """Walk what has come, if it is enough to; True where a payload was met that is to be read on."""
        if self._failure is not None or not (self._have >= self._need or self._retry):
            return False
        self._retry = False
        buffer = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        try:
            done = self._walk(buffer, self._crc, framed=self._framed)
        except Exception as error:  # noqa: BLE001 - kept, and raised below or at the next call
            self._failure, done = error, self._at_buffer
        self._parts = [buffer[done:]] if done < len(buffer) else []
        self._have = len(buffer) - done
        if self._failure is not None:
            return False
        return (self._inside is not None and not self._paused) or (self._inside is None and self._streams())

    def _walk(self, buf: bytes, crc: int, *, framed: bool) -> int:  # noqa: PLR0912, PLR0915 - hot: calls cost more than lines
        """Go through all events that are complete; the place behind the last one.

        On an error `_at_buffer` is the begin of the event that caused it, and the count stands before it.
        """
        p, lead, kind = 0, 5 if framed else 0, _NO_KIND
        end, crc32, kinds, keys, big = len(buf), zlib.crc32, self._kinds, self._keys, self._big
        largest = self.largest_row
        pos = before = self._progress.at
        last_size, last_body, definition, active, mapped = self._map
        self._need, self._position = 0, None
        try:
            if big.size:
                p = self._odd_packet(buf, p)
                pos = before = self._progress.at
                last_size, last_body, definition, active, mapped = self._map
            while not big.size:
                if framed:
                    try:
                        head, status, time, kind, ends = packet(buf, p)
                        size = (head & WHOLE) - 1
                    except struct.error:
                        status, kind = -1, _NO_KIND
                    if status or not _LEAST <= size < _MOST:
                        self._progress.at = before = pos
                        self._map = last_size, last_body, definition, active, mapped
                        nxt = self._odd_packet(buf, p)
                        pos = self._progress.at
                        last_size, last_body, definition, active, mapped = self._map
                        if nxt == p:
                            break
                        p = nxt
                        continue
                elif end - p >= events.HEADER:
                    time, kind, size, ends = _event(buf, p)
                    if size < events.HEADER or size > LARGEST:
                        raise ValueError(f"an event of {size} bytes")
                else:
                    break
                e = p + lead
                nxt = e + size
                if nxt > end:
                    self._need = nxt - p
                    break
                k = kinds[kind]
                before = pos
                pos += size
                stop = nxt - crc
                if k == MAP and stop - e == last_size and buf.startswith(last_body, e + 19):
                    # The body was verified when it came first, and no other field of the event is used.
                    if not mapped and self._gtid is None and not self._begun:
                        raise ValueError("rows outside of a transaction: reading began inside one")
                    mapped = active = True
                    p = nxt
                    continue
                if crc and k != OTHER and crc32(buf[e:nxt]) != CRC_RESIDUE:
                    raise ValueError("its checksum is wrong")
                if k == PASS:
                    p = nxt
                    continue
                if k == MAP:
                    if not mapped and self._gtid is None and not self._begun:
                        raise ValueError("rows outside of a transaction: reading began inside one")
                    mapped = True
                    if buf.startswith(keys, e + 27):
                        if active and definition is not None:
                            self._others[last_body[:6]] = definition
                        last_body, last_size = buf[e + 19 : stop], stop - e
                        definition, active = self._define(last_body), True
                elif k == WRITE:
                    if not mapped:
                        raise ValueError("rows without a TABLE_MAP before them: reading began inside a transaction")
                    if active and definition is not None:
                        if not last_body.startswith(buf[e + 19 : e + 25]):
                            if self._others:
                                self._rows_of_others(buf, e, stop, kind)
                        elif size > largest or kind != definition.kind or not buf.startswith(definition.head, e + 27):
                            self._rows(buf, e, stop, kind, definition)
                        else:
                            tx = self._tx
                            tx.size += size
                            append = tx.rows.append
                            image, decoders, null_bytes, head_size = definition.usual
                            q = e + head_size
                            while q < stop:
                                nulls = buf[q : q + null_bytes]
                                try:
                                    row, q = decoders[nulls](buf, q + null_bytes)
                                except KeyError:
                                    row, q = image.decoder(nulls)(buf, q + null_bytes)
                                if row is None:
                                    self.history_rows += 1
                                else:
                                    append(row)
                            if q != stop:
                                raise ValueError("a row that ends behind its event")
                elif k == BEGIN:
                    if ends and ends != pos & 0xFFFFFFFF:
                        pos = self._resync(pos, ends)
                    if self._gtid is not None:
                        self._unfinished()
                    self._gtid, self._begin, self._begun = buf[e:stop], pos - size, False
                    mapped = active = False
                elif k == COMMIT:
                    if ends and ends != pos & 0xFFFFFFFF and self._outer is None:
                        pos = self._resync(pos, ends)
                    self._commit(time, pos)
                    if active and framed:  # what came before shows what is usual
                        self._map = last_size, last_body, definition, False, False
                        nxt, pos = self._usual_groups(buf, nxt, pos)
                    mapped = active = False
                elif k == TEXT and buf.endswith(b"\0BEGIN", e, stop) and self._is_begin(buf, e, stop):
                    self._begun = True
                    if self._gtid is None:
                        self._begin = before
                else:
                    self._progress.at = pos
                    self._map = last_size, last_body, definition, active, mapped
                    self._rare(kind, buf[e:nxt], crc)
                    last_size, last_body, definition, active, mapped = self._map
                    crc = self._crc if framed or self._outer is None else 0
                    pos = self._progress.at
                    if self._outer is None and self._inside is not None:  # first all of what is inside
                        p = nxt
                        break
                p = nxt
        except FOREIGN as error:
            pos = before
            raise undecodable(error, kind, f"{self._progress.file}:{pos}") from error
        except CdcError as error:
            pos = before
            placed = self._placed(error, pos)
            if placed is error:
                raise
            raise placed from error
        finally:
            self._at_buffer = p
            self._progress.at = pos
            self._map = last_size, last_body, definition, active, mapped
        return p

    def _odd_packet(self, buf: bytes, p: int) -> int:
        """A packet that is not one whole event, or not all there; the place behind it, or `p` to wait for more."""
        while True:
            have, length = len(buf) - p, int.from_bytes(buf[p : p + 3], "little")
            if have < HEAD or have < HEAD + length:
                self._need = HEAD + length if have >= HEAD else 0
                return p
            payload = buf[p + HEAD : p + HEAD + length]
            if not self._big.size and length != WHOLE:
                self.eof = is_end(payload)
                return p + HEAD + length
            if not self._big.size:
                self._large(payload)
            self._big.add(payload)
            p += HEAD + length
            if length != WHOLE:
                event = self._big.take()
                if self._walk(event, self._crc, framed=False) != len(event):
                    raise ValueError("an event whose size is not that of its packets")
                return p
