"""What lies in the log behind a position: the first transaction, counted event by event, and a survey of all the rest.

For a handover. `first_transaction` reads one group with its rows (`FirstGroup`). `survey` reads to the end of the log
without any table and tells what stands in the way of somebody else going on there: XA transactions that were prepared
before the position, DDL on the outbox tables, and the server's own open XA transactions.

Each with a connection and a server_id of its own, in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from cdc.binlog import Feed, ServerSaid, UnknownXaRows
from cdc.binlog.counted import FirstGroup
from cdc.binlog.events import QUERY
from cdc.errors import SourceUnavailable
from cdc.model import TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import check_server, log_status
from cdc.mysql.named import packets
from cdc.mysql.refusals import refusal
from cdc.mysql.server_ids import free_id, taken_ids
from cdc.mysql.session import Session, ask
from cdc.mysql.stream import LogRequest, LogStream, open_stream
from cdc.position import GtidSet, Position

_WAIT = 10.0
"""Seconds for a group whose begin is in the log to be there whole."""
_LONGEST = 60.0
"""Seconds of reading only to look."""
_KIND = 9
_DDL = re.compile(rb"\b(?:ALTER|CREATE|DROP|RENAME|TRUNCATE)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was met between a position and the log's end."""

    end: Position
    transactions: int
    prepared_before: tuple[str, ...]
    """XA transactions that were committed there and prepared before."""
    open_now: tuple[str, ...] | None
    """Prepared and not ended; None where the server does not let us ask."""
    altered: tuple[str, ...]
    """Statements that change one of the tables."""
    tagged: bool
    """Did the server ever have a GTID with a tag?"""
    whole: bool
    """False: reading took too long and was ended."""


async def first_transaction(
    address: ServerAddress, tables: Sequence[TableSpec], position: Position, *, allowed: Collection[str] = ()
) -> FirstGroup | None:
    """The first group behind a position; None where the log ends there. Raises SourceError."""

    def question(session: Session) -> FirstGroup | None:
        until = time.monotonic() + _WAIT
        while True:
            group = FirstGroup(position.flavour, tables, position, allowed=allowed)
            stream = _open(session, tables, position)
            try:
                for packet in packets(stream):
                    if group.take(packet):
                        return group
            except ServerSaid as said:
                raise refusal(said.code, said.text, address, position) from said
            finally:
                stream.close()
            if not group.begun:
                return None
            if time.monotonic() > until:
                raise SourceUnavailable(f"the log of {address} ends inside a transaction", hint="try again")

    return await ask(address, question)


async def survey(address: ServerAddress, tables: Sequence[TableSpec], position: Position) -> Ahead:
    """Read on to where the log ends now. Raises SourceError."""

    def question(session: Session) -> Ahead:
        facts = check_server(session, tables)
        gtids = log_status(session, facts).gtid_executed
        tagged = facts.gtid_on and any(tag for (_, tag), _ in GtidSet.parse(gtids or ""))
        opened = session.attempt("XA RECOVER")
        stream = _open(session, tables, position)
        try:
            found = _Survey(position, tables)
            whole = found.read(stream)
        finally:
            stream.close()
        return Ahead(
            end=found.feed.position,
            transactions=found.transactions,
            prepared_before=tuple(found.prepared_before),
            open_now=None if opened is None else tuple(_name(row.get("data")) for row in opened),
            altered=tuple(found.altered),
            tagged=tagged,
            whole=whole,
        )

    return await ask(address, question)


class _Survey:
    def __init__(self, position: Position, tables: Sequence[TableSpec]) -> None:
        self.feed = Feed(position.flavour, (), position)
        self.transactions = 0
        self.prepared_before: list[str] = []
        self.altered: list[str] = []
        self._names = [(spec.schema.encode(), spec.name.encode()) for spec in tables]

    def read(self, stream: LogStream) -> bool:
        """To the end of the stream; False where that takes too long."""
        until, inside = time.monotonic() + _LONGEST, False
        for packet in packets(stream):
            if packet[_KIND] == QUERY and _DDL.search(packet):
                self.altered += [_text(packet) for names in self._names if all(name in packet for name in names)]
            self._take(packet, stream)
            self.transactions += inside and not self.feed.in_transaction
            inside = self.feed.in_transaction
            if time.monotonic() > until:
                return False
        return True

    def _take(self, data: bytes, stream: LogStream) -> None:
        while True:
            try:
                self.feed.feed(data)
            except UnknownXaRows as unknown:
                self.prepared_before.append(unknown.xid)
                self.feed.supply(unknown.xid, [])
                data = b""
            except ServerSaid as said:
                raise refusal(said.code, said.text, stream.address, self.feed.position) from said
            else:
                return


def _name(data: object) -> str:
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else str(data)


def _text(packet: bytes) -> str:
    """The statement's begin, for people."""
    at = _DDL.search(packet)
    return packet[at.start() if at else 0 :][:60].decode("utf-8", "replace")


def _open(session: Session, tables: Sequence[TableSpec], position: Position) -> LogStream:
    facts = check_server(session, tables)
    gtids = position.gtid_set if facts.gtid_on and isinstance(position.gtid_set, GtidSet) else None
    request = LogRequest(position.file, position.position, 0, gtid_set=gtids)
    request = replace(request, server_id=free_id(taken_ids(session, facts)), until_end=True)
    return open_stream(session.address, request, "cdc-look")
