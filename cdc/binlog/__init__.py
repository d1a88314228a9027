"""The binary log, without I/O: bytes in, finished source transactions out.

    feed          `Feed`: the one door; packets or file bytes to transactions      <- read this first
    reader        what every rare event does; groups: how transactions end, or come in pieces
    payloads      events inside of one event; inflate: what MySQL has compressed
    packets       packets that are not one event each
    refusals      errors that carry something
    events        names, kinds and fixed parts of events
    table_map     TABLE_MAP: a table's columns as the log describes them
    definition    a wanted table at one time, and its row images
    values        row images to Python values, by generated functions
    temporal, numbers, json_binary, charsets, compressed
                  one kind of bytes each
    statements    what a statement in text form means
    transaction   whose rows are committed: savepoints, rollbacks, XA
    progress      file, position, GTIDs
    counted       the first transaction, its rows by the event they came in

Nothing here knows a server, a socket or a file. Bytes that cannot be understood end in
an error of `cdc.errors` with file and position, never in a guess.
"""

from __future__ import annotations

from cdc.binlog.feed import Feed
from cdc.binlog.refusals import ReadAgain, ServerSaid, UnknownXaRows

__all__ = ["Feed", "ReadAgain", "ServerSaid", "UnknownXaRows"]
