"""Where the log stands: file, bytes counted, GTIDs, and the last finished group.

The count is by the sizes of events; a group's first and last events also say where they
end, modulo 4 GiB, which is where the count is set right when the server has left events
out on the wire (annotations, groups skipped by GTID). In a file nothing is left out.
Made-up events (a ROTATE or FORMAT_DESCRIPTION the server sends to say where it begins,
heartbeats) are not counted.

GTIDs: a MySQL number that follows the last one of its source is only counted; all else goes
through the set. A GTID that is in the set already makes its group an old one. That of an
open XA PREPARE stays out of the set until its XA COMMIT or ROLLBACK, so that a server
asked for what we lack sends the rows again. MariaDB: the last one of each domain, and
the domains whose numbers went back.
"""

from __future__ import annotations

import struct
import uuid
from functools import lru_cache
from typing import Literal

from cdc.binlog.events import GTID, GTID_TAGGED, HEADER, MARIADB_GTID, Gtid, gtid_tagged
from cdc.position import GtidList, GtidSet, GtidSetBuilder, LastTransaction, Position, PreparedTransaction, Sid

_NUMBER = struct.Struct("<q").unpack_from
_MARIADB = struct.Struct("<5xI10xQI").unpack_from
"""Server id, sequence number and domain of a MARIADB_GTID event."""
_NO_END = 1 << 63
REPEATED: Literal[False] = False
"""Instead of a GTID's text: it was in the set already."""


