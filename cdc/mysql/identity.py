"""Is the log of this server still the one a position belongs to? Asked at every connect.

The servers ask far too little themselves. MySQL compares only the GTIDs of its own UUID;
MariaDB resumes at any place that exists. So a log that was reset and has grown
past our place again, or a restored one, would be read on with a gap nobody sees. What we
compare, in this order:

1. Same kind of server. Same identity (UUID or server_id); on MySQL with GTIDs another
   one is fine if it has executed all of our set: a promoted replica. On another MariaDB
   our place must be found anew (`promoted`).
2. On the same server: the file is still there, its FORMAT_DESCRIPTION event has the
   time in its header we remember, it is long enough, and the last transaction before our place has the same
   GTID, commit time and length. By GTIDs a purged file is no loss; without them it is.
3. MySQL with GTIDs: our set is a subset of gtid_executed (it may lag the log for
   a moment, for the log is ahead of the engine: so we wait a little), and nothing we lack was purged.
   Where the file could not be looked into, the last transaction is asked for by its GTID.

Blocking functions of a `Session`; the log itself is read through `peek`.
"""

from __future__ import annotations

import re
from typing import Protocol

from cdc.errors import Diverged, PositionLost, WrongServer
from cdc.mysql.checks import ServerFacts, log_files
from cdc.mysql.peek import Found, can_see
from cdc.mysql.refusals import HEAL, HISTORY
from cdc.mysql.session import Session
from cdc.position import GtidSet, Position


class Peek(Protocol):
    """A look into the log."""

    def __call__(self, position: Position, *, by_gtid: bool = False) -> Found:
        """The head of the position's file and the last transaction before it, by place or by its GTID."""


EXECUTED_WAIT = 15
"""Seconds that gtid_executed may lag the log: longer than the semi-sync timeout, 10 s."""


def check_identity(session: Session, facts: ServerFacts, position: Position, peek: Peek) -> None:
    """Return if reading on at the position continues the same history; else raise what it is not."""
    if facts.flavour != position.flavour:
        raise WrongServer(
            f"{session.address} is {facts.flavour} ({facts.version}); the position is of {position.flavour}",
            hint=HISTORY,
        )
    gtids = by_gtid(facts, position)
    if not gtids and facts.identity != position.server:
        raise WrongServer(
            f"{session.address} is server {facts.identity}; the position {position} is of server {position.server}",
            hint=HISTORY,
        )
    looked = facts.identity == position.server and _check_file(session, position, peek, needed=not gtids)
    if gtids:
        _check_executed(session, facts, position)
        _check_purged(session, position, peek)
        if not looked:
            _check_last(session, position, peek)


def by_gtid(facts: ServerFacts, position: Position) -> bool:
    """Is this resumed by GTID (MySQL) rather than by file and position?"""
    return facts.gtid_on and isinstance(position.gtid_set, GtidSet)


def _check_executed(session: Session, facts: ServerFacts, position: Position) -> None:
    ours = position.gtid_set
    assert isinstance(ours, GtidSet)  # noqa: S101 - by_gtid said so
    missing = ours - executed(session)
    if missing and facts.identity == position.server:
        session.attempt("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", str(ours), EXECUTED_WAIT)
        missing = ours - executed(session)
    if missing == ours and (ours or facts.identity != position.server):
        raise WrongServer(
            f"{session.address} (server {facts.identity}) has none of what we have published ({ours or '-'})"
            f" from server {position.server}",
            hint=HISTORY,
        )
    if missing:
        raise Diverged(
            f"{session.address} lacks {missing.count()} transactions we have published: {missing}",
            hint="wait until the server has caught up, or point the source at one that has them; "
            "if they are lost for good: cdc checkpoint set -c FILE --source NAME --to latest (or another position)",
        )


def executed(session: Session) -> GtidSet:
    """All GTIDs the server has executed."""
    return GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))


def purged(session: Session) -> GtidSet:
    """All GTIDs that are no longer in the server's log."""
    return GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_purged")))


def _check_purged(session: Session, position: Position, peek: Peek) -> None:
    assert isinstance(position.gtid_set, GtidSet)  # noqa: S101 - by_gtid said so
    lacking = purged(session) - position.gtid_set
    if lacking:
        raise PositionLost(
            f"{session.address} has purged {lacking.count()} transactions we have not read ({lacking})"
            + _missed(session, position, peek),
            hint=HEAL,
        )


def _check_last(session: Session, position: Position, peek: Peek) -> None:
    """The last transaction, wherever it is in this server's log, if it still is."""
    last = position.last
    if last is None or last.gtid is None or GtidSet.parse(last.gtid) <= purged(session):
        return
    _compare(session, position, peek(position, by_gtid=True))


def _compare(session: Session, position: Position, found: Found) -> None:
    if found.last != position.last:
        raise WrongServer(
            f"the transaction before {position} at {session.address} is not the one we have published: "
            f"{found.last or 'none'}, ours was {position.last}",
            hint=HISTORY,
        )


def _check_file(session: Session, position: Position, peek: Peek, *, needed: bool) -> bool:
    """Compare the position's file. False: it was purged, which is no loss where it is not `needed`."""
    files = log_files(session)
    size = files.get(position.file)
    if size is None:
        _check_purged_away(session, position, list(files))
        if needed:
            raise PositionLost(
                f"{session.address} has purged {position.file}; its oldest log file is {next(iter(files))}"
                + _missed(session, position, peek),
                hint=HEAL,
            )
        return False
    found = peek(position)
    if position.file_created and found.created != position.file_created:
        raise WrongServer(
            f"{position.file} at {session.address} was begun at {found.created}, ours at {position.file_created}"
            " (seconds since 1970): the log was reset or restored",
            hint=HISTORY,
        )
    if size < position.position:
        raise Diverged(
            f"{position.file} at {session.address} ends at {size}, before our {position.position}: the server has lost"
            " transactions we have published",
            hint="was the server restored, or did it crash with sync_binlog other than 1? To go on at another place of "
            "its log: cdc checkpoint set -c FILE --source NAME --to POSITION",
        )
    if can_see(position):
        _compare(session, position, found)
    return True


def _check_purged_away(session: Session, position: Position, files: list[str]) -> None:
    if log_number(position.file) >= log_number(files[0]):
        raise WrongServer(
            f"{session.address} has no log file {position.file}, but {files[0]} to {files[-1]}: it was reset",
            hint=HISTORY,
        )


def _missed(session: Session, position: Position, peek: Peek) -> str:
    """How many seconds of retention were missing, where it can be told."""
    known = position.log_time or (position.last.commit_time if position.last else 0)
    oldest = next(iter(log_files(session)))
    begun = peek(Position(position.flavour, position.server, oldest, 4)).created
    return f"; the oldest that is left began {begun - known} s after our last" if known and begun > known else ""


def log_number(name: str) -> int:
    """The number at the end of a log file's name: `binlog.000042` is 42."""
    match = re.search(r"(\d+)$", name)
    return int(match[1]) if match else 0
