"""`cdc handover from-debezium`: the tailer goes on exactly where Debezium has ended.

    plan    look at the connector, its offset, the checkpoint and the log; nothing is changed
    stop    nobody else may work for the source; the connector is stopped, its old tasks are fenced (an
            offset that is set does that, and it is set to what it was), and the offset read again
    read    the first transaction that is not in the offset: what Debezium has sent of it is counted
            event by event, its other rows are routed as the tailer would
    commit  these records and the checkpoint behind their transaction, in one Kafka transaction

An error before the commit lets the connector go on as it was; an offset is never changed. After it the
connector stays STOPPED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc.connect.answers import Offset
from cdc.connect.apply import set_state
from cdc.connect.client import Client
from cdc.connect.readiness import wait_until
from cdc.errors import ConfigError, ConnectError, HandoverRefused, RowRefused
from cdc.kafka import KafkaTopics
from cdc.kafka.setting import CheckpointSetter, Seen
from cdc.model import Record, Row
from cdc.mysql.ahead import Ahead, first_transaction, survey
from cdc.mysql.named import named_position, position_around
from cdc.operations import handover_checks as checks
from cdc.operations.connectors import mask_of
from cdc.operations.handover_keep import Before, keep, path_for, place
from cdc.operations.handover_offset import Stand, find, read
from cdc.position import Position
from cdc.settings import Settings

Note = Callable[[str], None]

_LAST_FLUSH = 7.0
"""Seconds: without transactions a task that is told to stop has 5 s (task.shutdown.graceful.timeout.ms) to store where
it stands."""


@dataclass(frozen=True, slots=True)
class Place:
    """An offset in our terms: a position, and the rows before it that Debezium has not sent."""

    position: Position
    rows: Sequence[Row] = ()
    sent: int = 0
    """Rows of the first transaction that Debezium has sent."""


@dataclass(frozen=True, slots=True)
class FromPlan:
    """What the handover would do now."""

    source: str
    connector: str
    state: str
    exact: bool
    seen: Seen
    stand: Stand | None = None
    place: Place | None = None
    ahead: Ahead | None = None
    found: checks.Findings = field(default_factory=checks.Findings)

    def as_data(self) -> dict[str, Any]:
        """For output; stable names."""
        last = self.seen.checkpoint
        return {
            "direction": "from-debezium",
            "source": self.source,
            "connector": self.connector,
            "connector_state": self.state,
            "exactly_once": self.exact,
            "debezium_stands_at": None if self.stand is None else str(self.stand),
            "checkpoint_now": last and str(last.position),
            "checkpoint_then": self.place and str(self.place.position),
            "rows_left_of_its_transaction": len(self.place.rows) if self.place else 0,
            "transactions_behind": self.ahead and self.ahead.transactions,
            "reasons": [{"reason": one.text, "hint": one.hint} for one in self.found.reasons],
            "notes": list(self.found.notes),
        }


class FromDebezium:
    """One run of the command. close() at the end."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        client: Client,
        connector: str,
        *,
        note: Note,
        timeout: float = 120.0,
        ignore_xa: bool = False,
    ) -> None:
        self._settings, self._name, self._client, self._connector = settings, name, client, connector
        self._note, self._timeout, self._ignore_xa = note, timeout, ignore_xa
        self._source = settings.source(name)
        self._tables = settings.table_specs(name)
        self._topics = KafkaTopics(settings.kafka.address())
        self._setter = setter_for(settings, name, note)

    async def close(self) -> None:
        """Let go."""
        await self._topics.close()
        await self._setter.close()

    def masked(self, error: ConnectError) -> ConnectError:
        """The error as it may be shown."""
        return masked(self._client, self._connector, error)

    # -- looking ---------------------------------------------------------------------------

    async def plan(self) -> FromPlan:
        """Look at everything; changes nothing. Raises CdcError for what cannot be asked."""
        client, name = self._client, self._connector
        config, status = client.config(name), client.status(name)
        seen = await self._setter.look()
        exact = checks.exactly_once(client, config)
        plan = FromPlan(self._name, name, status.connector.state, exact, seen)
        found, address = plan.found, self._source.address
        checks.offset_is_whole(found, status, exact=exact)
        try:
            stand = read(find(client.offsets(name), config.get("topic.prefix") or ""))
            begin = await self._begin(stand)
        except (HandoverRefused, ConfigError) as error:
            found.against(error.message, error.hint or "")
            return plan
        checks.connector_reads_the_same(found, config, self._tables, begin.flavour)
        checks.records_are_the_same(found, config, self._settings, self._name)
        ahead = await survey(address, self._tables, begin)
        checks.log_is_plain(found, ahead, ignore_xa=self._ignore_xa, to_debezium=False)
        if seen.holder:
            found.notes.append(f"instance {seen.holder} of the source must not work: it is waited for, never fenced")
        there = None
        try:
            there = await self._place(stand, begin)
        except HandoverRefused as error:
            found.against(error.message, error.hint or "")
        return FromPlan(self._name, name, plan.state, exact, seen, stand, there, ahead, found)

    async def _begin(self, stand: Stand) -> Position:
        """The position before the first transaction that is not in the offset."""
        if stand.gtids:
            return await named_position(self._source.address, self._tables, stand.gtids)
        return await position_around(self._source.address, self._tables, stand.file, stand.pos)

    async def _place(self, stand: Stand, begin: Position) -> Place:
        """Behind the transaction that Debezium is inside of, with the rows it has not sent."""
        if not stand.inside:
            return Place(begin)
        allowed = frozenset(self._source.statements_allowed_in)
        group = await first_transaction(self._source.address, self._tables, begin, allowed=allowed)
        if group is None:
            raise HandoverRefused(
                f"Debezium is inside a transaction behind {begin}, and the log of {self._source.address} ends there",
                hint="is the source the server that the connector reads?",
            )
        if stand.event > group.number:
            raise HandoverRefused(
                f"Debezium has seen event {stand.event} of the transaction behind {begin}, which has {group.number}",
                hint="is the source the server that the connector reads?",
            )
        rows = group.rest(stand.event, stand.row)
        whole = len(group.transaction.rows) if group.transaction else 0
        if group.position.prepared:
            raise HandoverRefused(
                f"Debezium is inside an XA transaction that is prepared: {group.position.prepared[0].xid}",
                hint="end it, let Debezium read on, and plan again",
            )
        return Place(group.position, rows, whole - len(rows))

    # -- doing -----------------------------------------------------------------------------

    async def carry_out(self, plan: FromPlan, folder: Path) -> dict[str, Any]:
        """Do it; what was done. Raises HandoverRefused, StillAtWork, ConnectError, SinkError, SourceError."""
        plan.found.refuse()
        await self._setter.make_sure_nobody_works(plan.seen)
        client, name = self._client, self._connector
        before = client.status(name).connector.state.lower()
        try:
            self._note(f"{name}: stopping")
            client.stop(name)
            await asyncio.to_thread(wait_until, client, name, "stopped", timeout=self._timeout, stable=0.0)
            offsets = await self._last_offsets(exact=plan.exact)
            return await self._take(plan, before, offsets, folder)
        except BaseException:
            if before != "stopped" and not await self._is_set():
                self._note(f"{name}: not handed over; {'pausing again' if before == 'paused' else 'resuming'}")
                set_state(client, name, "paused" if before == "paused" else "running")
            raise

    async def _last_offsets(self, *, exact: bool) -> tuple[Offset, ...]:
        """The offsets of the stopped connector, when no task of it can store another one. Raises HandoverRefused."""
        client, name = self._client, self._connector
        offsets = client.offsets(name)
        if exact and offsets:
            client.alter_offsets(name, offsets)  # Connect fences old tasks before it writes
        else:
            await asyncio.sleep(_LAST_FLUSH)
        if client.offsets(name) == offsets:
            return offsets
        if exact:
            raise HandoverRefused(
                "the offset moved after the connector was stopped: a task of it still worked",
                hint="it is ended now; plan again",
            )
        return await self._last_offsets(exact=exact)

    async def _take(self, plan: FromPlan, state: str, offsets: Sequence[Offset], folder: Path) -> dict[str, Any]:
        """Translate, keep the way back, commit."""
        config = self._client.config(self._connector)
        stand = read(find(offsets, config.get("topic.prefix") or ""))
        begin = await self._begin(stand)
        found = checks.Findings()
        ahead = await survey(self._source.address, self._tables, begin)
        checks.log_is_plain(found, ahead, ignore_xa=self._ignore_xa, to_debezium=False)
        found.refuse()
        there = await self._place(stand, begin)
        records = await self._records(there)
        old = Before("from-debezium", self._name, self._connector, state, offsets, plan.seen.checkpoint)
        path = path_for(old, folder)
        data = old.as_data({"checkpoint": there.position.to_json()}, self._back(plan))
        keep(path, data)
        tables = tuple(map(str, self._tables))
        await self._setter.set(there.position, plan.seen, tables=tables, records=records)
        return {
            **data,
            "debezium_stood_at": str(stand),
            "rows_sent_by_debezium": there.sent,
            "rows_sent_here": len(records),
            "kept_in": str(path),
        }

    async def _records(self, there: Place) -> list[Record]:
        """The records of rows that Debezium has not sent, as the tailer makes them. Raises HandoverRefused."""
        if not there.rows:
            return []
        await self._topics.start()
        router = self._settings.router_for(self._name, self._topics)
        records = []
        for row in there.rows:
            try:
                record = router.route(row)
            except RowRefused as error:
                raise HandoverRefused(
                    f"Debezium stands inside a transaction with a row that the routes refuse: {error.message}",
                    hint=error.hint or "change the routes, or let Debezium read on and plan again",
                ) from error
            if record is not None:
                records.append(record)
        return records

    async def _is_set(self) -> bool:
        """After an error: was the checkpoint set, so that the connector must not go on? In doubt it was."""
        known = await self._setter.has_set()
        if known is None:
            self._note(
                f"whether the checkpoint was set is not known, so {self._connector} stays stopped: cdc checkpoint "
                f"show -c FILE tells; if it was not: cdc connectors resume {self._connector}"
            )
        return known is not False

    def _back(self, plan: FromPlan) -> list[str]:
        last = plan.seen.checkpoint
        back = [f"cdc handover to-debezium {self._connector} -c FILE --source {self._name} --yes"]
        if last is not None:
            back.append(f"cdc checkpoint set -c FILE --source {self._name} --to {place(last.position)}")
        return back


def masked(client: Client, connector: str, error: ConnectError) -> ConnectError:
    """The same error without the secrets that a worker's words may quote."""
    try:
        mask = mask_of(client, client.connector(connector))
    except ConnectError:
        return error
    error.message = mask.text(error.message)
    error.args = (error.message,)
    return error


def setter_for(settings: Settings, name: str, note: Note) -> CheckpointSetter:
    """What writes a source's checkpoint."""
    return CheckpointSetter(
        settings.kafka.address(),
        name,
        prefix=settings.kafka.prefix,
        create_topics=settings.topics.create != "none",
        replication_factor=settings.topics.replication_factor,
        takeover_after=settings.source(name).takeover_after,
        say=note,
    )
