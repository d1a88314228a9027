"""Whose rows are committed: the truth table of the promise's second line.

    in the log                                   the group's rows
    XID, COMMIT, XA_PREPARE of ONE PHASE         are published
    ROLLBACK                                     are dropped
    ROLLBACK TO s                                those since SAVEPOINT s are dropped
    XA_PREPARE                                   are held under the xid
    XA COMMIT xid                                the held ones are published, with this group's GTID and time
    XA ROLLBACK xid                              the held ones are dropped
    end of file, FORMAT_DESCRIPTION              are dropped: the server died while it wrote

A savepoint set again moves (the server deletes the older one of that name); ROLLBACK TO
keeps the savepoint and forgets the later ones. Xids are told apart by gtrid and bqual,
as both servers do.

A group that is too large for memory is handed out in pieces before its end is seen (`hand_out`). Rows are numbered
as they come, from 0, and what savepoints undo is noted as ranges of these numbers. Undone rows that were handed out
already cannot be taken back: what came is `lost`, the group is only counted on to its end, and `Again` says there
which rows a second reading has to leave out; that one knows them before it begins (`known`), and hands out the rest.

Rows of a prepared transaction may not be here: prepared before we began to read, or
given away to save memory. Its commit then is `Unknown`, and whoever reads the log can
hand them in (`supply`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from cdc.binlog.events import Xid
from cdc.model import Row
from cdc.position import PreparedTransaction

XidKey: TypeAlias = tuple[bytes, bytes]
Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Numbers of rows: first and behind the last, in order, none touching another."""


def key_of(xid: Xid) -> XidKey:
    """What tells two XA transactions apart."""
    return xid.gtrid, xid.bqual


def parse_xid(text: str) -> Xid:
    """Read `X'..',X'..',n` back. Raises ValueError."""
    parts = text.split(",")
    if len(parts) != 3 or any(p[:2] != "X'" or p[-1:] != "'" for p in parts[:2]):  # noqa: PLR2004
        raise ValueError(f"not an xid: {text!r}")
    return Xid(bytes.fromhex(parts[0][2:-1]), bytes.fromhex(parts[1][2:-1]), int(parts[2]))


@dataclass(slots=True)
class Prepared:
    """An open XA transaction: where it began, and its rows if they are here."""

    where: PreparedTransaction
    rows: list[Row] | None
    size: int = 0


class UnknownXid(Exception):
    """An XA COMMIT whose rows are not here; the reader makes an error of the tree of it."""


