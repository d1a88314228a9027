"""The rows a table already has, published before its log is read on: no gap, no duplicate, no lock.

A first start with `start: snapshot` begins at a place P1 of the log of which all commits
are visible to every later read. What the log holds behind P1 is published from the log, later; what was
committed before P1 is published here, by these rules:

* A consistent read S is opened, and kept for a second at most (an open one keeps ALTER TABLE waiting). P2 is
  the log's end after S was opened. A second reader of the log goes from P1 up to P2 and collects the keys of
  all rows inserted there: S sees them, or not; the log publishes them anyway, so they are left out here.
* Rows are read from S in chunks, in the order of a key, and each chunk's last key goes with it into the checkpoint.
* A row that was there at P1 and is deleted before we came to it is in the log as it was when it went: it is published
  from there, by the same second reader. So what comes out is exact: each row committed before P1 once.
* After a stop: P1 and the last key as the checkpoint has them, a new S, and the log from P1 again.

Two ways that look right and lose rows: P1 as the end of the log's file (on MySQL the log is ahead of
the engine, and a commit may be in the log and not yet in S), and P2 from gtid_executed (it may lag what S sees).
How P1 is found is in `places.visible_end`.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from cdc.errors import CheckpointUnreadable, WrongServer
from cdc.model import DeletedRow, Observer, Row, Slice, SourceTransaction, TableSpec, Value
from cdc.mysql.address import ServerAddress
from cdc.mysql.identity import log_number
from cdc.mysql.keys import KeySet
from cdc.mysql.places import own_place
from cdc.mysql.session import Session, ask
from cdc.mysql.source import MySqlSource
from cdc.mysql.table_rows import ConsistentRead, Key, TableForm, form_of
from cdc.position import Position

T = TypeVar("T")
Place = tuple[int, int]
"""A log file's number, and a byte in it."""

_VERSIONS = {1: "as here"}
READ_FOR = 1.0
"""Seconds a consistent read is kept."""
ANSWER_TIMEOUT = 300.0
MOST_ROWS, FEWEST_ROWS = 2_000, 1
MOST_BYTES = 4 * 1024 * 1024
SAY_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class SnapshotTable:
    """A table whose rows are to be published.

    `time_column` orders rows whose ids do not, where it is indexed. Rows whose column `without[0]`
    says `without[1]` were published by somebody else. `given_up` is a condition, in SQL, for rows worth counting.
    """

    spec: TableSpec
    time_column: str | None = None
    without: tuple[str, str] | None = None
    given_up: str | None = None

    def full_spec(self) -> TableSpec:
        """With the columns that we need ourselves."""
        wanted = self.spec.wanted
        if self.without is not None and wanted is not None:
            wanted |= {self.without[0]}
        return replace(self.spec, wanted=wanted)


@dataclass(slots=True)
class _Progress:
    """How far one table is."""

    after: Key | None = None
    rows: int = 0
    done: bool = False


