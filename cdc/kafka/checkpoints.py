"""The checkpoint topic: its names, its three kinds of records, and how it is read.

One topic a source, one partition, compacted, shared with nobody: an open transaction of
somebody else in the partition would hide what we have committed there. In it:

    <source>           the checkpoint, in the Kafka transaction of the records before it
    <source>/genesis   once, in the first transaction of all: this source has begun
    <source>/alive     every few seconds, not transactional: the sign of life of an instance

The JSON of the checkpoint is a contract (DESIGN 4.3): unknown fields are kept, a higher
version is refused, times in it are for people.

The rule of reading: start the producer first (that ends what an older one had open), then
read up to the HIGH WATERMARK with read_committed. Reading to the last stable offset, which
is what a read_committed consumer calls the end, gives an older checkpoint whenever any
transaction is open in the partition, and with it duplicates. So an open one makes us wait,
and one that never ends is `HangingTransaction` (Kafka 4.2.0 to 4.3.1 can leave such behind:
KAFKA-20734).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from cdc.errors import CheckpointUnreadable, HangingTransaction, KafkaUnavailable
from cdc.kafka.client import FOREIGN, KafkaAddress, explain, make_consumer, stop_consumer
from cdc.kafka.cluster import Cluster
from cdc.model import Checkpoint
from cdc.position import Position

VERSION = 1
_OURS = ("version", "source", "cluster_id", "instance", "tables", "snapshot", "released", "committed_at")
_FIRST_WINDOW = 64
_WIDER = 16
_POLL_MS = 200
_GENESIS_SEARCH = 10_000


@dataclass(frozen=True, slots=True)
class Names:
    """What one source is called in Kafka."""

    prefix: str
    source: str

    @property
    def topic(self) -> str:
        """The checkpoint topic."""
        return f"{self.prefix}.checkpoint.{self.source}"

    @property
    def transactional_id(self) -> str:
        """Of the one producer that may write for this source."""
        return f"{self.prefix}.source.{self.source}"

    @property
    def checkpoint_key(self) -> bytes:
        """Key of the checkpoint."""
        return self.source.encode()

    @property
    def genesis_key(self) -> bytes:
        """Key of the genesis record."""
        return f"{self.source}/genesis".encode()

    @property
    def alive_key(self) -> bytes:
        """Key of the signs of life."""
        return f"{self.source}/alive".encode()


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life. `epoch` is (producer id, epoch): the higher epoch is the newer instance.

    `founded` says that its writer had seen or written a checkpoint, `ordered` that it came by --take-over.
    """

    instance: str
    n: int = 0
    epoch: tuple[int, int] = (-1, -1)
    founded: bool = False
    ordered: bool = False
    offset: int = -1
    timestamp: int = 0

    def to_bytes(self) -> bytes:
        """The record's value."""
        told = {"instance": self.instance, "n": self.n, "epoch": list(self.epoch), "founded": self.founded}
        return _dump(told | {"ordered": True} if self.ordered else told)

    @classmethod
    def of(cls, record: ConsumerRecord | None) -> Alive | None:
        """Read one back; None where it is not readable: a sign of life only ever makes us wait."""
        if record is None or record.value is None:
            return None
        try:
            data = json.loads(record.value)
            producer, epoch = data.get("epoch", (-1, -1))
            return cls(
                instance=str(data["instance"]),
                n=int(data.get("n", 0)),
                epoch=(int(producer), int(epoch)),
                founded=bool(data.get("founded")),
                ordered=bool(data.get("ordered")),
                offset=record.offset,
                timestamp=record.timestamp,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found between two offsets of the topic: the last record of each of our keys, and others' keys."""

    begin: int
    end: int
    last: Mapping[bytes | None, ConsumerRecord] = field(default_factory=dict)
    whole: bool = True

    def get(self, key: bytes) -> ConsumerRecord | None:
        """The last record with this key."""
        return self.last.get(key)


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """What `cdc checkpoint show` prints. `exists` is whether the topic is there at all."""

    topic: str
    exists: bool
    checkpoint: Checkpoint | None = None
    genesis: Mapping[str, Any] | None = None
    alive_instance: str | None = None
    alive_age: float | None = None
    """Seconds between the last sign of life and now, by the clocks of its writer and ours."""
    partitions: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    offset: int | None = None
    """Of the checkpoint's record."""


def encode(checkpoint: Checkpoint) -> bytes:
    """The checkpoint's JSON; fields that a newer version had put there stay."""
    return _dump(
        dict(checkpoint.extra)
        | {
            "version": VERSION,
            "source": checkpoint.source,
            "cluster_id": checkpoint.cluster_id,
            **checkpoint.position.to_json(),
            "tables": list(checkpoint.tables),
            "snapshot": checkpoint.snapshot,
            "instance": checkpoint.instance,
            "released": checkpoint.released,
            "committed_at": checkpoint.committed_at or now(),
        }
    )


def encode_genesis(source: str, cluster_id: str, start: str) -> bytes:
    """The genesis record's JSON."""
    return _dump({"version": VERSION, "source": source, "cluster_id": cluster_id, "start": start, "created_at": now()})


def decode(value: bytes | None, names: Names, cluster_id: str) -> Checkpoint:
    """Read a checkpoint of ours back. Raises CheckpointUnreadable."""
    try:
        data = json.loads(value or b"")
        version = int(data["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(names, f"is not a checkpoint: {error!r}") from error
    if version > VERSION:
        raise _unreadable(
            names, f"has version {version}; this program knows {VERSION}", "start the newer program that wrote it"
        )
    if data.get("source") != names.source:
        raise _unreadable(names, f"is of source {data.get('source')!r}")
    if data.get("cluster_id") != cluster_id:
        raise _unreadable(
            names,
            f"was written to cluster {data.get('cluster_id')!r}, and this is {cluster_id!r}",
            "offsets and records of another cluster were copied here: check kafka.bootstrap_servers; "
            f"to go on here for good: cdc checkpoint set -c FILE --source {names.source} --to POSITION",
        )
    try:
        position = Position.from_json(data)
    except ValueError as error:
        raise _unreadable(names, f"holds no readable position: {error}") from error
    known = {*_OURS, *position.to_json()}
    return Checkpoint(
        source=names.source,
        position=position,
        cluster_id=cluster_id,
        instance=str(data.get("instance", "")),
        tables=tuple(data.get("tables") or ()),
        released=bool(data.get("released")),
        committed_at=str(data.get("committed_at", "")),
        snapshot=data.get("snapshot"),
        extra={name: content for name, content in data.items() if name not in known},
    )


async def read(
    address: KafkaAddress,
    names: Names,
    begin: int,
    end: int,
    *,
    committed: bool,
    want: bytes,
    but: str | None = None,
    window: int = _FIRST_WINDOW,
) -> Reading:
    """Read backwards from `end` in growing steps until a record with key `want` is found, or all was read.

    Signs of life of the instance `but` are left out. Waits while the position cannot reach
    `end`; the caller sets the deadline.
    """
    if begin >= end:
        return Reading(begin, end)
    partition = TopicPartition(names.topic, 0)
    consumer = make_consumer(address, 10.0, committed=committed)
    try:
        await consumer.start()
        consumer.assign([partition])
        while True:
            start = max(begin, end - window)
            last = await _forward(consumer, partition, start, end, None if but is None else _sign_of(but))
            if want in last or start == begin:
                return Reading(begin, end, last, whole=start == begin)
            window *= _WIDER
    finally:
        await stop_consumer(consumer)


async def _forward(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int, but: bytes | None
) -> dict[bytes | None, ConsumerRecord]:
    """The last record of each key in [start, end), those that begin with `but` left out."""
    last: dict[bytes | None, ConsumerRecord] = {}
    consumer.seek(partition, start)
    # the position also moves over transaction markers and aborted records, so this ends
    while await consumer.position(partition) < end:
        for record in (await consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, ()):
            if record.offset < end and not (but and record.value and record.value.startswith(but)):
                last[record.key] = record
    return last


async def read_settled(cluster: Cluster, names: Names, *, patience: float, committed_only_after: int = 0) -> Reading:
    """The topic up to its high watermark, with all transactions in it ended. Raises HangingTransaction."""
    offsets = await cluster.offsets(names.topic)
    begin = max(offsets.begin, committed_only_after)
    try:
        async with asyncio.timeout(patience):
            return await read(cluster.address, names, begin, offsets.end, committed=True, want=names.checkpoint_key)
    except TimeoutError as error:
        now_at = await cluster.offsets(names.topic)
        if now_at.stable >= offsets.end:
            raise KafkaUnavailable(
                f"topic {names.topic} could not be read within {patience:.0f} s", hint="see the broker's log"
            ) from error
        raise HangingTransaction(
            f"a transaction without end in topic {names.topic}: its last stable offset stays at {now_at.stable}, "
            f"below {offsets.end}, for {patience:.0f} s",
            hint=(
                f"find it with kafka-transactions.sh --bootstrap-server {cluster.address} find-hanging "
                f"--topic {names.topic} --partition 0; only the records tell whether to end it as committed or aborted"
            ),
        ) from error


async def read_checkpoint(address: KafkaAddress, source: str, *, prefix: str = "cdc") -> CheckpointView:
    """What is in the checkpoint topic now. Reads only, fences nobody, never creates a topic. Raises SinkError."""
    names, cluster = Names(prefix, source), Cluster(address)
    try:
        async with asyncio.timeout(60):
            return await _view(cluster, names)
    except FOREIGN as error:
        raise await explain(address, error, f"reading topic {names.topic}") from error
    finally:
        await cluster.close()


async def _view(cluster: Cluster, names: Names) -> CheckpointView:
    partitions = (await cluster.topics()).get(names.topic)
    if partitions is None:
        return CheckpointView(names.topic, exists=False)
    settings, offsets = await cluster.settings(names.topic), await cluster.offsets(names.topic)
    address = cluster.address
    lasting = await read(address, names, offsets.begin, offsets.stable, committed=True, want=names.checkpoint_key)
    living = await read(address, names, offsets.begin, offsets.end, committed=False, want=names.alive_key)
    genesis = lasting.get(names.genesis_key)
    if genesis is None and not lasting.whole:
        # it is the oldest record of all: what compaction leaves at the begin
        head = min(offsets.stable, offsets.begin + _GENESIS_SEARCH)
        oldest = await read(
            address, names, offsets.begin, head, committed=True, want=names.genesis_key, window=_GENESIS_SEARCH
        )
        genesis = oldest.get(names.genesis_key)
    record, alive = lasting.get(names.checkpoint_key), Alive.of(living.get(names.alive_key))
    return CheckpointView(
        names.topic,
        exists=True,
        checkpoint=record and decode(record.value, names, cluster.id),
        genesis=json.loads(genesis.value) if genesis and genesis.value else None,
        alive_instance=alive.instance if alive else None,
        alive_age=max(0.0, datetime.now(UTC).timestamp() - alive.timestamp / 1000) if alive else None,
        partitions=partitions,
        settings={name: settings[name] for name in ("cleanup.policy", "min.insync.replicas") if name in settings},
        offset=record and record.offset,
    )


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sign_of(instance: str) -> bytes:
    """How the signs of life of an instance begin; no checkpoint begins so."""
    return _dump({"instance": instance})[:-1]


def _dump(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def _unreadable(names: Names, why: str, hint: str | None = None) -> CheckpointUnreadable:
    return CheckpointUnreadable(
        f"the checkpoint of source {names.source} in topic {names.topic} {why}",
        hint=hint or f"look at it with: cdc checkpoint show -c FILE --source {names.source}",
    )
