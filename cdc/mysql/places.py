"""Where the log of a server begins and ends now, as positions to start from.

The GTIDs that belong to a place differ by server. MySQL's first set is what was purged,
never empty where something was; its executed set may lag the end of the log by the commits
under way, which a reader that starts at "now" is then given: late is nothing lost. MariaDB
reckons the last GTID of each domain before any place itself (BINLOG_GTID_POS).

Whose file it is (`file_created`) only the log can say: see `peek`.
"""

from __future__ import annotations

from cdc.mysql.checks import ServerFacts, log_files, log_status
from cdc.mysql.identity import purged
from cdc.mysql.session import Session
from cdc.mysql.stream import FIRST_BYTE
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


def _place(session: Session, facts: ServerFacts, file: str, position: int, gtids: GtidSet | None) -> Position:
    if facts.flavour == "mysql":
        return Position(facts.flavour, facts.identity, file, position, gtids)
    domains = session.value("SELECT BINLOG_GTID_POS(%s, %s)", file, position)
    return Position(facts.flavour, facts.identity, file, position, GtidList.parse(str(domains or "")))
