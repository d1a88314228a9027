"""Who works on a source, and waiting while another does.

With "the newest wins" two supervised instances would fence each other for ever. So one
that starts looks first:

* the last checkpoint was released, or its writer (where there is none: the last sign of
  life) has our own name: it is a predecessor; fence at once.
* it has another name: stand by while its signs of life come, and take over when there was
  none for `takeover_after`. Time counts only while we can read the topic to its end, so an
  outage of Kafka, or of ourselves, makes nobody take over.

One that was fenced asks the other question: is there anybody newer, or did only our own
transaction time out? Kafka gives the same error for both. Newer is a checkpoint of another
instance after the end of what we had read, or a sign of life with a higher epoch. Two that
start at the same time see nobody, and both fence: the first one is not ended but stands by.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from cdc.errors import Fenced, KafkaUnavailable
from cdc.kafka.checkpoints import Alive, Names, decode, read
from cdc.kafka.client import FOREIGN, make_consumer, stop_consumer
from cdc.kafka.cluster import Cluster
from cdc.model import Checkpoint

_POLL = 0.5
_NEWER_LOOKS = (0.0, 0.5, 1.5)
"""Seconds before each look for a newer instance: it may not have given a sign of life yet."""
_GLANCE_TIMEOUT = 60.0
_TURNS = 50
_LONGEST_STEP = 2.0
"""Seconds that one look may add to the silence: more means that we were frozen ourselves."""


@dataclass(frozen=True, slots=True)
class Glance:
    """The topic as it is before fencing: the last committed checkpoint and the last sign of life."""

    checkpoint: Checkpoint | None
    offset: int
    alive: Alive | None
    end: int

    @property
    def holder(self) -> str | None:
        """The instance that works, or worked last, unless it said goodbye."""
        last = self.checkpoint.instance if self.checkpoint else None
        if self.alive and self.alive.offset > self.offset and self.alive.instance != last:
            return self.alive.instance  # it has fenced, and not committed yet
        return None if self.checkpoint and self.checkpoint.released else last

    def newer_than(self, instance: str, epoch: tuple[int, int], read_to: int) -> str | None:
        """The instance that came after the one that had fenced with `epoch` and read up to `read_to`."""
        if self.checkpoint is not None and self.offset >= read_to and self.checkpoint.instance != instance:
            return None if self.checkpoint.released else self.checkpoint.instance
        alive = self.alive
        if alive is None or alive.instance == instance or alive.offset < read_to:
            return None
        same_producer = alive.epoch[0] == epoch[0]
        return alive.instance if alive.epoch[1] > epoch[1] or not same_producer else None

    def sign_of(self, instance: str) -> Alive | None:
        """The last sign of life, if it is this instance's."""
        return self.alive if self.alive is not None and self.alive.instance == instance else None


async def look_for_newer(
    cluster: Cluster, names: Names, seen: Glance, *, instance: str, epoch: tuple[int, int], read_to: int, fenced: bool
) -> tuple[Glance, str | None]:
    """The newest glance, and the instance that came after ours in it; who was fenced looks more than once."""
    newer = None
    for pause in _NEWER_LOOKS if fenced else _NEWER_LOOKS[:1]:
        if pause:
            await asyncio.sleep(pause)
            seen = await glance(cluster, names, but=instance, after=read_to)
        newer = seen.newer_than(instance, epoch, read_to)
        if newer is not None and seen.sign_of(newer):
            break
    return seen, newer


def name_of(instance: str) -> str:
    """The name in `<name>#<random>`."""
    return instance.rpartition("#")[0]


