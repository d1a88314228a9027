"""The rows of an XA transaction that was prepared where we have not read: looked up when its commit comes.

The rows of an XA COMMIT are in the log at its PREPARE, hours or files before. Three ways
lead here: MariaDB after a restart of ours (the checkpoint says where the PREPARE is), a first
start between PREPARE and COMMIT, and rows that were given up to save memory. MySQL with GTIDs
sends open PREPAREs again by itself.

The log is read a second time, from the PREPARE or else from the oldest file, up to the very
XA COMMIT: an xid may be used again and again, only the last PREPARE before the commit
counts, and a second feed is who knows best. It has a connection and a server_id of its own.
"""

from __future__ import annotations

from cdc.binlog import Feed, ServerSaid, UnknownXaRows
from cdc.errors import SourceUnavailable
from cdc.model import Row
from cdc.mysql.identity import log_number
from cdc.mysql.refusals import refusal
from cdc.mysql.stream import LogStream


def find_rows(stream: LogStream, feed: Feed, file: str, position: int) -> list[Row] | None:
    """The rows that the XA COMMIT whose group begins at file:position commits; None where its PREPARE is not met.

    Other commits on the way whose rows are unknown are older than the begin, and passed over.
    """
    data = _more(stream)
    while True:
        try:
            for transaction in feed.feed(data):
                if (transaction.file, transaction.position - transaction.length) == (file, position):
                    return transaction.rows
        except UnknownXaRows as unknown:
            if (feed.position.file, feed.position.position) == (file, position):
                return None
            feed.supply(unknown.xid, [])
            data = b""
            continue
        except ServerSaid as said:
            raise refusal(said.code, said.text, stream.address, feed.position) from said
        place = feed.position
        if (log_number(place.file), place.position) > (log_number(file), position):
            return []  # committed, and no row of ours in it
        data = _more(stream) if feed.failure is None else b""


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
