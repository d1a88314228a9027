"""`cdc replay`: rows that were published before, chosen and published again, from the table or from the log.

At least once by nature: nothing remembers what was replayed, and a row that the tailer has still to publish comes
twice, too. The checkpoint is never touched. Records go by today's routes and bear the header `replay`; they
come after what was published meanwhile, so order per key is not restored. A row that the routes refuse
is counted and left out, and the rest goes.

From the table: what is still there, in the order of its primary key. From the log: what the server still has,
in the order of commits, deleted rows, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cdc.errors import ConfigError, RowRefused
from cdc.kafka import KafkaTopics
from cdc.kafka.resend import Resender
from cdc.model import LogEnd, Record, Row, SourceTransaction, TableSpec
from cdc.mysql.named import named_position
from cdc.mysql.source import MySqlSource
from cdc.mysql.table_scan import find, scan
from cdc.position import GtidSet, Position
from cdc.pump import is_reached
from cdc.routing import globs
from cdc.routing.layouts import Layout
from cdc.routing.originals import original
from cdc.settings import Settings

CHUNK_RECORDS = 1000
CHUNK_BYTES = 4 << 20
_EXAMPLES = 10
_UUID = 16


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are meant; what is not said matches all. Times in milliseconds."""

    ids: frozenset[str] = frozenset()
    event_name: str | None = None
    since: int | None = None
    until: int | None = None
    tables: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Does it match everything?"""
        return self == Selection()


@dataclass(slots=True)
class Result:
    """What was found, and sent or not."""

    rows: Counter[str] = field(default_factory=Counter)
    """By table."""
    records: Counter[str] = field(default_factory=Counter)
    """By topic."""
    passed_over: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    examples: list[str] = field(default_factory=list)
    sent: int = 0

    def as_data(self) -> dict[str, Any]:
        """For output; stable names."""
        return {
            "rows": dict(self.rows),
            "records": dict(self.records),
            "passed_over": self.passed_over,
            "refused": dict(self.refused),
            "refused_examples": self.examples,
            "sent": self.sent,
        }


class Replay:
    """One run of the command. close() at the end."""

    def __init__(self, settings: Settings, name: str, selection: Selection, *, note: Callable[[str], None]) -> None:
        source = settings.source(name)
        self._settings, self._name, self._selection, self._note = settings, name, selection, note
        self._address = source.address
        self._specs = self._chosen_tables(settings.table_specs(name))
        self._layouts = {
            full: table.as_layout()
            for full, table in zip(map(str, settings.table_specs(name)), source.tables.values(), strict=True)
        }
        self._topics = KafkaTopics(settings.kafka.address())
        self._reader = MySqlSource(
            f"{name}-replay",
            lambda: source.address,
            self._specs,
            observer=_ignore,
            statements_allowed_in=source.statements_allowed_in,
        )

    def _chosen_tables(self, specs: Iterable[TableSpec]) -> tuple[TableSpec, ...]:
        wanted, specs = self._selection.tables, tuple(specs)
        if unknown := wanted - {str(spec) for spec in specs}:
            raise ConfigError(
                f"{', '.join(sorted(unknown))} is no table of source {self._name}",
                hint=f"its tables are {', '.join(map(str, specs))}",
            )
        return tuple(spec for spec in specs if not wanted or str(spec) in wanted)

    async def close(self) -> None:
        """Let go."""
        await self._reader.close()
        await self._topics.close()

    # -- the rows --------------------------------------------------------------------------

    async def from_table(self) -> AsyncIterator[list[Row]]:
        """The chosen rows that are in the tables now. Raises SourceError, ConfigError."""
        for spec in self._specs:
            layout = self._layouts[str(spec)]
            time = layout.columns.get("timestamp")
            if time is None and (self._selection.since is not None or self._selection.until is not None):
                raise ConfigError(
                    f"{spec} has no column that says when an event was made",
                    hint="choose by event ids or names; or --read log: there a row has the time of its commit",
                )
            found = await self._by_ids(spec, layout)
            if found is not None:
                yield [row for row in found if self._matches(row, layout)]
                continue
            async for rows in scan(self._address, spec):
                yield [row for row in rows if self._matches(row, layout) and self._in_time(row, time)]

    async def _by_ids(self, spec: TableSpec, layout: Layout) -> list[Row] | None:
        """The rows by their ids, without reading the whole table where its key is the id."""
        try:
            ids = [UUID(one).bytes for one in self._selection.ids]
        except ValueError:
            return None
        if not ids or self._selection.since is not None or self._selection.until is not None:
            return None
        return await find(self._address, spec, layout.columns["id"], ids)

    def _in_time(self, row: Row, column: str | None) -> bool:
        """By the row's own time, which is UTC; one without any is not in a range of time."""
        since, until = self._selection.since, self._selection.until
        if column is None or (since is None and until is None):
            return True
        value = str(row.get(column) or "")
        return bool(value) and (since is None or value >= _sql(since)) and (until is None or value < _sql(until))

    async def from_log(self, begin: str, end: str | None) -> AsyncIterator[list[Row]]:
        """The chosen rows of the log between two places, transaction by transaction. Raises SourceError."""
        start = await named_position(self._address, self._specs, begin)
        limit = None if end in (None, "latest") else await named_position(self._address, self._specs, str(end))
        now = await self._reader.log_end()
        goal = now if limit is None else _goal(limit, now)
        self._note(
            f"reading the log of {self._address} from {start.file}:{start.position} to {goal.file}:{goal.position}"
        )
        await self._reader.open(start)
        reached = is_reached(start, goal)
        while not reached:
            piece = await self._reader.read()
            for transaction in piece.transactions:
                if self._commit_counts(transaction, limit):
                    yield [row for row in transaction.rows if self._matches(row, self._layouts[str(row.table)])]
            reached = is_reached(piece.position, goal)

    def _commit_counts(self, transaction: SourceTransaction, limit: Position | None) -> bool:
        at = transaction.commit_time * 1000
        since, until = self._selection.since, self._selection.until
        if (since is not None and at < since) or (until is not None and at >= until):
            return False
        if limit is None:
            return True
        if isinstance(limit.gtid_set, GtidSet) and transaction.gtid is not None:
            return GtidSet.parse(transaction.gtid) <= limit.gtid_set
        return is_reached(limit, LogEnd(transaction.file, transaction.position))

    def _matches(self, row: Row, layout: Layout) -> bool:
        chosen, said = self._selection, original(row, layout)
        return (not chosen.ids or said.event_id in chosen.ids) and (
            chosen.event_name is None or globs.matches(chosen.event_name, said.event_name)
        )

    # -- what becomes of them --------------------------------------------------------------

    async def run(self, rows: AsyncIterator[list[Row]], *, send: bool) -> Result:
        """Route them all, and send them if that is wanted. Raises SinkError, SourceError."""
        await self._topics.start()
        router = self._settings.router_for(self._name, self._topics)
        result, chunk = Result(), _Chunk()
        resender = Resender(self._settings.kafka.address(), self._settings.kafka.prefix, self._name) if send else None
        if resender is not None:
            await resender.start()
        try:
            async for some in rows:
                for row in some:
                    result.rows[str(row.table)] += 1
                    try:
                        record = router.route(row, "replay")
                    except RowRefused as error:
                        result.refused[error.reason] += 1
                        if len(result.examples) < _EXAMPLES:
                            result.examples.append(str(error))
                        continue
                    if record is None:
                        result.passed_over += 1
                        continue
                    result.records[record.topic] += 1
                    if resender is not None and chunk.add(record):
                        await self._send(resender, chunk, result)
            if resender is not None:
                await self._send(resender, chunk, result)
        finally:
            if resender is not None:
                await resender.close()
        return result

    async def _send(self, resender: Resender, chunk: _Chunk, result: Result) -> None:
        if chunk.records:
            try:
                await resender.send(chunk.records)
            except BaseException:
                self._note(f"{result.sent} records were sent before this")
                raise
            result.sent += len(chunk.records)
            chunk.clear()


class _Chunk:
    """Records of one transaction."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.records: list[Record] = []
        self._size = 0

    def add(self, record: Record) -> bool:
        """Put one in; True when it is full."""
        self.records.append(record)
        self._size += len(record.value or b"") + len(record.key or b"")
        return len(self.records) >= CHUNK_RECORDS or self._size >= CHUNK_BYTES


def _goal(limit: Position, now: LogEnd) -> LogEnd:
    """Up to where the log is read. A set names no place: it is reached when all of it was met, or the log has ended."""
    if isinstance(limit.gtid_set, GtidSet):
        return LogEnd(now.file, now.position, str(limit.gtid_set))
    return LogEnd(limit.file, limit.position)


def _sql(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _ignore(step: str, /, **facts: object) -> None:
    """Nobody watches the reader's steps."""


def totals(result: Result) -> Mapping[str, int]:
    """The numbers for the last sentence."""
    return {
        "rows": sum(result.rows.values()),
        "records": sum(result.records.values()),
        "refused": sum(result.refused.values()),
    }