class Progress:
    """The mutable form of a Position. `at` is the byte behind the last event that was counted."""

    def __init__(self, start: Position, *, learn_gtids: bool) -> None:
        self.start = start
        self.file, self.at, self.file_created = start.file, start.position, start.file_created
        self._log_time = start.log_time
        self._learn = learn_gtids and start.gtid_set is None
        self._last: LastTransaction | None = start.last
        self.finished: tuple[bytes | None, int, int, int] | None = None
        """GTID event, begin, end and time of the last finished group."""
        gtids = start.gtid_set
        self._builder = GtidSetBuilder(gtids) if isinstance(gtids, GtidSet) else None
        self._domains = dict(gtids) if isinstance(gtids, GtidList) else None
        self._out_of_order = set(start.out_of_order)
        self._sid, self._from, self._next, self._limit = b"", 0, 0, 0
        self._domain: int | None = None
        self._server = self._sequence = 0

    # -- GTIDs ---------------------------------------------------------------------------

    def learn(self, gtids: GtidSet | GtidList) -> None:
        """What the head of a file says of what came before it; used once, where the start did not say it."""
        if not self._learn:
            return
        self._learn = False
        if isinstance(gtids, GtidSet):
            self._builder = GtidSetBuilder(gtids)
        else:
            self._domains = dict(gtids)

    def add_prepared(self, gtid: bytes) -> None:
        """The GTID of a group that ends in XA PREPARE: on MySQL it is not ours yet."""
        if gtid[4] == MARIADB_GTID:
            self.add(gtid)

    def contains(self, gtid: bytes) -> bool:
        """Is the GTID of this event in the set? Never on MariaDB, where numbers tell nothing."""
        if self._builder is None or gtid[4] not in (GTID, GTID_TAGGED):
            return False
        self._flush()
        found = _read(gtid)
        return self._builder.contains((found.source, found.tag), found.number)

    def resolve(self, gtid: str) -> None:
        """Put in the GTID, as text, of a PREPARE that was committed or rolled back."""
        if self._builder is not None:
            self._flush()
            for sid, intervals in GtidSet.parse(gtid):
                self._builder.add_range(sid, *intervals[0])

    def add(self, gtid: bytes) -> bool:
        """Put the GTID of a group's first event in. False where it was in."""
        kind = gtid[4]
        if kind == MARIADB_GTID:
            server, sequence, domain = _MARIADB(gtid)
            if domain == self._domain and sequence > self._sequence:
                self._server, self._sequence = server, sequence
            else:
                self._add_mariadb(domain, server, sequence)
        elif kind == GTID:
            (number,) = _NUMBER(gtid, 36)
            if number == self._next and number < self._limit and gtid[20:36] == self._sid:
                self._next = number + 1
                return True
            return self._add(_read(gtid), gtid[20:36])
        elif kind == GTID_TAGGED:
            return self._add(_read(gtid), b"")
        return True

    def enter(self, gtid: bytes) -> str | Literal[False] | None:
        """`add` and `text_of` in one: REPEATED where it was in."""
        if gtid[4] == MARIADB_GTID:
            server, sequence, domain = _MARIADB(gtid)
            if domain == self._domain and sequence > self._sequence:
                self._server, self._sequence = server, sequence
            else:
                self._add_mariadb(domain, server, sequence)
            return f"{domain}-{server}-{sequence}"
        return text_of(gtid) if self.add(gtid) else REPEATED

    def _add_mariadb(self, domain: int, server: int, sequence: int) -> None:
        """Another domain than the last one's, or a number that went back."""
        self._flush()
        if self._domains is None:
            self._domains = {}
        known = self._domains.get(domain)
        if known is not None and sequence <= known[1]:
            self._out_of_order.add(domain)
        self._domains[domain] = (server, sequence)
        self._domain, self._server, self._sequence = domain, server, sequence

    def _add(self, gtid: Gtid, raw: bytes) -> bool:
        if self._builder is None:
            return True
        self._flush()
        sid: Sid = (gtid.source, gtid.tag)
        if self._builder.contains(sid, gtid.number):
            return False
        self._builder.add(sid, gtid.number)
        if raw:
            self._sid, self._from, self._next = raw, gtid.number + 1, gtid.number + 1
            self._limit = self._builder.next_after(sid, gtid.number) or _NO_END
        return True

    def _flush(self) -> None:
        """What was only counted, into the set or the list."""
        if self._domains is not None and self._domain is not None:
            self._domains[self._domain] = (self._server, self._sequence)
        if self._builder is not None and self._next > self._from:
            self._builder.add_range((_source(self._sid), ""), self._from, self._next - 1)
        self._from, self._next, self._limit = 0, 0, 0

    # -- places --------------------------------------------------------------------------

    def moved_to(self, file: str, position: int) -> None:
        """Another file, or another place in it: `last` is of the file before."""
        if file != self.file:
            last = self.last()
            self._log_time = last.commit_time if last else self._log_time
            self.file, self.file_created = file, 0
            self._last = self.finished = None
        self.at = position

    def last(self) -> LastTransaction | None:
        """The last finished group of this file."""
        if self.finished is not None:
            gtid, begin, end, time = self.finished
            self._last = LastTransaction(text_of(gtid), end, time, end - begin)
            self.finished = None
        return self._last

    def position(self, at: int, open_xa: tuple[PreparedTransaction, ...]) -> Position:
        """All of it as a value. `at` is the end of what is finished."""
        gtids: GtidSet | GtidList | None = None
        if self._builder is not None:
            self._flush()
            gtids = self._builder.freeze()
        elif self._domains is not None:
            self._flush()
            gtids = GtidList(self._domains)
        last = self.last()
        return Position(
            flavour=self.start.flavour,
            server=self.start.server,
            file=self.file,
            position=at,
            gtid_set=gtids,
            file_created=self.file_created,
            last=last,
            prepared=open_xa,
            out_of_order=tuple(sorted(self._out_of_order)),
            log_time=last.commit_time if last else self._log_time,
        )


def text_of(gtid: bytes | None) -> str | None:
    """The GTID of a group's first event as text; None for an anonymous one, or none."""
    if gtid is None:
        return None
    kind = gtid[4]
    if kind == MARIADB_GTID:
        server, sequence, domain = _MARIADB(gtid)
        return f"{domain}-{server}-{sequence}"
    if kind == GTID:
        return f"{_source(gtid[20:36])}:{_NUMBER(gtid, 36)[0]}"
    return str(_read(gtid)) if kind == GTID_TAGGED else None


def _read(gtid: bytes) -> Gtid:
    """A MySQL GTID event, header included."""
    if gtid[4] == GTID_TAGGED:
        return gtid_tagged(gtid[HEADER:])
    (number,) = _NUMBER(gtid, 36)
    if number < 1:
        raise ValueError("a GTID without a number")
    return Gtid(_source(gtid[20:36]), "", number)


@lru_cache(256)
def _source(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))
