"""`cdc checkpoint set`: move a source's checkpoint to a place that a person names.

In this order, and nothing is written before the last step:

    look     at the checkpoint topic: what is there, who seems to work
    name     the place, on the live server, as a full position; then open the log there as the tailer
             would, so that what is set is certain to be a place it can start at
    count    what lies between the two places: rows that will be published again, or never
    set      in a fenced transaction, if the checkpoint is still the one that was looked at

Between two places: with MySQL GTIDs they are two sets, and each may hold what the other lacks;
else one lies before the other in the same server's log. Where that part of the log cannot be read (which
may be why somebody is here) the tables are asked, as far as their rows have a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cdc.errors import CdcError
from cdc.kafka.setting import CheckpointSetter, Seen
from cdc.model import Checkpoint, LogEnd, SourceTransaction, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import quoted
from cdc.mysql.named import named_position
from cdc.mysql.session import Session, ask
from cdc.mysql.source import MySqlSource
from cdc.position import GtidSet, Position
from cdc.pump import file_number, is_reached
from cdc.settings import Settings

COUNT_FOR = 60.0
"""Seconds of reading the log only to count."""

Note = Callable[[str], None]


@dataclass(slots=True)
class Between:
    """Rows between two places. `whole` is False where counting had to end early; `why` says so."""

    transactions: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    whole: bool = True
    why: str | None = None

    def add(self, transaction: SourceTransaction) -> None:
        """Count one."""
        self.transactions += 1
        self.rows.update(str(row.table) for row in transaction.rows)

    def as_data(self) -> dict[str, Any]:
        """For output."""
        data: dict[str, Any] = {"transactions": self.transactions, "rows": dict(self.rows), "complete": self.whole}
        return data | ({"why_not": self.why} if self.why else {})


@dataclass(frozen=True, slots=True)
class Plan:
    """What setting the checkpoint means."""

    source: str
    server: str
    seen: Seen
    position: Position
    repeated: Between
    skipped: Between
    in_tables: Mapping[str, int] = field(default_factory=dict)
    """Rows with a later time than the old checkpoint's, by table; only where the log could not tell."""

    @property
    def moves(self) -> bool:
        """Is it another place than now?"""
        last = self.seen.checkpoint
        return last is None or last.snapshot is not None or _where(last.position) != _where(self.position)

    def as_data(self) -> dict[str, Any]:
        """For output; stable names."""
        last = self.seen.checkpoint
        return {
            "source": self.source,
            "server": self.server,
            "topic": self.seen.topic,
            "now": last and {**last.position.to_json(), "instance": last.instance, "released": last.released},
            "then": self.position.to_json(),
            "repeated": self.repeated.as_data(),
            "skipped": self.skipped.as_data(),
            "rows_in_tables_since": dict(self.in_tables),
            "at_work": self.seen.holder,
            "first_checkpoint": not self.seen.genesis,
            "snapshot_given_up": last is not None and last.snapshot is not None,
        }


