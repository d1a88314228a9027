"""`MySqlSource`: a MySQL or MariaDB server's log as the pump's `Source`.

    open     one SQL connection: checks, identity (with a short look into the log), a server_id
             nobody uses; then the dump from the position, through a `Hose` into a `Feed`
    read     bytes from the hose, at most `slice_bytes` at a time, through the feed; a slice as soon as
             there is something to tell
    close    all of it away; open() may follow, on the same or another server behind the same address

MySQL with gtid_mode=ON is resumed by GTID set, holes and tags included; all else by file
and position, which on a promoted MariaDB are found by GTID first (`promoted`).

`read` may be cancelled at any await without loss: bytes leave the hose and go through the feed
without an await between, and what the feed finished is kept until a slice carries it.
A position that moved without rows is told a few times a second at most: on a
busy server with an idle outbox that is all that happens.

When nobody reads for `patience` seconds the hose closes the connection; the next read opens it
again at the position behind all that was taken.

With a `memory_budget` a transaction whose rows go over an eighth of it is told in pieces of a 32nd, before its end
is seen (`Slice.piece`). One that takes back rows that were told comes a second time, without them.

Rows that wait for an XA COMMIT are kept up to `prepared_bytes`, then forgotten and looked up in the log again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from cdc.binlog import Feed, ReadAgain, ServerSaid, UnknownXaRows
from cdc.errors import ConfigError, SourceError, SourceUnavailable
from cdc.model import LogEnd, Observer, Slice, SourceTransaction, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import ServerFacts, check_server, log_status, server_facts
from cdc.mysql.headroom import headroom, warning
from cdc.mysql.hose import Hose, Paused
from cdc.mysql.identity import by_gtid, check_identity
from cdc.mysql.looks import Looks
from cdc.mysql.places import begin_of_log, end_of_log, visible_end
from cdc.mysql.promoted import place_on
from cdc.mysql.refusals import refusal
from cdc.mysql.server_ids import check_id, free_id, taken_ids
from cdc.mysql.session import Session, ask
from cdc.mysql.stream import FIRST_BYTE, LogRequest, opened
from cdc.position import GtidSet, Position

PURE_MOVE_EVERY = 0.25
"""Seconds between two slices that hold nothing but a moved position."""
GIANT, PIECES = 8, 32
"""Of the memory budget: the part that makes a transaction come in pieces, and that of a piece."""
RECEIVE_BYTES = 512 * 1024
"""At most, of the socket in one go; each go takes the interpreter from the event loop twice."""


class MySqlSource:
    """The log of one server, and the tables in it that matter.

    A function as `address` is asked at every connect, so that a password may change while we run.
    """

    def __init__(
        self,
        name: str,
        address: ServerAddress | Callable[[], ServerAddress],
        tables: Sequence[TableSpec],
        *,
        observer: Observer,
        server_id: int | None = None,
        statements_allowed_in: Sequence[str] = (),
        slice_bytes: int = 128 * 1024,
        handover_bytes: int = 2 * 1024 * 1024,
        prepared_bytes: int = 32 * 1024 * 1024,
        memory_budget: int | None = None,
        max_row_bytes: int | None = None,
        heartbeat: float = 5.0,
        silence: float | None = None,
        patience: float = 30.0,
        deletes: bool = False,
    ) -> None:
        self.name, self._address, self._tables = name, address, tuple(tables)
        self._observe, self._server_id = observer, server_id
        self._statements_allowed_in = frozenset(statements_allowed_in)
        self._slice_bytes = slice_bytes
        self._handover_bytes = min(handover_bytes, (memory_budget or handover_bytes * GIANT) // GIANT)
        self._prepared_bytes = prepared_bytes
        self._memory_budget, self._max_row_bytes = memory_budget, max_row_bytes
        self._again: ReadAgain | None = None
        self._heartbeat, self._silence, self._patience = heartbeat, silence or 3 * heartbeat, patience
        self._deletes = deletes
        self._looks = Looks(
            name,
            lambda: self.address,
            self._tables,
            server_id=server_id,
            statements_allowed_in=self._statements_allowed_in,
            silence=self._silence,
        )
        self._set_aside: Counter[str] = Counter()
        self._hose: Hose | None = None
        self._feed: Feed | None = None
        self._ready: list[SourceTransaction] = []
        self._size = 0
        self._told: Position | None = None
        self._next_move = 0.0
        self._careful = False
        self._uncut, self._to_cut = b"", 0  # careful: what is not fed, and how much of it is of the packet begun
        self._failure: Exception | None = None
        self._paused_at: Position | None = None

    @property
    def address(self) -> ServerAddress:
        """The server as it is to be reached now."""
        return self._address() if callable(self._address) else self._address

    @property
    def told(self) -> Position | None:
        """Behind all that was told, and what came behind it without rows; None while something waits to be told."""
        return self._feed.position if self._feed is not None and not self._ready else None

    @property
    def set_aside(self) -> Counter[str]:
        """What was read since the start and is rightly nothing to publish.

        `repeated`: transactions with rows that the server sent although their GTIDs were known. `history`: rows that
        an UPDATE of a system-versioned table wrote.
        """
        feed = self._feed
        return self._set_aside + Counter(repeated=feed.repeated, history=feed.history_rows) if feed else self._set_aside

    @property
    def _reader_name(self) -> str:
        """What SHOW REPLICAS calls us."""
        return f"cdc-{self.name}"

    # -- places in the log ---------------------------------------------------------------

    async def first_position(self, start: str) -> Position:
        """Where a first start begins: the begin of the oldest file, the end of the log, the end of what is visible."""
        find = {"earliest": begin_of_log, "latest": end_of_log, "snapshot": visible_end}.get(start)
        if find is None:
            raise ConfigError(f"start: {start!r} is no place in a log", hint="earliest, latest or snapshot")

        def question(session: Session) -> Position:
            facts = check_server(session, self._tables)
            place = find(session, facts)
            return replace(place, file_created=self._looks.peek(place, taken_ids(session, facts)).created)

        return await ask(self.address, question)

    async def log_end(self) -> LogEnd:
        """Where the log ends now."""

        def question(session: Session) -> LogEnd:
            facts = server_facts(session)
            status = log_status(session, facts)
            return LogEnd(status.file, status.position, status.gtid_executed or None, facts.identity)

        return await ask(self.address, question)

    async def headroom(self, position: Position | None = None) -> float | None:
        """Seconds until the server may purge what we need at a position (where we read now); None: it purges none."""
        place = position or (self._feed.position if self._feed is not None else None)
        if place is None:
            return None
        return await ask(
            self.address, lambda session: headroom(session, place, partial(self._looks.begun, session, place))
        )

    # -- the life of a connection --------------------------------------------------------

    async def open(
        self, position: Position, *, careful: bool = False, snapshot: Mapping[str, Any] | None = None
    ) -> None:
        """Connect, make sure it is this position's history, and begin to read behind it. Raises SourceError."""
        if snapshot is not None:
            raise ConfigError("this source reads only the log", hint="a snapshot needs a SnapshotSource around it")
        await self.close()
        self._observe("opening", position=position, server=str(self.address))
        facts, begin, request = await ask(self.address, lambda session: self._checked(session, position))
        stream = await opened(self.address, request, self._reader_name)
        self._hose = Hose(stream, limit=self._handover_bytes, chunk=RECEIVE_BYTES, patience=self._patience)
        self._feed = self._reader(begin)
        self._told, self._careful = position, careful  # on a promoted server it is another place: that is told first
        try:
            # The answer to the dump request comes at once: the log's head, or why there is none.
            self._swallow(await self._hose.take(self._slice_bytes))
        except BaseException:
            await self.close()
            raise
        if isinstance(self._failure, SourceError) and not isinstance(self._failure, UnknownXaRows) and not self._ready:
            failure = self._failure
            await self.close()
            raise failure
        self._observe(
            "opened",
            position=position,
            server=str(self.address),
            version=facts.version,
            by="gtid" if request.gtid_set is not None else "file",
            server_id=request.server_id,
            warnings=facts.warnings,
        )

    def _reader(self, begin: Position) -> Feed:
        """Of the log from a position on, with our limits."""
        feed = Feed(
            begin.flavour,
            self._tables,
            begin,
            statements_allowed_in=self._statements_allowed_in,
            deletes=self._deletes,
        )
        if self._memory_budget is not None:
            feed.pause_at = self._memory_budget // PIECES
        if self._max_row_bytes is not None:
            feed.largest_row = self._max_row_bytes
        if self._again is not None:
            feed.leave_out(self._again)
        return feed

    def _checked(self, session: Session, position: Position) -> tuple[ServerFacts, Position, LogRequest]:
        """The server's facts, the position in its terms, and how to ask for what comes behind it."""
        facts = check_server(session, self._tables)
        taken = taken_ids(session, facts)
        if self._server_id is not None:
            check_id(session, facts, self._server_id, self._reader_name)
        begin = position
        if facts.flavour == position.flavour == "mariadb" and facts.identity != position.server:
            begin = place_on(session, facts, position, partial(self._looks.meet, taken=taken))
        else:
            check_identity(session, facts, position, partial(self._looks.peek, taken=taken))
        if facts.identity != begin.server:  # promoted: its files are others, only the GTIDs are the same
            begin = replace(position, server=facts.identity, file="", position=FIRST_BYTE, file_created=0, last=None)
        if begin.file and (little := warning(session, begin, partial(self._looks.begun, session, begin))):
            facts = replace(facts, warnings=(*facts.warnings, little))
        return (
            facts,
            begin,
            LogRequest(
                file=begin.file,
                position=begin.position,
                gtid_set=position.gtid_set
                if by_gtid(facts, position) and isinstance(position.gtid_set, GtidSet)
                else None,
                server_id=self._server_id or free_id(taken),
                heartbeat=self._heartbeat,
                silence=self._silence,
            ),
        )

    async def close(self) -> None:
        """Let go of the server; open() may follow."""
        self._set_aside = self.set_aside
        hose, self._hose, self._feed, self._paused_at = self._hose, None, None, None
        self._ready, self._size, self._told, self._failure = [], 0, None, None
        self._uncut, self._to_cut = b"", 0
        if hose is not None:
            await hose.close()

    # -- reading -------------------------------------------------------------------------

    async def read(self) -> Slice:
        """Wait for more of the log. May be cancelled without loss. Raises SourceError."""
        await asyncio.sleep(0)  # others get their turn, also where there is always more to read
        while True:
            if self._paused_at is not None:
                await self._go_on(self._paused_at)
            if (told := self._something_to_tell()) is not None:
                return told
            if self._hose is None or self._feed is None:
                raise SourceUnavailable(f"the log of {self.address} is not open", hint="open() comes before read()")
            if isinstance(self._failure, UnknownXaRows):
                await self._look_up(self._failure)
                continue
            if isinstance(self._failure, ReadAgain):
                self._again, self._paused_at = self._failure, self._feed.position
                continue
            if self._feed.paused:
                self._swallow(b"")
                continue
            try:
                async with asyncio.timeout(self._until_move()):
                    data = await self._hose.take(self._slice_bytes)
            except TimeoutError:
                continue
            except Paused as paused:
                if self._feed.in_pieces:
                    why = f"{self.address}: its log was not read for long, inside of a transaction"
                    raise SourceUnavailable(why, hint="the transaction is read again from its begin") from paused
                self._paused_at = self._feed.position
                continue
            self._swallow(data)

    async def _go_on(self, position: Position) -> None:
        """Open the log again after it was closed because nobody read; all before the position was told or is empty."""
        if not isinstance(self._failure, ReadAgain):
            self._observe("paused", position=position)
        try:
            await self.open(position, careful=self._careful)
        except BaseException:
            self._paused_at = position
            raise
        self._told = None  # that the position had moved may not have been told yet

    def _something_to_tell(self) -> Slice | None:
        """A slice of what is finished; None where there is nothing new, or nothing that is worth a slice yet."""
        feed = self._feed
        if self._careful and not self._ready and not self._is_over():
            self._swallow(b"")
        wait = self._until_move()
        if feed is None:
            return None
        if undone := feed.take_back():
            self._told = None
        piece = None if undone or self._ready else self._next_piece()
        if not (undone or self._ready or piece or (wait is not None and wait <= 0)):
            if self._failure is not None and not isinstance(self._failure, UnknownXaRows | ReadAgain):
                raise self._failure
            return None
        ready, size = self._ready, self._size
        self._ready, self._size, self._told = [], 0, feed.position
        self._next_move = time.monotonic() + PURE_MOVE_EVERY
        if piece is not None:
            return Slice([piece], self._told, size, piece="open")
        last = bool(ready) and ready[0].earlier > 0
        return Slice(ready, self._told, size, piece="undone" if undone else "last" if last else None)

    def _is_over(self) -> bool:
        """Does the open transaction hold more than may wait for its end?"""
        if self._feed is None or self._memory_budget is None:
            return False
        return self._feed.open_bytes > self._memory_budget // (PIECES if self._feed.in_pieces else GIANT)

    def _next_piece(self) -> SourceTransaction | None:
        """A piece of the open transaction, where it holds too much."""
        feed, budget = self._feed, self._memory_budget
        while feed is not None and budget is not None and self._is_over():
            piece = feed.hand_out(budget // PIECES)
            if piece is not None:
                return piece
        return None

    def _until_move(self) -> float | None:
        """Seconds until a moved position may be told; None where it has not moved."""
        if self._feed is None or self._feed.position == self._told or not self._feed.position.file:
            return None
        return max(0.0, self._next_move - time.monotonic())

    def _swallow(self, data: bytes) -> None:
        """Feed bytes; careful: one packet at a time, and no further than to the first transaction."""
        if not self._careful:
            self._parse(data)
            return
        self._uncut += data
        if self._feed is not None and self._feed.paused:
            self._parse(b"")
        while not self._ready and self._failure is None and not self._is_over():
            if not self._to_cut:
                self._to_cut = packet_length(self._uncut)
            if not self._uncut or not self._to_cut or (self._feed is not None and self._feed.paused):
                break
            part, self._uncut = self._uncut[: self._to_cut], self._uncut[self._to_cut :]
            self._to_cut -= len(part)
            self._parse(part)

    def _parse(self, data: bytes) -> None:
        """Feed bytes; what is finished is told before what stopped us is raised."""
        feed = self._feed
        assert feed is not None  # noqa: S101 - open() made it together with the hose
        self._size += len(data)
        try:
            self._ready += feed.feed(data)
        except SourceError:
            pass  # it is feed.failure, too
        if feed.held_bytes > self._prepared_bytes:
            feed.forget_prepared_rows()  # they are read again when their XA COMMIT comes
        failure = feed.failure
        if isinstance(failure, ServerSaid):
            self._failure = refusal(failure.code, failure.text, self.address, feed.position)
            self._failure.__cause__ = failure
        else:
            self._failure = failure
        if feed.eof and failure is None:
            self._failure = SourceUnavailable(
                f"{self.address} ended the log stream",
                hint="it was shut down, or somebody killed the query; reading goes on after a reconnect",
            )

    async def _look_up(self, unknown: UnknownXaRows) -> None:
        """Find the rows of an XA COMMIT elsewhere in the log, or raise that they are unknown."""
        feed = self._feed
        assert feed is not None  # noqa: S101 - it is what does not know
        self._observe("looking_up", xid=unknown.xid, position=feed.position)
        feed.supply(unknown.xid, await self._looks.prepared_rows(unknown, feed.position))
        self._parse(b"")


def packet_length(data: bytes) -> int:
    """The length of the first packet with its head; 0 where that is not known yet."""
    return int.from_bytes(data[:3], "little") + 4 if len(data) > 3 else 0  # noqa: PLR2004 - the head
