"""A checkpoint that a person sets: written as the source's own producer, fenced, compared with what was seen before.

    look()   what the topic holds, and which instance seems to work; fences nobody, creates nothing
    set()    refuse while somebody works (or fence, with `take_over`), become the writer, make sure that the
             checkpoint is still the one that was looked at, commit the new one (and genesis, if there is none)

What one must know to change it:

* Who works is judged as a standby judges it: a checkpoint that was released needs no waiting; else any sign of
  life or new checkpoint within `takeover_after` means that somebody works. Times in records decide nothing.
* The new checkpoint says `released`, so the next tailer starts at once. A tailer that was fenced by `take_over`
  finds a released checkpoint of another instance when it looks around, and goes on from it: no restart is needed.
  For that no sign of life may be written here, or it would take us for a newer tailer and end.
* Two people at once: the second one's producer fences the first one's, whose transaction then fails as a whole;
  or it comes after the first one's commit, and then the checkpoint is no longer the one that it looked at.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from cdc.errors import CdcError, CheckpointUnreadable, Doubt, SinkError, StillAtWork
from cdc.kafka import first_start as first
from cdc.kafka.batches import Spread
from cdc.kafka.checkpoints import (
    VERSION,
    Alive,
    Names,
    Reading,
    decode,
    encode,
    encode_genesis,
    read,
    read_settled,
)
from cdc.kafka.client import FOREIGN, KafkaAddress, cut, explain, make_producer
from cdc.kafka.cluster import Cluster
from cdc.kafka.delivery import deliver, doubt, true_reason
from cdc.model import Checkpoint, Record
from cdc.position import Position

_LOOK_EVERY = 0.5
_LEAST_PATIENCE = 7.5
"""Seconds: a sign of life comes every five, whatever `takeover_after` says."""
_MARGIN = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The checkpoint topic as it was looked at. `offset` is the checkpoint record's, -1 where there is none."""

    topic: str
    exists: bool
    known: bool = False
    """Does Kafka know the transactional id: has the source ever worked (and not long ago)?"""
    checkpoint: Checkpoint | None = None
    offset: int = -1
    unreadable: str | None = None
    """Why the last checkpoint cannot be read; it may be overwritten."""
    genesis: bool = False
    alive: Alive | None = None
    end: int = 0

    @property
    def holder(self) -> str | None:
        """The instance that works, or worked last, unless it said goodbye."""
        last = self.checkpoint.instance if self.checkpoint else None
        if self.alive and self.alive.offset > self.offset and self.alive.instance != last:
            return self.alive.instance
        return None if self.checkpoint and self.checkpoint.released else last