@dataclass(slots=True)
class _State:
    """What the checkpoint keeps of a snapshot; the place in the log beside it stays P1."""

    server: str
    tables: dict[str, _Progress] = field(default_factory=dict)
    deleted_to: Place = (0, 0)

    def as_data(self) -> Mapping[str, Any]:
        return {
            "version": 1,
            "server": self.server,
            "deleted_to": list(self.deleted_to),
            "tables": {
                name: {"after": p.after and [_plain(value) for value in p.after], "rows": p.rows, "done": p.done}
                for name, p in self.tables.items()
            },
        }

    @classmethod
    def of(cls, data: Mapping[str, Any], server: str) -> _State:
        """Raises CheckpointUnreadable, and WrongServer where another one has begun it."""
        if not data:
            return cls(server)
        try:
            (file, position), _ = data["deleted_to"], _VERSIONS[data["version"]]
            state = cls(str(data["server"]), deleted_to=(int(file), int(position)))
            for name, said in data["tables"].items():
                after = said["after"] and tuple([_value(value) for value in said["after"]])
                state.tables[name] = _Progress(after, int(said["rows"]), bool(said["done"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointUnreadable(
                f"the checkpoint holds a snapshot that cannot be read: {error}",
                hint="start the program that wrote it; see what is there: cdc checkpoint show",
            ) from error
        if state.server != server:
            raise WrongServer(
                f"a snapshot was begun at server {state.server}, and this is {server}: it can only be finished there",
                hint="lead the source's URL back there until the snapshot is done, or give it up: cdc "
                "checkpoint set -c FILE --source NAME --to POSITION",
            )
        return state


class Snapshot:
    """One run at the rows; a new one is made at every start."""

    def __init__(
        self,
        address: ServerAddress,
        tables: Sequence[SnapshotTable],
        log: Callable[[Sequence[TableSpec]], MySqlSource],
        *,
        start: Position,
        state: Mapping[str, Any],
        careful: bool,
        observer: Observer,
    ) -> None:
        self._address, self._tables, self._start = address, tables, start
        self._make_log, self._careful, self._observe = log, careful, observer
        self._state = _State.of(state, start.server)
        self._forms: dict[str, TableForm] = {}
        self._without: dict[str, tuple[int, str]] = {}
        self._estimates: dict[str, int] = {}
        self._inserted: dict[str, KeySet] = {}
        self._log: MySqlSource | None = None
        self._read: ConsistentRead | None = None
        self._chunk = FEWEST_ROWS if careful else MOST_ROWS // 10
        self._began, self._rows, self._say_at = time.monotonic(), 0, 0.0

    async def slices(self) -> AsyncIterator[Slice]:
        """All rows, each slice with the state behind it. Raises SourceError."""
        await ask(self._address, self._look)
        self._log = self._make_log([form.spec for form in self._forms.values()])
        await self._log.open(self._start)
        names = list(self._forms)
        while names:
            end = await self._renew()
            async for slice_ in self._catch_up(end):
                yield slice_
            until = time.monotonic() + READ_FOR
            while names and time.monotonic() < until:
                yield await self._next_chunk(names[0])
                if self._state.tables[names[0]].done:
                    self._say(names.pop(0), done=True)
        await self.close()

    async def close(self) -> None:
        """Let go of the server and of memory."""
        log, self._log, read, self._read = self._log, None, self._read, None
        if read is not None:
            read.close()
        for keys in self._inserted.values():
            keys.close()
        if log is not None:
            await log.close()

    # -- before ----------------------------------------------------------------------------

    def _look(self, session: Session) -> None:
        """What the tables are; and what is known from the begin is said once."""
        for table in self._tables:
            form = form_of(session, table.full_spec(), table.time_column)
            name = str(form)
            progress = self._state.tables.setdefault(name, _Progress())
            self._inserted[name] = KeySet()
            wanted = form.spec.wanted
            keys = frozenset(column.name for column in form.order)
            self._forms[name] = replace(
                form,
                spec=replace(form.spec, needed=form.spec.needed | keys, wanted=wanted and wanted | keys),
            )
            if table.without is not None:
                self._without[name] = form.schema.index[table.without[0]], table.without[1]
            estimate = session.value(
                "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
                table.spec.schema,
                table.spec.name,
            )
            self._estimates[name] = int(estimate or 0)
            given_up = None
            if table.given_up is not None and progress.after is None:
                given_up = int(session.value(f"SELECT COUNT(*) FROM {form.name} WHERE {table.given_up}"))  # noqa: S608
            self._observe(
                "snapshot_begun" if progress.after is None else "snapshot_resumed",
                table=name,
                order=", ".join(column.name for column in form.order),
                rows=progress.rows,
                rows_estimated=self._estimates[name],
                rows_given_up_by_the_poller=given_up,
                position=self._start,
            )

    # -- the log ---------------------------------------------------------------------------

    async def _renew(self) -> Place:
        """A new consistent read; the end of the log after it was opened."""
        old, self._read = self._read, None
        if old is not None:
            old.close()

        def opened() -> tuple[ConsistentRead, Place]:
            read = ConsistentRead(self._address, timeout=ANSWER_TIMEOUT)
            try:
                file, position = own_place(read) if self._start.flavour == "mariadb" else read.end_of_log()
            except BaseException:
                read.close()
                raise
            return read, (log_number(file), position)

        read, end = await in_thread(opened, lambda made: made[0].close())
        self._read = read
        return end

    async def _catch_up(self, end: Place) -> AsyncIterator[Slice]:
        """Read the log up to there; rows that went before we came to them are published as they went."""
        log = self._log
        assert log is not None  # noqa: S101 - slices() made it
        while (told := log.told) is None or _place(told) < end:
            slice_ = await log.read()
            gone = [
                Row(row.table, row.values)
                for transaction in slice_.transactions
                for row in transaction.rows
                if await self._is_gone(row, (log_number(transaction.file), transaction.position))
            ]
            if gone:
                self._state.deleted_to = _place(slice_.position)
                yield self._slice(gone, slice_.size)

    async def _is_gone(self, row: Row, place: Place) -> bool:
        """Note a row of the log; is it a deleted one that only we can still publish?"""
        name = str(row.table)
        form, inserted, progress = self._forms[name], self._inserted[name], self._state.tables[name]
        key = form.key(row)
        if key in inserted:
            return False
        inserted.add(key)
        if not isinstance(row, DeletedRow) or progress.done or place <= self._state.deleted_to:
            return False
        if self._is_done_by_others(name, row):
            return False
        read, after = self._read, progress.after
        assert read is not None  # noqa: S101 - the log is only read while one is open
        if after is not None and not await in_thread(lambda: read.is_behind(form, key, after)):
            return False
        progress.rows += 1
        return True

    # -- the rows --------------------------------------------------------------------------

    async def _next_chunk(self, name: str) -> Slice:
        form, progress, inserted, read = self._forms[name], self._state.tables[name], self._inserted[name], self._read
        assert read is not None  # noqa: S101 - slices() opened it
        limit = self._chunk
        rows, progress.done = await in_thread(lambda: read.rows(form, progress.after, limit, MOST_BYTES))
        if rows:
            progress.after = form.key(rows[-1])
        fresh = [row for row in rows if form.key(row) not in inserted and not self._is_done_by_others(name, row)]
        size = sum(len(value) for row in fresh for value in row.values if isinstance(value, (str, bytes)))
        if not self._careful:
            each = max(1, size // max(1, len(fresh)))
            self._chunk = max(FEWEST_ROWS, min(MOST_ROWS, self._chunk * 2, MOST_BYTES // each))
        progress.rows += len(fresh)
        self._rows += len(fresh)
        self._say(name)
        return self._slice(fresh, size)

    def _is_done_by_others(self, name: str, row: Row) -> bool:
        found = self._without.get(name)
        return found is not None and row.get(self._forms[name].schema.columns[found[0]].name) == found[1]

    def _slice(self, rows: list[Row], size: int) -> Slice:
        """Rows as one transaction at P1, so that all of a chunk comes or nothing of it."""
        state = self._state.as_data()
        transactions = []
        if rows:
            place = self._start
            transactions = [SourceTransaction(None, place.file, place.position, int(time.time()), 0, rows)]
        return Slice(transactions, self._start, size, snapshot=state)

    def _say(self, name: str, *, done: bool = False) -> None:
        """A line of progress now and then."""
        now, progress = time.monotonic(), self._state.tables[name]
        if done:
            self._observe("snapshot_done", table=name, rows=progress.rows)
        elif now >= self._say_at:
            self._say_at = now + SAY_EVERY
            rate = self._rows / max(0.001, now - self._began)
            left = max(0, self._estimates[name] - progress.rows)
            self._observe(
                "snapshotting",
                table=name,
                rows=progress.rows,
                rows_left_estimated=left,
                rows_per_second=round(rate),
                seconds_left_estimated=round(left / rate) if rate else None,
            )


def _place(position: Position) -> Place:
    return log_number(position.file), position.position


def _plain(value: Value) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _value(value: Any) -> Value:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    if isinstance(value, (int, str)):
        return value
    raise TypeError(f"{value!r} is no key")


async def in_thread(work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Run blocking work in a thread; if we are cancelled meanwhile its result is undone when it comes."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:

        def undone(done: asyncio.Future[T]) -> None:
            if not done.cancelled() and done.exception() is None and undo is not None:
                undo(done.result())

        future.add_done_callback(undone)
        raise
