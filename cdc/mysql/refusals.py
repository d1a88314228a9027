"""What a server says instead of the log, as our errors: by its meaning, for most share one code.

1236 is the servers' word for "no log for you" and stands for a purged file, another
history, a second reader with our server_id, and a wrong request alike. Both servers'
texts are matched here, in the words of MySQL 8.4/9.7 and MariaDB 10.11/11.8
(tests/unit/test_mysql_refusals.py has them word for word).
"""

from __future__ import annotations

from cdc.errors import Diverged, PositionLost, SourceAccessDenied, SourceError, SourceUnavailable, WrongServer
from cdc.mysql.address import ServerAddress
from cdc.mysql.session import DENIED, LOST

HEAL = (
    "what was missed is in the table, if nobody deleted it; to go on with what the log still has: cdc checkpoint set "
    "-c FILE --source NAME --to earliest (or another position)"
)
HISTORY = (
    "the source's url leads to another server than before, or its log was reset or restored: correct the url, or "
    "to go on at a place of this one: cdc checkpoint set -c FILE --source NAME --to POSITION"
)

CLASH = ("same server_uuid/server_id", "same server_id", "same server_uuid")
PURGED = ("could not find first log file", "purged required binary logs", "have been purged")
AHEAD = ("has more gtids than the",)
BROKEN = ("i/o error reading log event", "could not find next log")
"""MySQL and MariaDB, whose log was reset under its reader, or cannot be read: asked again it says which."""
OTHER = (
    "impossible position",
    "position > file size",
    "bogus data in log event",
    "truncated in the middle of event",
    "not in the master's binlog",
    "log event entry exceeded",
    "requested to start from gtid",
)


def refusal(code: int, text: str, address: ServerAddress, position: object) -> SourceError:
    """The error for an ERR packet in the stream; `position` is what we asked for or had reached."""
    low, said = text.lower(), f"{text} ({code})"
    error: SourceError
    if any(words in low for words in CLASH):
        error = SourceUnavailable(
            f"{address} gave our place to another reader with the same server_id: {said}",
            hint="something else reads this server's log with this server_id: SHOW REPLICAS names it; give each "
            "source a server_id of its own, or none",
        )
    elif code in DENIED:
        error = SourceAccessDenied(
            f"{address.user!r} may not read the log of {address}: {said}",
            hint=f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{address.user}'@'%';",
        )
    elif any(words in low for words in PURGED):
        error = PositionLost(f"{address} no longer has the log at {position}: {said}", hint=HEAL)
    elif any(words in low for words in AHEAD):
        error = Diverged(f"{address} lacks transactions we have published, at {position}: {said}", hint=HISTORY)
    elif any(words in low for words in OTHER):
        error = WrongServer(f"{position} is no place in the log of {address}: {said}", hint=HISTORY)
    elif any(words in low for words in BROKEN):
        error = SourceUnavailable(
            f"{address} can no longer read its log at {position}: {said}",
            hint="its log was reset, or a file of it is damaged: the reconnect tells which; see the server's error log",
        )
    elif code in LOST:
        error = SourceUnavailable(f"{address} ended the log stream: {said}", hint="reading goes on after a reconnect")
    else:
        error = SourceError(f"{address} refuses the log at {position}: {said}", hint="see the server's error log")
    return error