class CheckpointSet:
    """One run of the command. close() at the end."""

    def __init__(self, settings: Settings, name: str, *, note: Note) -> None:
        source = settings.source(name)
        self._settings, self._name, self._note = settings, name, note
        self._address: ServerAddress = source.address
        self._tables = settings.table_specs(name)
        self._reader = MySqlSource(
            f"{name}-set",
            lambda: source.address,
            self._tables,
            observer=_ignore,
            statements_allowed_in=source.statements_allowed_in,
        )
        self._setter = CheckpointSetter(
            settings.kafka.address(),
            name,
            prefix=settings.kafka.prefix,
            create_topics=settings.topics.create != "none",
            replication_factor=settings.topics.replication_factor,
            takeover_after=source.takeover_after,
            say=note,
        )

    async def close(self) -> None:
        """Let go of both ends."""
        await self._reader.close()
        await self._setter.close()

    async def plan(self, text: str) -> Plan:
        """Look, check and count; changes nothing. Raises CdcError."""
        seen = await self._setter.look()
        if seen.unreadable:
            self._note(f"it will be overwritten: {seen.unreadable}")
        position = await named_position(self._address, self._tables, text)
        await self._reader.open(position)
        await self._reader.close()
        repeated, skipped = Between(), Between()
        in_tables: Mapping[str, int] = {}
        if seen.checkpoint is not None:
            old = seen.checkpoint.position
            await self._count(old, position, repeated, skipped)
            if not skipped.whole:
                in_tables = await self._in_tables(_time_of(seen.checkpoint))
        return Plan(self._name, str(self._address), seen, position, repeated, skipped, in_tables)

    async def carry_out(self, plan: Plan, *, take_over: bool) -> Checkpoint:
        """Set it. Raises StillAtWork, SinkError."""
        tables = tuple(map(str, self._tables))
        return await self._setter.set(plan.position, plan.seen, tables=tables, take_over=take_over)

    # -- what lies between -----------------------------------------------------------------

    async def _count(self, old: Position, new: Position, repeated: Between, skipped: Between) -> None:
        """Read the log between the two places and count what will come again, and what never."""
        if isinstance(old.gtid_set, GtidSet) and isinstance(new.gtid_set, GtidSet):
            again, never = old.gtid_set - new.gtid_set, new.gtid_set - old.gtid_set
            if not again and not never:
                return
            begin = _with_set(new if not never else old, old.gtid_set - again)
            end = LogEnd("", 0, str(old.gtid_set | new.gtid_set))
            concerned = [between for between, part in ((repeated, again), (skipped, never)) if part]

            def count(transaction: SourceTransaction) -> None:
                one = GtidSet.parse(transaction.gtid or "")
                if one and one <= again:
                    repeated.add(transaction)
                elif one and one <= never:
                    skipped.add(transaction)

        elif old.flavour != new.flavour or old.server != new.server:
            why = f"the checkpoint is of server {old.server}, this is {new.server}: their places cannot be compared"
            for between in (repeated, skipped):
                between.whole, between.why = False, why
            return
        else:
            if (old.file, old.position) == (new.file, new.position):
                return
            back = _before(new, old)
            between, begin, last = (repeated, new, old) if back else (skipped, old, new)
            end, concerned = LogEnd(last.file, last.position), [between]

            def count(transaction: SourceTransaction) -> None:
                if is_reached(last, LogEnd(transaction.file, transaction.position)):
                    between.add(transaction)

        await self._read(begin, end, count, concerned)

    async def _read(
        self, begin: Position, end: LogEnd, count: Callable[[SourceTransaction], None], concerned: Sequence[Between]
    ) -> None:
        why, until, reached = None, time.monotonic() + COUNT_FOR, begin
        try:
            now = await self._reader.log_end()
            end = LogEnd(end.file or now.file, end.position or now.position, end.gtid_set)
            await self._reader.open(begin)
            while not is_reached(reached, end):
                piece = await self._reader.read()
                for transaction in piece.transactions:
                    count(transaction)
                reached = piece.position
                if time.monotonic() > until:
                    why = f"counted for {COUNT_FOR:g} s, up to {reached.file}:{reached.position}"
                    break
        except CdcError as error:
            why = f"the log could not be read behind {reached.file}:{reached.position}: {error}"
        finally:
            await self._reader.close()
        for between in concerned:
            between.whole, between.why = why is None, why

    async def _in_tables(self, since: str) -> Mapping[str, int]:
        """Rows that are in the tables now with a later time, where they have one."""
        times = {
            str(spec): table.as_layout().columns.get("timestamp")
            for spec, table in zip(self._tables, self._settings.source(self._name).tables.values(), strict=True)
        }

        def question(session: Session) -> dict[str, int]:
            found: dict[str, int] = {}
            for spec in self._tables:
                column = times[str(spec)]
                if column is not None and (rows := session.attempt(_rows_since(spec, column), since)):
                    found[str(spec)] = int(rows[0]["n"])
            return found

        return await ask(self._address, question)


def _rows_since(spec: TableSpec, column: str) -> str:
    name = f"{quoted(spec.schema)}.{quoted(spec.name)}"
    return f"SELECT COUNT(*) AS n FROM {name} WHERE {quoted(column)} > %s"  # noqa: S608 - the names are quoted


def _time_of(checkpoint: Checkpoint) -> str:
    """When the log was where the checkpoint is, or else when that was committed: UTC, as SQL has it."""
    position = checkpoint.position
    seconds = position.log_time or (position.last.commit_time if position.last else 0)
    if seconds:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return checkpoint.committed_at[:19].replace("T", " ")


def _where(position: Position) -> tuple[object, ...]:
    """What makes two positions the same place."""
    return position.server, position.file, position.file_created, position.position, position.gtid_set


def _before(one: Position, other: Position) -> bool:
    """Does one lie before the other in the same server's log?"""
    return (file_number(one.file), one.position) < (file_number(other.file), other.position)


def _with_set(position: Position, gtids: GtidSet) -> Position:
    """A place to read all from that is not in a set; nothing is known of its last transaction."""
    return Position(position.flavour, position.server, position.file, position.position, gtids, position.file_created)


def _ignore(step: str, /, **facts: object) -> None:
    """Nobody watches the reader's steps."""
