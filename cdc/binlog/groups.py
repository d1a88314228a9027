"""The open group, and how groups end: who is committed, under which GTID, at which place.

A group is what the servers write for one commit: a GTID event, then BEGIN or XA START (MySQL),
table maps and rows, and its end; or a single QUERY event (a DDL; the end of an XA
transaction), which MariaDB marks as standalone and MySQL by the missing BEGIN.

A group inside a TRANSACTION_PAYLOAD ends with the payload, when all of it has turned out
right: what its own last event wants is kept as a call for then (`_defer`).
"""

from __future__ import annotations

from functools import partial

from cdc.binlog import events
from cdc.binlog.definition import Definition
from cdc.binlog.events import HEADER, Xid
from cdc.binlog.progress import Progress, text_of
from cdc.binlog.refusals import ReadAgain, UnknownXaRows
from cdc.binlog.transaction import Again, Prepared, Transactions, UnknownXid, key_of, parse_xid
from cdc.model import Row, SourceTransaction
from cdc.position import Position, PreparedTransaction

INSIDE: partial[None] = partial(print)
"""Says, as `_outer`, that a payload's events are being read and none has ended the group yet."""


class Groups:
    """Names with an underscore are shared with `Reader` and `Feed` only."""

    def __init__(self, start: Position, *, learn_gtids: bool) -> None:
        self.repeated = 0
        """Groups with rows that came although their GTIDs were in the set: dropped."""
        self._progress = Progress(start, learn_gtids=learn_gtids)
        self._tx = Transactions()
        for known in start.prepared:
            self._tx.prepared[key_of(parse_xid(known.xid))] = Prepared(known, None)
        self._gtid: bytes | None = None
        self._begin, self._begun = start.position, False
        self._xa_begin: tuple[str, int] | None = None  # of the last XA START
        self._again: ReadAgain | None = None
        self._outer: partial[None] | None = None  # inside of a payload: INSIDE, then how its group ends
        self._others: dict[bytes, Definition] = {}  # wanted tables of the group but the last one mapped, by table id
        self._out: list[SourceTransaction] = []

    @property
    def in_transaction(self) -> bool:
        """Is a group begun and not finished?"""
        return self._gtid is not None or self._begun

    @property
    def held_bytes(self) -> int:
        """Bytes of the log whose rows wait for their commit."""
        return self._tx.held()

    @property
    def open_rows(self) -> int:
        """How many rows the open group has so far."""
        return len(self._tx.rows)

    def prepared_rows(self, xid: str) -> list[Row] | None:
        """The rows of an open XA transaction; None where it or they are not known."""
        found = self._tx.prepared.get(key_of(parse_xid(xid)))
        return None if found is None else found.rows

    def watch(self, xid: str) -> None:
        """From here on `watched_is_committed` tells of this XA transaction."""
        self._tx.watched = key_of(parse_xid(xid))

    @property
    def watched_is_committed(self) -> bool:
        """Was the last that happened to the xid we watch its commit?"""
        return self._tx.watched_is_committed

    def forget_prepared_rows(self) -> None:
        """Give up the memory of rows that wait for an XA COMMIT; it will need `supply`."""
        for prepared in self._tx.prepared.values():
            prepared.rows, prepared.size = None, 0

    # -- a group in pieces ---------------------------------------------------------------

    @property
    def open_bytes(self) -> int:
        """Bytes of the log whose rows the open group holds; 0 for an XA transaction, whose rows may wait for long."""
        return 0 if self._xa_begin == (self._progress.file, self._begin) else self._tx.size

    @property
    def in_pieces(self) -> bool:
        """Were rows of the open group handed out?"""
        return self._tx.given > 0 or self._tx.lost

    def hand_out(self, size: int) -> SourceTransaction | None:
        """A piece of the open group, some `size` bytes of it. None: there is nothing to hand out."""
        gtid, progress, tx = self._gtid, self._progress, self._tx
        if gtid is not None and progress.contains(gtid):
            tx.drop()  # it came before
            return None
        rows, before = tx.hand_out(size)
        if not rows:
            return None
        time = int.from_bytes(gtid[:4], "little") if gtid is not None else 0
        return SourceTransaction(text_of(gtid), progress.file, self._begin, time, 0, rows, before)

    def take_back(self) -> bool:
        """Was the group in pieces given up? Says it once."""
        taken_back, self._tx.taken_back = self._tx.taken_back, False
        return taken_back

    def leave_out(self, again: ReadAgain) -> None:
        """When the group comes again, these rows of it are undone."""
        self._again = again

    def _savepoint(self, name: str) -> None:
        if self._again is not None and (self._again.file, self._again.begin) == (self._progress.file, self._begin):
            self._tx.known = self._again.ranges
        self._tx.savepoint(name)

    def _last_piece(self) -> tuple[list[Row], int]:
        try:
            return self._tx.last_piece()
        except Again as again:
            raise ReadAgain(self._progress.file, self._begin, again.ranges) from again

    # -- ends ----------------------------------------------------------------------------

    def _close_group(self) -> None:
        self._gtid, self._begun = None, False
        if self._others:
            self._others.clear()

    def _standalone(self) -> bool:
        """Is the open group one event long?"""
        if self._gtid is None or self._outer is not None:
            return False
        if self._gtid[4] == events.MARIADB_GTID:
            return self._gtid[HEADER + 12] & 1 == 1
        return not self._begun

    def _commit(self, time: int, end: int, rows: list[Row] | None = None, before: int = 0) -> None:
        """The group is finished; its rows, or those given, are committed."""
        gtid, begin, progress, tx = self._gtid, self._begin, self._progress, self._tx
        if gtid is None and not self._begun:
            raise ValueError("the end of a transaction that has not begun")
        if rows is None and (tx.base or tx.known is not None):
            rows, before = self._last_piece()
        if self._outer is not None:
            self._defer(partial(self._commit, rows=tx.take() if rows is None else rows, before=before))
            return
        progress.finished = gtid, begin, end, time
        fresh = gtid is None or progress.add(gtid)
        if rows is None:
            rows = tx.rows
            if rows:
                tx.rows, tx.size = [], 0
        if tx.savepoints:
            tx.savepoints.clear()
        if rows or before:
            if fresh:
                length = end - begin
                self._out.append(SourceTransaction(text_of(gtid), progress.file, end, time, length, rows, before))
            else:
                self.repeated += 1
        self._gtid, self._begun = None, False
        if self._others:
            self._others.clear()

    def _defer(self, finish: partial[None]) -> None:
        """The end of the group inside a payload."""
        if self._outer is not INSIDE:
            raise ValueError("a payload with two ends of a transaction")
        self._outer = finish

    def _prepare(self, xid: Xid, time: int, end: int) -> None:
        """The group's rows wait for their XA COMMIT."""
        if self._gtid is not None and self._progress.contains(self._gtid):
            self.repeated += 1
            self._tx.clear()
        else:
            where = PreparedTransaction(str(xid), self._progress.file, self._begin, text_of(self._gtid))
            self._tx.prepare(xid, where)
        self._progress.finished = self._gtid, self._begin, end, time
        if self._gtid is not None:
            self._progress.add_prepared(self._gtid)
        self._close_group()

    def _xa_commit(self, xid: Xid, time: int, end: int) -> None:
        if self._gtid is not None and self._progress.contains(self._gtid):
            self._commit(time, end, [])
            return
        known = self._tx.prepared.get(key_of(xid))
        try:
            rows = self._tx.commit_prepared(xid)
        except UnknownXid as error:
            place = f"{self._progress.file}:{self._begin}"
            raise UnknownXaRows(str(xid), known.where if known else None, place) from error
        self._resolve(xid, known)
        self._commit(time, end, rows)

    def _resolve(self, xid: Xid, known: Prepared | None = None) -> None:
        """The GTID of a PREPARE that is no longer open belongs to the set."""
        known = known or self._tx.prepared.get(key_of(xid))
        if known is not None and known.where.gtid is not None:
            self._progress.resolve(known.where.gtid)