class Again(Exception):
    """The end of a group of which too much was handed out; `ranges` of its rows' numbers are undone."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__(ranges)
        self.ranges = ranges


class UnknownSavepoint(ValueError):
    """A ROLLBACK TO a savepoint that this group has not set."""


@dataclass(slots=True)
class Transactions:
    """The open group's rows and savepoints, and the prepared transactions."""

    rows: list[Row] = field(default_factory=list)
    size: int = 0
    base: int = 0
    """How many of the group's rows so far are not in `rows`: handed out, or undone."""
    given: int = 0
    """How many were handed out."""
    lost: bool = False
    known: Ranges | None = None
    undone: list[tuple[int, int]] = field(default_factory=list)
    taken_back: bool = False
    """Was a group of which rows were handed out given up? For the reader to see and to put back."""
    savepoints: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, number of the next row, its index in `rows`, which is negative once it was handed out."""
    prepared: dict[XidKey, Prepared] = field(default_factory=dict)
    watched: XidKey | None = None
    watched_is_committed: bool = False
    """Was the last that happened to the xid `watched` its commit?"""

    def clear(self) -> None:
        """The group is over, or never was."""
        if self.given:
            self.taken_back = True
        self.rows.clear()
        self._forget()

    def take(self) -> list[Row]:
        """The group's rows, which leave it."""
        rows, self.rows = self.rows, []
        self._forget()
        return rows

    def _forget(self) -> None:
        self.savepoints.clear()
        self.undone.clear()
        self.size = self.base = self.given = 0
        self.lost, self.known = False, None

    # -- pieces ----------------------------------------------------------------------------

    def hand_out(self, size: int) -> tuple[list[Row], int]:
        """Some `size` bytes of the open group's rows, which leave it, and how many have left before."""
        held = len(self.rows)
        count = held if size >= self.size else min(held, max(1, held * size // self.size))
        rows, self.rows = self.rows[:count], self.rows[count:]
        kept = self._without_undone(rows)
        self.size = max(0, self.size - size) if self.rows else 0
        self.savepoints = [(name, number, index - count) for name, number, index in self.savepoints]
        self.base += count
        before = self.given
        if self.lost:
            return [], before
        self.given += len(kept)
        return kept, before

    def drop(self) -> None:
        """The open group's rows so far are not wanted."""
        self.hand_out(self.size)
        self.given = 0

    def last_piece(self) -> tuple[list[Row], int]:
        """The rest of a group's rows at its commit, and how many were handed out before. Raises Again."""
        if self.lost:
            ranges = tuple(self.undone)
            self.clear()
            raise Again(ranges)
        rows, before = self._without_undone(self.rows), self.given
        self.take()
        return rows, before

    def _without_undone(self, rows: list[Row]) -> list[Row]:
        """What the second reading keeps of `rows`, the first of which has the number `base`."""
        if self.known is None:
            return rows
        kept, at, end = [], self.base, self.base + len(rows)
        for first, behind in self.known:
            if behind > at and first < end:
                kept += rows[at - self.base : max(first, at) - self.base]
                at = min(behind, end)
        return kept + rows[at - self.base :]

    # -- savepoints ------------------------------------------------------------------------

    def savepoint(self, name: str) -> None:
        """SAVEPOINT: one of the same name is replaced."""
        self.savepoints = [point for point in self.savepoints if point[0] != name]
        self.savepoints.append((name, self.base + len(self.rows), len(self.rows)))

    def _find(self, name: str) -> int:
        for i, (known, _, _) in enumerate(self.savepoints):
            if known == name:
                return i
        raise UnknownSavepoint(f"a savepoint {name!r} that was not set")

    def rollback_to(self, name: str) -> None:
        """ROLLBACK TO: rows and savepoints since then are gone, the savepoint stays."""
        i = self._find(name)
        _, number, index = self.savepoints[i]
        del self.savepoints[i + 1 :]
        if self.known is not None:
            return  # they were left out, or will be
        now = self.base + len(self.rows)
        while self.undone and self.undone[-1][1] >= number:
            number = min(number, self.undone.pop()[0])
        if now > number:
            self.undone.append((number, now))
        if index < 0 and self.given:
            self.lost = True
        index = max(index, 0)
        self.base += len(self.rows) - index
        del self.rows[index:]
        self.savepoints[i] = (name, self.base + len(self.rows), len(self.rows))

    def release(self, name: str) -> None:
        """RELEASE SAVEPOINT: it and the later ones are forgotten, rows stay."""
        del self.savepoints[self._find(name) :]

    def prepare(self, xid: Xid, where: PreparedTransaction) -> None:
        """XA_PREPARE: the group's rows wait. Seen again after a restart, the place where it began stays the first."""
        known = self.prepared.get(key_of(xid))
        if known is not None and known.rows is None and known.where.gtid == where.gtid:
            where = known.where
        size = self.size
        self.prepared[key_of(xid)] = Prepared(where, self.take(), size)
        self._look_out(xid, committed=False)

    def commit_prepared(self, xid: Xid) -> list[Row]:
        """XA COMMIT: the rows that waited. Raises UnknownXid, and changes nothing then."""
        found = self.prepared.get(key_of(xid))
        if found is None or found.rows is None:
            raise UnknownXid(str(xid))
        del self.prepared[key_of(xid)]
        self._look_out(xid, committed=True)
        return found.rows

    def rollback_prepared(self, xid: Xid) -> None:
        """XA ROLLBACK: also of one that was never seen, whose rows do not matter."""
        self.prepared.pop(key_of(xid), None)
        self._look_out(xid, committed=False)

    def _look_out(self, xid: Xid, *, committed: bool) -> None:
        if self.watched is not None and key_of(xid) == self.watched:
            self.watched_is_committed = committed

    def supply(self, xid: Xid, rows: list[Row], where: PreparedTransaction) -> None:
        """Rows of a prepared transaction that were read elsewhere."""
        known = self.prepared.get(key_of(xid))
        self.prepared[key_of(xid)] = Prepared(known.where if known else where, rows)

    def held(self) -> int:
        """Bytes of the log whose rows wait."""
        return self.size + sum(p.size for p in self.prepared.values())
