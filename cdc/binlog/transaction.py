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


class UnknownSavepoint(ValueError):
    """A ROLLBACK TO a savepoint that this group has not set."""


@dataclass(slots=True)
class Transactions:
    """The open group's rows and savepoints, and the prepared transactions."""

    rows: list[Row] = field(default_factory=list)
    size: int = 0
    savepoints: list[tuple[str, int]] = field(default_factory=list)
    prepared: dict[XidKey, Prepared] = field(default_factory=dict)
    watched: XidKey | None = None
    watched_is_committed: bool = False
    """Was the last that happened to the xid `watched` its commit?"""

    def clear(self) -> None:
        """The group is over, or never was."""
        self.rows.clear()
        self.savepoints.clear()
        self.size = 0

    def take(self) -> list[Row]:
        """The group's rows, which leave it."""
        rows, self.rows, self.size = self.rows, [], 0
        self.savepoints.clear()
        return rows

    def savepoint(self, name: str) -> None:
        """SAVEPOINT: one of the same name is replaced."""
        self.savepoints = [point for point in self.savepoints if point[0] != name]
        self.savepoints.append((name, len(self.rows)))

    def _find(self, name: str) -> int:
        for i, (known, _) in enumerate(self.savepoints):
            if known == name:
                return i
        raise UnknownSavepoint(f"a savepoint {name!r} that was not set")

    def rollback_to(self, name: str) -> None:
        """ROLLBACK TO: rows and savepoints since then are gone, the savepoint stays."""
        i = self._find(name)
        del self.rows[self.savepoints[i][1] :]
        del self.savepoints[i + 1 :]

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