class CheckpointSetter:
    """One source's checkpoint, to be set once. Not for concurrent calls; close() at the end."""

    def __init__(
        self,
        address: KafkaAddress,
        source: str,
        *,
        prefix: str = "cdc",
        create_topics: bool = True,
        replication_factor: int | None = None,
        takeover_after: float = 15.0,
        deadline: float = 30.0,
        transaction_timeout: float = 60.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.names = Names(prefix, source)
        self.instance = f"checkpoint-set#{secrets.token_hex(4)}"
        self._address, self._say = address, say
        self._create_topics, self._replication_factor = create_topics, replication_factor
        self._patience, self._deadline = max(takeover_after, _LEAST_PATIENCE), deadline
        self._transaction_timeout = transaction_timeout
        self._cluster = Cluster(address, timeout=deadline / 3)

    async def close(self) -> None:
        """Let go."""
        await self._cluster.close()

    async def look(self) -> Seen:
        """What is there now. Raises SinkError; CheckpointUnreadable for a checkpoint of a newer version."""
        try:
            async with asyncio.timeout(self._deadline * 2):
                return await self._look()
        except FOREIGN as error:
            raise await explain(self._address, error, f"reading topic {self.names.topic}") from error

    async def _look(self) -> Seen:
        names, cluster = self.names, self._cluster
        topics = await cluster.topics()
        known = await cluster.knows(names.transactional_id)
        if names.topic not in topics:
            return Seen(names.topic, exists=False, known=known)
        await first.check_settings(cluster, names, topics[names.topic])
        offsets = await cluster.offsets(names.topic)
        address = cluster.address
        lasting = await read(address, names, offsets.begin, offsets.stable, committed=True, want=names.checkpoint_key)
        living = await read(address, names, offsets.begin, offsets.end, committed=False, want=names.alive_key)
        record = lasting.get(names.checkpoint_key)
        checkpoint, unreadable = self._decoded(record)
        return Seen(
            names.topic,
            exists=True,
            known=known,
            checkpoint=checkpoint,
            offset=record.offset if record else -1,
            unreadable=unreadable,
            genesis=await self._has_genesis(lasting, offsets.begin, offsets.stable),
            alive=Alive.of(living.get(names.alive_key)),
            end=offsets.end,
        )

    def _decoded(self, record: ConsumerRecord | None) -> tuple[Checkpoint | None, str | None]:
        """The checkpoint, or why it cannot be read. Raises CheckpointUnreadable for one of a newer version."""
        if record is None or record.value is None:
            return None, None
        try:
            return decode(record.value, self.names, self._cluster.id), None
        except CheckpointUnreadable as error:
            try:
                newer = int(json.loads(record.value)["version"]) > VERSION
            except (ValueError, KeyError, TypeError):
                newer = False
            if newer:
                raise
            return None, error.message

    async def _has_genesis(self, reading: Reading, begin: int, end: int) -> bool:
        names = self.names
        if reading.get(names.genesis_key) is None and not reading.whole:
            reading = await read(self._address, names, begin, end, committed=True, want=names.genesis_key, window=end)
        record = reading.get(names.genesis_key)
        return record is not None and record.value is not None

    async def make_sure_nobody_works(self, seen: Seen) -> None:
        """Return where no instance shows a sign of life. Raises StillAtWork."""
        try:
            await self._refuse_while_it_moves(seen)
        except FOREIGN as error:
            raise await explain(self._address, error, f"reading topic {self.names.topic}") from error

    async def stays_quiet(self) -> None:
        """Behind our checkpoint nothing is written for longer than a sign of life takes to come. Raises StillAtWork.

        A released checkpoint invites: an instance that waited for it, or was fenced by us, would go on from it.
        """
        if not await self.has_set():
            raise StillAtWork(
                f"the checkpoint of source {self.names.source} was overwritten at once",
                hint=f"look: cdc checkpoint show -c FILE --source {self.names.source}",
            )
        try:
            begin = (await self._cluster.offsets(self.names.topic)).end
            for _ in range(round(_LEAST_PATIENCE / _LOOK_EVERY)):
                await asyncio.sleep(_LOOK_EVERY)
                if (await self._cluster.offsets(self.names.topic)).end > begin:
                    raise StillAtWork(
                        f"an instance of source {self.names.source} began to work: {await self._who('a new one')}",
                        hint="stop every instance, those that stand by, too",
                    )
        except FOREIGN as error:
            raise await explain(self._address, error, f"reading topic {self.names.topic}") from error

    async def set(
        self,
        position: Position,
        seen: Seen,
        *,
        tables: tuple[str, ...],
        take_over: bool = False,
        records: Sequence[Record] = (),
    ) -> Checkpoint:
        """Commit a checkpoint at this position, and with it, in the same Kafka transaction, records before it.

        Raises StillAtWork, and SinkError for what stands in the way.
        """
        try:
            if not take_over:
                await self._refuse_while_it_moves(seen)
            if not seen.exists:
                await first.make_topic(
                    self._cluster,
                    self.names,
                    allowed=self._create_topics,
                    replication_factor=self._replication_factor,
                )
            return await self._write(position, seen, tables, records, take_over=take_over)
        except FOREIGN as error:
            raise await explain(self._address, error, f"setting the checkpoint of {self.names.source}") from error

    async def _refuse_while_it_moves(self, seen: Seen) -> None:
        """Return where nobody works: at once after a goodbye, else after `takeover_after` without a sign."""
        holder = seen.holder
        if holder is None:
            return
        self._say(f"waiting {self._patience:g} s for a sign of life of instance {holder}")
        async with asyncio.timeout(self._patience + self._deadline * 2):
            for _ in range(max(1, round(self._patience / _LOOK_EVERY))):
                await asyncio.sleep(_LOOK_EVERY)
                if (await self._cluster.offsets(self.names.topic)).end > seen.end:
                    raise StillAtWork(
                        f"source {self.names.source} is at work: instance {await self._who(holder)} writes to topic "
                        f"{self.names.topic}",
                        hint="stop it first; or --take-over: it is fenced, and goes on from the position that is set",
                    )

    async def _who(self, holder: str) -> str:
        now = await self._look()
        return now.holder or holder

    async def _write(
        self, position: Position, seen: Seen, tables: tuple[str, ...], before: Sequence[Record], *, take_over: bool
    ) -> Checkpoint:
        names, cluster = self.names, self._cluster
        producer = make_producer(
            self._address,
            self._deadline / 3,
            transactional_id=names.transactional_id,
            transaction_timeout_ms=int(self._transaction_timeout * 1000),
        )
        try:
            async with asyncio.timeout(self._deadline * 4):
                # returns when an older producer is fenced and the markers of its transaction are written
                await producer.start()
            reading = await read_settled(cluster, names, patience=self._transaction_timeout + _MARGIN)
            record = reading.get(names.checkpoint_key)
            last, _ = self._decoded(record)
            self._compare(seen, last, record.offset if record else -1, take_over=take_over)
            made = Checkpoint(
                source=names.source,
                position=position,
                cluster_id=cluster.id,
                instance=self.instance,
                tables=last.tables if last else tables,
                released=True,
                extra=last.extra if last else {},
            )
            records = [*before, Record(names.topic, 0, names.checkpoint_key, encode(made), [], None)]
            if not seen.genesis:
                genesis = encode_genesis(
                    names.source, cluster.id, f"checkpoint set to {position.file}:{position.position}"
                )
                records.insert(0, Record(names.topic, 0, names.genesis_key, genesis, [], None))
            await self._commit(producer, records)
            return made
        finally:
            await cut(producer)

    def _compare(self, seen: Seen, last: Checkpoint | None, offset: int, *, take_over: bool) -> None:
        """Raise if it is not the checkpoint that was looked at. With `take_over` its own instance may have moved it."""
        if offset == seen.offset:
            return
        now = f"{last.position} by instance {last.instance}" if last else "gone"
        if take_over and last and last.instance == (seen.holder or (seen.checkpoint and seen.checkpoint.instance)):
            return
        raise StillAtWork(
            f"the checkpoint of source {self.names.source} was changed meanwhile: it is now {now}; nothing was set",
            hint=f"look again: cdc checkpoint show -c FILE --source {self.names.source}",
        )

    async def _commit(self, producer: AIOKafkaProducer, records: list[Record]) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await producer.begin_transaction()
                await deliver(producer, records, Spread(), self.names.topic)
                await producer.commit_transaction()
        except (*FOREIGN, CdcError) as error:
            reason = true_reason(producer, error)
            if await self.has_set():
                return
            if isinstance(reason, SinkError) and not isinstance(reason, Doubt):
                raise
            why = doubt("the checkpoint", reason, self.names.transactional_id, self._deadline)
            raise StillAtWork(
                f"the checkpoint of source {self.names.source} was not set, or was overwritten at once: {why}",
                hint=f"look: cdc checkpoint show -c FILE --source {self.names.source}",
            ) from error

    async def has_set(self) -> bool | None:
        """Is the last committed checkpoint ours, when no transaction is open any more? None where nobody can tell."""
        try:
            if self.names.topic not in await self._cluster.topics():
                return False
            reading = await read_settled(self._cluster, self.names, patience=self._transaction_timeout + _MARGIN)
            checkpoint, _ = self._decoded(reading.get(self.names.checkpoint_key))
        except (*FOREIGN, CdcError):
            return None
        return checkpoint is not None and checkpoint.instance == self.instance
