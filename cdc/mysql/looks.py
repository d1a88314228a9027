"""Short looks into a server's log beside the stream that is read: each with a connection and a server_id of its own.

A server_id that is used twice ends the other reader, so a look never takes the stream's. What is looked for: the
head of a file, the last transaction before a position, a place on a promoted server, and the rows of
an XA transaction that was prepared where we have not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from cdc.binlog import Feed, UnknownXaRows
from cdc.errors import SourceError
from cdc.model import Row, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import log_files, server_facts
from cdc.mysql.identity import log_number
from cdc.mysql.peek import Found, Met, begin_of, look, look_for, meet
from cdc.mysql.prepared import find_rows
from cdc.mysql.server_ids import free_id, taken_ids
from cdc.mysql.session import Session, ask
from cdc.mysql.stream import FIRST_BYTE, LogRequest, LogStream, open_stream
from cdc.position import GtidSet, Position


class Looks:
    """Those of one source. `taken` are the server_ids that others use."""

    def __init__(
        self,
        name: str,
        address: Callable[[], ServerAddress],
        tables: Sequence[TableSpec],
        *,
        server_id: int | None,
        statements_allowed_in: Collection[str],
        silence: float,
    ) -> None:
        self._name, self._address, self._tables = f"cdc-{name}-look", address, tables
        self._server_id, self._statements_allowed_in, self._silence = server_id, statements_allowed_in, silence

    def begun(self, session: Session, position: Position, file: str) -> int:
        """When a file of the log was begun, as its head says."""
        head = Position(position.flavour, position.server, file, FIRST_BYTE)
        return self.peek(head, taken_ids(session, server_facts(session))).created

    def peek(self, position: Position, taken: set[int], *, by_gtid: bool = False) -> Found:
        """What the log has at a position, and before it; `by_gtid` where its file is not known."""
        request = self._request(position.file, begin_of(position), taken)
        last, gtids = position.last, position.gtid_set
        if by_gtid and last is not None and last.gtid is not None and isinstance(gtids, GtidSet):
            request = replace(request, gtid_set=gtids - GtidSet.parse(last.gtid))
        stream = self._open(request)
        try:
            return look(stream, position) if request.gtid_set is None else look_for(stream, position)
        finally:
            stream.close()

    def meet(self, state: str, gtid: str, taken: set[int]) -> Met | None:
        """Ask another MariaDB for the transactions behind a state of its domains."""
        stream = self._open(replace(self._request("", FIRST_BYTE, taken), connect_state=state))
        try:
            return meet(stream, int(gtid.partition("-")[0]))
        finally:
            stream.close()

    async def prepared_rows(self, unknown: UnknownXaRows, commit: Position) -> list[Row]:
        """The rows of the XA COMMIT whose group begins at `commit`; raises `unknown` where they are nowhere."""
        streams: list[LogStream] = []
        cancelled = False

        def question(session: Session) -> list[Row] | None:
            facts = server_facts(session)
            taken = taken_ids(session, facts)
            for file, begin in _begins(session, unknown, commit):
                start = Position(facts.flavour, facts.identity, file, begin)
                second = Feed(start.flavour, self._tables, start, statements_allowed_in=self._statements_allowed_in)
                stream = self._open(self._request(file, begin, taken))
                streams.append(stream)
                try:
                    if cancelled:
                        return None
                    rows = find_rows(stream, second, unknown.xid, commit)
                finally:
                    stream.close()
                if rows is not None:
                    return rows
            return None

        try:
            rows = await ask(self._address(), question)
        except SourceError as error:
            if error.retryable:
                raise
            raise unknown from error
        except asyncio.CancelledError:
            cancelled = True
            for stream in streams:
                stream.cut()
            raise
        if rows is None:
            raise unknown
        return rows

    def _request(self, file: str, position: int, taken: set[int]) -> LogRequest:
        return LogRequest(
            file=file,
            position=position,
            server_id=free_id(taken | {self._server_id or 0}),
            heartbeat=self._silence / 3,
            silence=self._silence,
            until_end=True,
        )

    def _open(self, request: LogRequest) -> LogStream:
        return open_stream(self._address(), request, self._name)


def _begins(session: Session, unknown: UnknownXaRows, commit: Position) -> Iterator[tuple[str, int]]:
    """Where to begin to look for a PREPARE: its place where that is known, else file by file backwards."""
    if unknown.where is not None and unknown.where.file:
        yield unknown.where.file, unknown.where.position
        return
    for file in reversed(log_files(session)):
        if log_number(file) <= log_number(commit.file):
            yield file, FIRST_BYTE