async def glance(cluster: Cluster, names: Names, *, but: str | None = None, after: int = 0) -> Glance:
    """Look without fencing. What an open transaction hides is not seen; that is for the reading after the fence.

    Signs of life of the instance `but`, our own, are left out, and all of them before the offset `after`.
    """
    offsets = await cluster.offsets(names.topic)
    address, begin, stable, end = cluster.address, max(offsets.begin, after), offsets.stable, offsets.end
    async with asyncio.timeout(_GLANCE_TIMEOUT):
        lasting = await read(address, names, offsets.begin, stable, committed=True, want=names.checkpoint_key)
        living = await read(address, names, begin, end, committed=False, want=names.alive_key, but=but)
    record = lasting.get(names.checkpoint_key)
    # one deleted by a record without value is judged after the fence
    checkpoint = decode(record.value, names, cluster.id) if record and record.value is not None else None
    return Glance(checkpoint, record.offset if record else -1, Alive.of(living.get(names.alive_key)), end)


async def stand_by(
    cluster: Cluster,
    names: Names,
    seen: Glance,
    *,
    instance: str,
    takeover_after: float,
    patient: bool,
    say: Callable[[str], None],
) -> None:
    """Return when this instance may fence: at once, or after another's silence. `say` is told whom we wait for.

    Not `patient`: raise Fenced where another still lives after `takeover_after` instead of waiting on; one that
    only catches up is done by then.
    """
    gives_up = math.inf if patient else time.monotonic() + takeover_after
    name = name_of(instance)
    while (holder := seen.holder) is not None and name_of(holder) != name:
        say(holder)
        try:
            if await _silent(cluster, names, seen.end, name, takeover_after, gives_up=gives_up):
                return
        except SomebodyLives as error:
            raise Fenced(
                f"instance {holder} works on source {names.source}, and somebody waits for the end here: "
                "this one does not stand by",
                hint="that instance publishes what there is: see cdc tailer status, or cdc checkpoint show; "
                "--take-over ends it and works here",
            ) from error
        seen = await glance(cluster, names, but=instance)


class SomebodyLives(Exception):
    """A sign of life came, and nobody wants to wait."""


async def _silent(
    cluster: Cluster, names: Names, start: int, name: str, takeover_after: float, *, gives_up: float
) -> bool:
    """True after `takeover_after` without a sign of another; False if it seems to have said goodbye."""
    partition = TopicPartition(names.topic, 0)
    consumer = make_consumer(cluster.address, 10.0, committed=False)
    try:
        await consumer.start()
        consumer.assign([partition])
        consumer.seek(partition, start)
        silence, looked = 0.0, time.monotonic()
        while silence < takeover_after:
            try:
                sign, goodbye = await _look(cluster, names, consumer, partition, name)
                if goodbye is not None:
                    await _ended(cluster, names, goodbye)
                    return False
            except (*FOREIGN, KafkaUnavailable):
                sign = True  # not readable: nothing is known, so count anew
                await asyncio.sleep(_POLL)
            else:
                if sign and time.monotonic() >= gives_up:
                    raise SomebodyLives
            at = time.monotonic()
            silence = 0.0 if sign else silence + min(at - looked, _LONGEST_STEP)
            looked = at
        return True
    finally:
        await stop_consumer(consumer)


async def _look(
    cluster: Cluster, names: Names, consumer: AIOKafkaConsumer, partition: TopicPartition, name: str
) -> tuple[bool, int | None]:
    """Read on to the end as it is now: was there a sign of life of another, and where a released checkpoint?"""
    end = (await cluster.offsets(names.topic)).end
    sign, goodbye, polled = False, None, False
    while not polled or await consumer.position(partition) < end:
        polled = True
        async with asyncio.timeout(10.0):
            records = (await consumer.getmany(partition, timeout_ms=int(_POLL * 1000))).get(partition, ())
        for record in records:
            if record.key == names.alive_key:
                alive = Alive.of(record)
                sign |= alive is not None and name_of(alive.instance) != name
            elif record.key == names.checkpoint_key and record.value:
                if b'"released":true' in record.value:
                    goodbye = record.offset
                else:
                    sign = True
    return sign, goodbye


async def _ended(cluster: Cluster, names: Names, offset: int) -> None:
    """Wait a moment for the end of the transaction at this offset: it is read before it is committed."""
    for _ in range(_TURNS):
        if (await cluster.offsets(names.topic)).stable > offset:
            return
        await asyncio.sleep(_POLL / 5)
