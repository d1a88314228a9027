"""The sink: batches and the position behind them in one Kafka transaction, exactly once.

    fence()  -> Checkpoint   resume there                 any state -> ready
             -> None         a first start: found()       any state -> to be founded
    found()                  genesis and first checkpoint             -> ready
    commit() -> done         all records and the position are there   ready -> ready
             -> Unfit        records Kafka would refuse; nothing sent ready -> ready
             -> Doubt        all or nothing, nobody knows             ready -> nothing but fence() helps
             -> Refused      a doubt: the broker refused records      ready -> examine() may tell which
    begin()                  a transaction that stays open            ready -> open
    add()                    records into it                          open -> open
    commit(), abandon()      all of it, or nothing                    open -> ready
    examine()                finds them in transactions never ended   any   -> nothing but fence() helps
    close()                  with `release`: a last checkpoint that says goodbye

The rules, each of them paid for (measured on Kafka 4.1 and 4.3, aiokafka 0.14):

* After any doubt - an error, a deadline, a refusal, a cancellation - the producer is thrown
  away. Never abort, retry or reuse it. The next fence() starts one with the same
  transactional id, which ends what the old one had open, and reads what was committed.
* Every future of every batch is awaited before commit: a refused batch does not fail the
  transaction, commit_transaction() would return normally without it.
* Every call has a deadline of ours: with a transactional id aiokafka retries for ever.
* Once fenced, aiokafka's later calls give IllegalOperation or AssertionError; the reason is
  the exception of its sender task.
* Fenced by a newer instance and timed out by the coordinator look the same: `standby` tells.
* Sequence numbers wrap at 2**31 in a way the broker refuses while commit still succeeds, so
  a producer is retired long before.

Observer steps are called exactly between the steps; crash tests die there.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from cdc.errors import Doubt, Fenced, Refused, RowRefused, SinkError, TopicMissing, Unfit
from cdc.kafka import first_start as first
from cdc.kafka.batches import Spread
from cdc.kafka.checkpoints import Names, decode, encode, encode_genesis, read_settled
from cdc.kafka.client import FOREIGN, KafkaAddress, accelerated, cut, explain, make_producer
from cdc.kafka.cluster import Cluster
from cdc.kafka.delivery import FENCED, deliver, doubt, send, true_reason
from cdc.kafka.expiry import Expiry
from cdc.kafka.fitting import Fitting, Packed
from cdc.kafka.giant import OpenTransaction, ask_longest
from cdc.kafka.heartbeat import Heartbeat
from cdc.kafka.limits import Limits
from cdc.kafka.search import Search, probe
from cdc.kafka.standby import Glance, glance, look_for_newer, name_of, stand_by
from cdc.model import Batch, Checkpoint, Observer, Record
from cdc.position import Position

RETIRE_AFTER = 1_000_000_000
"""Records of one producer."""
_HANGING_MARGIN = 10.0

_log = logging.getLogger(__name__)


class KafkaSink:
    """One source's way into Kafka. Not for concurrent calls."""

    def __init__(
        self,
        address: KafkaAddress,
        source: str,
        *,
        instance_name: str,
        tables: tuple[str, ...],
        observer: Observer,
        prefix: str = "cdc",
        first_start: bool = False,
        take_over: bool = False,
        patient: bool = True,
        create_topics: bool = True,
        replication_factor: int | None = None,
        takeover_after: float = 15.0,
        heartbeat_every: float = 5.0,
        deadline: float = 30.0,
        fence_deadline: float = 120.0,
        transaction_timeout: float = 60.0,
        compression: str | None = None,
    ) -> None:
        self.instance = f"{instance_name}#{secrets.token_hex(4)}"
        self.names = Names(prefix, source)
        self._address, self._tables, self._say = address, tables, observer
        self._first_start, self._take_over, self._patient = first_start, take_over, patient
        self._create_topics, self._replication_factor = create_topics, replication_factor
        self._takeover_after, self._deadline, self._fence_deadline = takeover_after, deadline, fence_deadline
        self._transaction_timeout, self._compression = transaction_timeout, compression
        self._cluster = Cluster(address, timeout=deadline / 3)
        self._heartbeat = Heartbeat(address, self.names, self.instance, heartbeat_every, ordered=take_over)
        self._spread = Spread()
        self._limits = Limits(self._cluster)
        self._fitting = Fitting(self._limits, self._spread)
        self._expiry = Expiry(self._limits, observer)
        self._producer: AIOKafkaProducer | None = None
        self._open: OpenTransaction | None = None
        self._epoch: tuple[int, int] | None = None  # of our last producer; None: never fenced
        self._read_to = 0  # behind what we know of the topic: its end when we had fenced, or our last checkpoint
        self._wrote = False  # have we committed since we became the writer?
        self._since = 0.0  # when we became it
        self._was_fenced = False
        self._founding = False
        self._written = 0
        self._last: Checkpoint | None = None  # what must be carried on: unknown fields
        self._snapshot: Mapping[str, Any] | None = None  # as it is in the last checkpoint
        if not accelerated():
            _log.warning("aiokafka's C extension is not in use: building records costs several times the CPU")

    # -- fence ------------------------------------------------------------------------------

    async def fence(self) -> Checkpoint | None:
        """Become the only writer and read the last committed checkpoint; None: a first start, found() must come.

        Stands by while another instance lives, or, where `patient` is False, raises Fenced then. Raises Fenced,
        CheckpointLost, CheckpointUnreadable, HangingTransaction, KafkaUnavailable, KafkaAccessDenied.
        """
        return await self._fence(self._transaction_timeout)

    async def _fence(self, transaction_timeout: float) -> Checkpoint | None:
        await self._discard()
        try:
            reason = await self._look_around()
            return await self._become_writer(reason, transaction_timeout)
        except BaseException as error:
            await self._heartbeat.stop()
            await self._discard()
            if isinstance(error, FOREIGN):
                raise await explain(self._address, error, f"fencing source {self.names.source}") from error
            raise

    async def _look_around(self) -> str | None:
        """All that comes before the new producer. Returns why this is a first start, if it is known already."""
        names, cluster = self.names, self._cluster
        reason = await first.ensure_topic(
            cluster,
            names,
            allowed=self._create_topics,
            replication_factor=self._replication_factor,
            first_start=self._first_start,
        )
        seen = await glance(cluster, names, but=self.instance, after=self._read_to if self._epoch else 0)
        if self._epoch is not None:
            seen = await self._give_way(seen, self._epoch)
        elif self._take_over:
            return reason
        if self._epoch is None:
            await stand_by(
                cluster,
                names,
                seen,
                instance=self.instance,
                takeover_after=self._takeover_after,
                patient=self._patient,
                say=lambda holder: self._say("standing_by", instance=holder, topic=names.topic),
            )
        self._heartbeat.founded = seen.checkpoint is not None
        return reason

    async def _give_way(self, seen: Glance, epoch: tuple[int, int]) -> Glance:
        """After a doubt: end if a newer instance works.

        One that had not committed anything yet stands by instead, and so does one that had only just begun: they had
        started at the same time. Who stands by before fencing is not so quick; who is told to --take-over says so.
        """
        seen, newer = await look_for_newer(
            self._cluster,
            self.names,
            seen,
            instance=self.instance,
            epoch=epoch,
            read_to=self._read_to,
            fenced=self._was_fenced,
        )
        if newer is None:
            return seen
        await self._heartbeat.stop()
        sign = seen.sign_of(newer)
        young = sign is not None and not sign.ordered and time.monotonic() - self._since < self._takeover_after
        if name_of(newer) == name_of(self.instance) or (self._wrote and not young):
            raise Fenced(
                f"source {self.names.source} was taken over by instance {newer}; this one ({self.instance}) ends",
                hint="nothing is lost: the other instance goes on. Start this one again as a standby, "
                "under another --instance name",
            )
        self._epoch = None
        return seen

    async def _become_writer(self, reason: str | None, transaction_timeout: float) -> Checkpoint | None:
        """Start the producer, then read; in this order."""
        names = self.names
        self._say("fencing", instance=self.instance, transactional_id=names.transactional_id)
        producer = self._producer = make_producer(
            self._address,
            self._deadline / 3,
            transactional_id=names.transactional_id,
            transaction_timeout_ms=int(transaction_timeout * 1000),
            compression_type=self._compression,
        )
        async with asyncio.timeout(self._fence_deadline):
            # returns when an older producer is fenced and the markers of its transaction are written
            await producer.start()
        manager = producer._txn_manager  # noqa: SLF001
        if self._epoch is None:
            self._since = time.monotonic()
        self._epoch = (manager.producer_id, manager.producer_epoch)
        self._written, self._wrote, self._was_fenced = 0, False, False
        self._heartbeat.start(self._epoch)
        reading = await read_settled(self._cluster, names, patience=transaction_timeout + _HANGING_MARGIN)
        self._read_to = reading.end
        record = reading.get(names.checkpoint_key)
        if record is not None and record.value is not None:
            self._last = decode(record.value, names, self._cluster.id)
            self._snapshot = self._last.snapshot
            self._heartbeat.founded, self._founding, self._first_start = True, False, False
            self._say("fenced", instance=self.instance, position=str(self._last.position), before=self._last.instance)
            added = sorted(set(self._tables) - set(self._last.tables))
            if added and self._snapshot is None:  # a snapshot that is not done takes them with it
                self._say("table_added", tables=", ".join(added), position=str(self._last.position))
            return self._last
        why = first.why_lost(reading, names)
        if why is not None:
            reason = first.overruled(names, why, first_start=self._first_start)
        self._last, self._snapshot, self._founding = None, None, True
        self._say("fenced", instance=self.instance, position=None)
        self._say("first_start", topic=names.topic, reason=reason or "the checkpoint topic is empty")
        return None

    # -- write ------------------------------------------------------------------------------

    async def found(self, position: Position, start: str) -> None:
        """First start: commit genesis and first checkpoint together, as the first transaction of this source."""
        if not self._founding:
            raise Doubt("found() without a first start", hint="fence() must say None first")
        self._say("founding", position=str(position), start=start)
        names = self.names
        value = encode_genesis(names.source, self._cluster.id, start)
        genesis = Record(names.topic, 0, names.genesis_key, value, [], None)
        async with self._transaction("the genesis of this source") as producer:
            snapshot: Mapping[str, Any] | None = {} if start == "snapshot" else None
            end = await self._deliver(producer, genesis, self._checkpoint(position, snapshot))
        self._read_to, self._snapshot = end, snapshot
        self._founding, self._first_start, self._heartbeat.founded = False, False, True
        self._say("founded", position=str(position))

    async def commit(self, batch: Batch) -> None:
        """All records of the batch and its position, or nothing.

        Raises Unfit, with nothing sent and nothing in doubt, and Doubt: then only fence() may follow.
        """
        if self._founding:
            await self._discard()
            raise Doubt("commit() before found()", hint="a first start must be founded first")
        count, is_open = len(batch.records), self._open is not None
        what = f"{count} records up to {batch.position}"
        packed = await self._pack(what, batch.records, self._checkpoint(batch.position, batch.snapshot))
        self._expiry.look(batch.records)
        self._say("beginning", records=count, position=str(batch.position))
        async with self._transaction(what) as producer:
            self._say("sending", records=count)
            end = await send(producer, packed, self.names.topic, limits=self._limits)
            self._say("sent", records=count)
        self._written += count + 1
        self._read_to, self._snapshot = end, batch.snapshot
        self._say("committed", records=count, transactions=batch.transactions, position=str(batch.position))
        if is_open:
            await self._exchange(batch.position, self._transaction_timeout)

    async def begin(self, position: Position) -> None:
        """Open a transaction that stays open. Raises all that fence() raises, and Doubt."""
        limit = await ask_longest(self._cluster, self._transaction_timeout)
        await self._exchange(position, limit)
        async with self._guarded("a transaction in pieces") as producer:
            await producer.begin_transaction()
        self._open = OpenTransaction(self.names.source, limit)

    async def add(self, batch: Batch) -> None:
        """The records of the batch into the transaction that is open. Raises Unfit, Doubt and TransactionTooLong."""
        count = len(batch.records)
        what = f"a piece of {count} records"
        if self._open is None:
            raise Doubt(f"{what} without a transaction for it", hint="begin() comes first")
        self._open.look(what)
        packed = await self._pack(what, batch.records)
        self._expiry.look(batch.records)
        async with self._guarded(what) as producer:
            await send(producer, packed, self.names.topic, limits=self._limits)
        self._open.records += count
        self._written += count
        self._say("giant_piece", records=self._open.records, seconds=self._open.seconds)

    async def abandon(self, position: Position) -> None:
        """End the open transaction with nothing of it to be seen."""
        await self._exchange(position, self._transaction_timeout)

    async def _exchange(self, position: Position, transaction_timeout: float) -> None:
        """Another producer, with another timeout; `position` is what we have committed."""
        checkpoint = await self._fence(transaction_timeout)
        if checkpoint is None or checkpoint.position.to_json() != position.to_json():
            await self._discard()
            raise Doubt(
                f"the checkpoint of source {self.names.source} is not the one that was written last",
                hint="nothing to do: reading begins again at the checkpoint",
            )

    def _checkpoint(self, position: Position, snapshot: Mapping[str, Any] | None, *, released: bool = False) -> Record:
        last, names = self._last, self.names
        checkpoint = Checkpoint(
            source=names.source,
            position=position,
            cluster_id=self._cluster.id,
            instance=self.instance,
            tables=self._tables,
            released=released,
            snapshot=snapshot,
            extra=last.extra if last else {},
        )
        return Record(names.topic, 0, names.checkpoint_key, encode(checkpoint), [], None)

    async def _pack(self, what: str, records: Sequence[Record], *own: Record) -> Packed:
        """Pack the records of a batch and, behind them, its checkpoint. Raises Unfit for those of the batch."""
        async with self._guarded(what) as producer:
            try:
                return await self._fitting.pack(producer, [*records, *own])
            except Unfit as error:
                unfit = error
            ours = unfit.refusals.get(len(records))
            if isinstance(ours, TopicMissing):
                raise Doubt(f"the checkpoint topic is gone: {ours}", hint="what that means is found out now") from ours
            if ours is not None:
                raise SinkError(f"the checkpoint cannot be written: {ours}", hint=ours.hint) from ours
        raise unfit

    async def examine(self, batch: Batch, refused: Refused) -> Mapping[int, RowRefused]:
        """After Refused: which records of the batch does the broker not take? Then only fence() may follow.

        Finds the first one of each partition; nothing where the refusal does not come again. May raise all
        that fence() raises, and Doubt.
        """
        records = batch.records
        if any(index >= len(records) for index in refused.suspects):
            raise SinkError(
                f"Kafka refuses the checkpoint of source {self.names.source}: {refused}",
                hint=f"compare max.message.bytes of topic {self.names.topic}",
            ) from refused
        search = Search.among(refused.suspects, records)
        self._say("examining", suspects=len(refused.suspects), position=str(batch.position))
        while pieces := search.next():
            await self.fence()
            async with self._guarded("a search for refused records") as producer:
                await producer.begin_transaction()
                search.learn(records, await probe(producer, records, pieces))
            await self._discard()  # never committed: the next fence ends it
        self._limits.forget({records[index].topic for index in refused.suspects})
        self._say("examined", found=len(search.found))
        return search.found

    @asynccontextmanager
    async def _transaction(self, what: str) -> AsyncIterator[AIOKafkaProducer]:
        """Begin, where none is open, and commit when the block ends."""
        async with self._guarded(what) as producer:
            if self._open is None:
                await producer.begin_transaction()
            yield producer
            await producer.commit_transaction()
            self._wrote, self._open = True, None

    @asynccontextmanager
    async def _guarded(self, what: str) -> AsyncIterator[AIOKafkaProducer]:
        """The producer, with a deadline. Whatever goes wrong costs the producer and is a doubt."""
        producer = self._producer
        if producer is None:
            raise Doubt(f"no producer for {what}", hint="fence() must come first")
        if self._written > RETIRE_AFTER:
            await self._discard()
            raise Doubt("the producer has reached its age and is replaced", hint="nothing to do: this is planned")
        try:
            async with asyncio.timeout(self._deadline):
                yield producer
        except BaseException as error:
            reason = true_reason(producer, error)
            await self._discard()
            self._was_fenced = isinstance(reason, FENCED)
            if isinstance(reason, Unfit):  # not of a batch: of a record of our own
                reason = Doubt(str(reason), hint="what that means is found out now")
            if isinstance(reason, SinkError):
                self._say("doubt", error=reason)
                if reason is error:
                    raise
                raise reason from error
            if not isinstance(reason, FOREIGN):
                raise
            ours = doubt(what, reason, self.names.transactional_id, self._deadline)
            self._say("doubt", error=ours)
            raise ours from error

    async def _deliver(self, producer: AIOKafkaProducer, *records: Record) -> int:
        return await deliver(producer, records, self._spread, self.names.topic)

    # -- end --------------------------------------------------------------------------------

    async def close(self, *, release: Position | None = None) -> None:
        """Let go of everything. With `release`, commit a last checkpoint that lets a standby start at once.

        Does not raise a SinkError: a goodbye that fails is told the observer (`doubt`) and only
        makes a standby wait for our silence.
        """
        try:
            await self._heartbeat.stop()
            if release is None and self._open is not None:
                async with self._guarded("giving up a transaction") as producer:  # readers wait for its end
                    await producer.abort_transaction()
            if release is not None and self._producer is not None and not self._founding:
                async with self._transaction("the last checkpoint") as producer:
                    await self._deliver(producer, self._checkpoint(release, self._snapshot, released=True))
                self._say("released", position=str(release))
        except SinkError:
            pass  # the observer was told
        finally:
            await self._heartbeat.stop()
            await self._discard()
            await self._cluster.close()

    async def _discard(self) -> None:
        """Throw the producer away."""
        producer, self._producer, self._open = self._producer, None, None
        if producer is not None:
            await cut(producer)
