"""How far a reader is behind a server's log, and how long the server keeps what it has not read.

One short connection a survey, in a thread. The list of log files is asked for only where the
reader is not in the newest one: on a server with thousands of files that question is not cheap.

The server's clock comes along: times in a log are the server's, and an age is right only
if it is reckoned by the same clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.model import LogEnd
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import log_files, log_status, server_facts
from cdc.mysql.headroom import VARIABLES, retention
from cdc.mysql.session import Session, ask


@dataclass(frozen=True, slots=True)
class Survey:
    """What a server said. `clock` is its time in seconds since 1970; `keeps` None: it purges nothing by age."""

    end: LogEnd
    clock: float
    keeps: float | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    """All log files, oldest first; only where the reader is not in the newest one."""


async def survey(address: ServerAddress, file: str | None) -> Survey:
    """Ask the server; `file` is where the reader is. Raises SourceError."""

    def question(session: Session) -> Survey:
        facts = server_facts(session)
        status = log_status(session, facts)
        clock = float(session.value("SELECT UNIX_TIMESTAMP(NOW(6))"))
        sizes = {} if file in (None, status.file) else log_files(session)
        end = LogEnd(status.file, status.position, status.gtid_executed or None, facts.identity)
        return Survey(end, clock, retention(session.variables(*VARIABLES)), sizes)

    return await ask(address, question)
