"""The rows of an XA transaction that was prepared where we have not read: looked up when its commit comes.

The rows of an XA COMMIT are in the log at its PREPARE, hours or files before. Three ways
lead here: MariaDB after a restart of ours (the checkpoint says where the PREPARE is), a first
start between PREPARE and COMMIT, and rows that were given up to save memory. MySQL with GTIDs
sends open PREPAREs again by itself.

Where the PREPARE's place is known, the log is read a second time from there; else file by
file backwards from the commit's. An xid may be used again and again and only the last
PREPARE before the commit counts; a second feed is who knows best which that is. It has a
connection and a server_id of its own.

A commit may come twice: MariaDB writes XA COMMIT to its log before the engine does it, and
does not make up for it after a crash between the two. The transaction is prepared again
then, and a coordinator that got no answer commits it again, which is logged again. Its rows
were published with the first.
"""

from __future__ import annotations

from cdc.binlog import Feed, ServerSaid, UnknownXaRows
from cdc.errors import SourceUnavailable
from cdc.model import Row
from cdc.mysql.identity import log_number
from cdc.mysql.refusals import refusal
from cdc.mysql.stream import LogStream
from cdc.position import Position


def find_rows(stream: LogStream, feed: Feed, xid: str, target: Position) -> list[Row] | None:
    """The rows that the XA COMMIT whose group begins at `target` commits; None where the PREPARE is not met.

    Reads to the target or to the end of the file the feed begins in, whatever comes first.
    Other commits on the way whose rows are unknown are passed over. None are left for a
    commit that only repeats one.
    """
    feed.watch(xid)
    file, end = feed.position.file, (log_number(target.file), target.position)
    data = _more(stream)
    while True:
        try:
            for found in feed.feed(data):
                if (found.file, found.position - found.length) == (target.file, target.position):
                    return found.rows
        except UnknownXaRows as unknown:
            if _place(feed) == end:
                return [] if feed.watched_is_committed else None
            feed.supply(unknown.xid, [])
            data = b""
            continue
        except ServerSaid as said:
            raise refusal(said.code, said.text, stream.address, feed.position) from said
        if _place(feed) > end:
            return []  # committed, and no row of ours in it
        if feed.position.file != file and feed.failure is None:
            return [] if feed.watched_is_committed else feed.prepared_rows(xid)
        data = _more(stream) if feed.failure is None else b""


def _place(feed: Feed) -> tuple[int, int]:
    return log_number(feed.position.file), feed.position.position


def _more(stream: LogStream) -> bytes:
    try:
        data = stream.receive(1 << 17)
    except OSError as error:  # a timeout is one too
        raise SourceUnavailable(
            f"{stream.address} stopped sending its log ({error})", hint="reading goes on after a reconnect"
        ) from error
    if not data:
        raise SourceUnavailable(f"{stream.address} ended the log stream", hint="reading goes on after a reconnect")
    return data
