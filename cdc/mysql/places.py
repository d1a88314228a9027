"""Where the log of a server begins and ends now, as positions to start from.

The GTIDs that belong to a place differ by server. MySQL's first set is what was purged,
never empty where something was; its executed set may lag the end of the log by the commits
under way, which a reader that starts at "now" is then given: late is nothing lost. MariaDB
reckons the last GTID of each domain before any place itself (BINLOG_GTID_POS).

The end of what is visible is a third place, for a snapshot. On MySQL the log is ahead of the engine: a
commit may be in the log and not yet be seen by a new consistent read. So it is gtid_executed where there are
GTIDs, and what performance_schema.log_status says, which waits for commits under way, where there are none.
On MariaDB a consistent read itself names the place in the log where it stands.

Whose file it is (`file_created`) only the log can say: see `peek`.
"""

from __future__ import annotations

import json
from dataclasses import replace

from cdc.errors import SourceAccessDenied, SourceError
from cdc.mysql.checks import ServerFacts, log_files, log_status
from cdc.mysql.identity import purged
from cdc.mysql.session import ANSWER_TIMEOUT, Session
from cdc.mysql.stream import FIRST_BYTE
from cdc.mysql.table_rows import ConsistentRead
from cdc.position import GtidList, GtidSet, Position


def begin_of_log(session: Session, facts: ServerFacts) -> Position:
    """The begin of the oldest file."""
    oldest = next(iter(log_files(session)))
    return _place(session, facts, oldest, FIRST_BYTE, purged(session) if facts.gtid_on else None)


def end_of_log(session: Session, facts: ServerFacts) -> Position:
    """The end of the newest file."""
    status = log_status(session, facts)
    gtids = GtidSet.parse(status.gtid_executed) if facts.gtid_on else None
    return _place(session, facts, status.file, status.position, gtids)


def visible_end(session: Session, facts: ServerFacts) -> Position:
    """All that was committed before it is seen by every consistent read that is opened from now on."""
    if facts.gtid_on:
        # Its GTIDs are those of what is visible; the place beside them must not be ahead of them.
        return replace(end_of_log(session, facts), position=FIRST_BYTE)
    if facts.flavour == "mariadb":
        read = ConsistentRead(session.address, timeout=ANSWER_TIMEOUT)
        try:
            file, position = own_place(read)
        finally:
            read.close()
        return _place(session, facts, file, position, None)
    try:
        said = json.loads(str(session.value("SELECT LOCAL FROM performance_schema.log_status")))
    except SourceAccessDenied as error:
        raise SourceAccessDenied(
            f"{session.address} has no GTIDs, and a snapshot then needs its log_status: {error.message}",
            hint=f"GRANT BACKUP_ADMIN ON *.* TO {session.account()}; GRANT SELECT ON performance_schema.log_status TO "
            f"{session.account()}; or choose start: earliest or latest",
        ) from error
    return _place(session, facts, str(said["binary_log_file"]), int(said["binary_log_position"]), None)


def own_place(read: ConsistentRead) -> tuple[str, int]:
    """Where in MariaDB's log a consistent read stands."""
    said = read.status("binlog_snapshot_%")
    if not said.get("binlog_snapshot_file"):
        raise SourceError(
            f"{read.address} does not say where in its log a consistent read stands (Binlog_snapshot_file)",
            hint="is log_bin on? choose start: earliest or latest for this source",
        )
    return said["binlog_snapshot_file"], int(said["binlog_snapshot_position"])


def _place(session: Session, facts: ServerFacts, file: str, position: int, gtids: GtidSet | None) -> Position:
    if facts.flavour == "mysql":
        return Position(facts.flavour, facts.identity, file, position, gtids)
    domains = session.value("SELECT BINLOG_GTID_POS(%s, %s)", file, position)
    return Position(facts.flavour, facts.identity, file, position, GtidList.parse(str(domains or "")))
