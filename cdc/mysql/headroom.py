"""How long the server still keeps the oldest part of its log that a position needs: seconds of retention left.

Both servers count from when a file was left for the next one, so a file goes `retention`
seconds after its successor was begun, which is what the successor's head says. The newest file is
never purged. What is needed begins at the position or, where an XA transaction is open,
at its PREPARE, which may be days and files before. It is reckoned by the server's clock.
"""

from __future__ import annotations

from collections.abc import Callable

from cdc.mysql.checks import log_files
from cdc.mysql.identity import log_number
from cdc.mysql.session import Session
from cdc.position import GtidSet, Position

VARIABLES = ("binlog_expire_logs_seconds", "binlog_expire_logs_auto_purge", "expire_logs_days")
DAY = 86_400.0
LITTLE = 0.25
"""A headroom below this part of the retention is worth a warning."""


def retention(found: dict[str, str]) -> float | None:
    """Seconds a log file is kept after it was left, from the values of `VARIABLES`; None: for ever."""
    if found.get("binlog_expire_logs_auto_purge", "ON").upper() == "OFF":
        return None
    seconds = float(found.get("binlog_expire_logs_seconds") or 0)
    return seconds or float(found.get("expire_logs_days") or 0) * DAY or None


def headroom(session: Session, position: Position, begun: Callable[[str], int]) -> float | None:
    """Seconds until the oldest file that is needed may go; 0 where it is gone, None where none goes by age.

    `begun` says when a file was begun. A PREPARE on another server (no file name) is not counted.
    """
    keeps = retention(session.variables(*VARIABLES))
    if keeps is None:
        return None
    needed = min((position.file, *(p.file for p in position.prepared if p.file)), key=log_number)
    files = list(log_files(session))
    if needed not in files and isinstance(position.gtid_set, GtidSet):
        needed = files[0]  # by GTID a purged file is no loss by itself; what was not read is in those that are left
    if needed == files[-1] or not needed:
        return keeps
    if needed not in files:
        return 0.0
    left = begun(files[files.index(needed) + 1])
    now = float(session.value("SELECT UNIX_TIMESTAMP(NOW(6))"))
    return max(0.0, left + keeps - now)


def warning(session: Session, position: Position, begun: Callable[[str], int]) -> str | None:
    """A sentence where little is left."""
    left, keeps = headroom(session, position, begun), retention(session.variables(*VARIABLES))
    if left is None or keeps is None or left >= LITTLE * keeps:
        return None
    return (
        f"the oldest log file we need at {session.address} goes in {left:.0f} s: the server keeps its log for "
        f"{keeps / 3600:g} h (binlog_expire_logs_seconds)"
    )
