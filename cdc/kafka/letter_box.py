"""The dead-letter topic as a box of letters: read, replayed, dismissed. The wire format is `dead_letters`'.

What one must know to change it:

* A letter is parked until a mark with its key stands behind it. The same row parked again (a checkpoint that was
  set back) is the same letter: its last copy counts, and one mark covers them all.
* A replay sends the record and its mark in one Kafka transaction, with the transactional id
  `<prefix>.dead-letters`. The producer is started first, which ends whatever another command had open; only
  then is the topic read, to the HIGH WATERMARK: so no mark is missed, and nothing is sent twice, whoever was
  killed where, and however many people do it at once. One that was fenced has lost nothing: run again.
* Reading is done twice: once for keys, marks and what lists show, without any payload; once more, in the order of
  the topic, for the letters that are wanted whole. So memory holds a chunk of letters, never the topic.
* A chunk that the broker refuses (too large today, too) is tried again letter by letter; what is refused alone
  stays parked, and the rest goes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from cdc.errors import (
    CdcError,
    HangingTransaction,
    KafkaUnavailable,
    Refused,
    RowRefused,
    SinkError,
    StillAtWork,
    Unfit,
)
from cdc.kafka.batches import Spread
from cdc.kafka.checkpoints import now
from cdc.kafka.client import FOREIGN, KafkaAddress, cut, explain, make_consumer, make_producer, stop_consumer
from cdc.kafka.cluster import Cluster
from cdc.kafka.dead_letters import Collector, DeadLetter, Mark, UnreadableLetter, mark_record, topic_of
from cdc.kafka.delivery import FENCED, deliver, doubt, true_reason
from cdc.model import Record

CHUNK_LETTERS = 200
CHUNK_BYTES = 4 << 20
_POLL_MS = 200
_MARGIN = 10.0

Route = Callable[[DeadLetter], Record | None]
"""A letter's record by today's routes; None where they pass it over. Raises RowRefused."""
Choose = Callable[["Kept"], bool]


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter without its payload, row and headers, and where it lies. `parked_at` is in milliseconds."""

    letter: DeadLetter
    offset: int
    parked_at: int
    size: int
    mark: Mark | None = None


@dataclass(slots=True)
class Contents:
    """What the topic held: the last copy of each letter by key, in the topic's order, and what nobody can read."""

    letters: dict[bytes, Kept] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    torn: set[bytes] = field(default_factory=set)

    def parked(self) -> list[Kept]:
        """Those that no mark covers."""
        return [kept for kept in self.letters.values() if kept.mark is None]


@dataclass(slots=True)
class Done:
    """What became of the chosen letters."""

    replayed: dict[str, int] = field(default_factory=dict)
    """Records by topic."""
    dismissed: int = 0
    passed_over: list[bytes] = field(default_factory=list)
    refused: dict[bytes, CdcError] = field(default_factory=dict)

    def knows(self, key: bytes) -> bool:
        """Is it settled that this one stays parked?"""
        return key in self.refused or key in self.passed_over


class LetterBox:
    """The dead letters of one prefix. Not for concurrent calls; close() at the end.

    `say` is told the steps of a replay: fencing, read, sending, sent, committed; tests die there.
    """

    def __init__(
        self,
        address: KafkaAddress,
        prefix: str,
        *,
        deadline: float = 30.0,
        transaction_timeout: float = 60.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.topic, self.transactional_id = topic_of(prefix), f"{prefix}.dead-letters"
        self.who = f"dead-letters#{secrets.token_hex(4)}"
        self._address, self._deadline, self._timeout, self._say = address, deadline, transaction_timeout, say
        self._cluster = Cluster(address, timeout=deadline / 3)
        self._spread = Spread()

    async def close(self) -> None:
        """Let go."""
        await self._cluster.close()

    # -- read ------------------------------------------------------------------------------

    async def contents(self) -> Contents:
        """Everything in the topic up to its end now. Fences nobody; empty where there is no topic. Raises SinkError."""
        contents, collector = Contents(), Collector()
        async for record in self._records():
            try:
                found = collector.add(record.key, record.value, record.headers)
            except UnreadableLetter as error:
                contents.unreadable.append((record.offset, str(error)))
                continue
            if isinstance(found, Mark):
                if (kept := contents.letters.get(found.key)) is not None:
                    contents.letters[found.key] = replace(kept, mark=found)
            elif found is not None:
                contents.letters.pop(found.key, None)  # its last copy counts, at its place
                contents.letters[found.key] = _kept(found, record)
        contents.torn = collector.torn | collector.unfinished
        return contents

    async def whole(self, wanted: Mapping[bytes, int]) -> AsyncIterator[DeadLetter]:
        """The letters with these keys that end at these offsets, payload and all, in the topic's order."""
        collector = Collector()
        async for record in self._records():
            try:
                found = collector.add(record.key, record.value, record.headers)
            except UnreadableLetter:
                continue  # told by `contents`
            if isinstance(found, DeadLetter) and wanted.get(found.key) == record.offset:
                yield found

    async def _records(self) -> AsyncIterator[ConsumerRecord]:
        """All records up to the high watermark; waits for open transactions to end. Raises SinkError."""
        try:
            if self.topic not in await self._cluster.topics():
                return
            offsets = await self._cluster.offsets(self.topic)
            async for record in self._between(offsets.begin, offsets.end):
                yield record
        except FOREIGN as error:
            raise await explain(self._address, error, f"reading topic {self.topic}") from error

    async def _between(self, begin: int, end: int) -> AsyncIterator[ConsumerRecord]:
        if begin >= end:
            return
        partition = TopicPartition(self.topic, 0)
        consumer = make_consumer(self._address, self._deadline / 3, committed=True)
        patience = self._timeout + _MARGIN
        try:
            await consumer.start()
            consumer.assign([partition])
            consumer.seek(partition, begin)
            loop = asyncio.get_running_loop()
            at, since = begin, loop.time()
            while at < end:
                async with asyncio.timeout(patience):
                    records = (await consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, ())
                for record in records:
                    if record.offset < end:
                        yield record
                position = await consumer.position(partition)
                if position > at:
                    at, since = position, loop.time()
                elif loop.time() - since > patience:
                    raise await self._stuck(at, end, patience)
        finally:
            await stop_consumer(consumer)

    async def _stuck(self, at: int, end: int, patience: float) -> SinkError:
        if (await self._cluster.offsets(self.topic)).stable >= end:
            return KafkaUnavailable(
                f"topic {self.topic} could not be read within {patience:.0f} s", hint="see the broker's log"
            )
        return HangingTransaction(
            f"a transaction without end in topic {self.topic}: nothing can be read behind offset {at} of {end}",
            hint=f"find it with kafka-transactions.sh --bootstrap-server {self._address} find-hanging "
            f"--topic {self.topic} --partition 0",
        )

    # -- replay and dismiss ------------------------------------------------------------------

    async def replay(self, choose: Choose, route: Route) -> Done:
        """Send every chosen letter that is parked to where today's routes lead, with its mark. Raises SinkError."""
        return await self._work("replayed", choose, route, {})

    async def dismiss(self, choose: Choose, note: Mapping[str, Any]) -> Done:
        """Mark every parked letter that is chosen as dismissed; nothing is sent. Raises SinkError."""
        return await self._work("dismissed", choose, _no_record, note)

    async def _work(
        self, what: Literal["replayed", "dismissed"], choose: Choose, route: Route, note: Mapping[str, Any]
    ) -> Done:
        done, most = Done(), CHUNK_LETTERS
        while True:
            self._say("fencing")
            producer = make_producer(
                self._address,
                self._deadline / 3,
                transactional_id=self.transactional_id,
                transaction_timeout_ms=int(self._timeout * 1000),
            )
            chunk = _Chunk(what, note, self.who, self.topic, done)
            try:
                async with asyncio.timeout(self._deadline * 4):
                    await producer.start()  # ends what another command had open
                contents = await self.contents()
                self._say("read")
                left = [kept for kept in contents.parked() if choose(kept)]
                wanted = {kept.letter.key: kept.offset for kept in left if not done.knows(kept.letter.key)}
                async for letter in self._letters(what, left, wanted):
                    chunk.add(letter, route)
                    if chunk.letters >= most or chunk.size >= CHUNK_BYTES:
                        await self._send(producer, chunk)
                await self._send(producer, chunk)
            except (Refused, Unfit) as error:
                if most == 1 or chunk.letters == 1:
                    done.refused |= dict.fromkeys(chunk.keys, error)
                most = 1
            except FOREIGN as error:
                raise await explain(self._address, error, f"working on topic {self.topic}") from error
            else:
                return done
            finally:
                await cut(producer)

    async def _letters(self, what: str, left: Iterable[Kept], wanted: Mapping[bytes, int]) -> AsyncIterator[DeadLetter]:
        """Whole letters; to dismiss one its key is enough."""
        if what == "dismissed":
            for kept in left:
                yield kept.letter
        elif wanted:
            async for letter in self.whole(wanted):
                yield letter

    async def _send(self, producer: AIOKafkaProducer, chunk: _Chunk) -> None:
        if not chunk.records:
            return
        try:
            async with asyncio.timeout(self._deadline):
                await producer.begin_transaction()
                self._say("sending")
                await deliver(producer, chunk.records, self._spread, self.topic)
                self._say("sent")
                await producer.commit_transaction()
        except (*FOREIGN, CdcError) as error:
            reason = true_reason(producer, error)
            if isinstance(reason, SinkError):
                raise reason from error
            if isinstance(reason, FENCED):
                raise StillAtWork(
                    f"somebody else works on topic {self.topic} at this moment; this command ends, after "
                    f"{sum(chunk.done.replayed.values()) + chunk.done.dismissed} letters",
                    hint="run it again when the other is done: what has a mark is not sent again",
                ) from error
            raise doubt("dead letters", reason, self.transactional_id, self._deadline) from error
        chunk.commit()
        self._say("committed")


def _no_record(_: DeadLetter) -> Record | None:
    return None


def _kept(letter: DeadLetter, record: ConsumerRecord) -> Kept:
    size = len(letter.value or b"")
    small = replace(letter, value=None, row=None, original_headers=())
    return Kept(small, record.offset, record.timestamp, size)


class _Chunk:
    """Letters of one transaction: records and marks; `commit` counts them as done and begins the next one."""

    def __init__(
        self, what: Literal["replayed", "dismissed"], note: Mapping[str, Any], who: str, topic: str, done: Done
    ) -> None:
        self._what, self._note, self._who, self._topic, self.done = what, note, who, topic, done
        self._begin()

    def _begin(self) -> None:
        self.records: list[Record] = []
        self.keys: list[bytes] = []
        self.letters = self.size = 0
        self._topics: list[str] = []

    def add(self, letter: DeadLetter, route: Route) -> None:
        """Put a letter in, or say why it stays parked."""
        note = {"by": self._who, "at": now(), **self._note}
        if self._what == "replayed":
            try:
                record = route(letter)
            except RowRefused as error:
                self.done.refused[letter.key] = error
                return
            if record is None:
                self.done.passed_over.append(letter.key)
                return
            note["topic"] = record.topic
            self.records.append(record)
            self._topics.append(record.topic)
            self.size += len(record.value or b"") + len(record.key or b"")
        self.records.append(mark_record(Mark(letter.key, self._what, note), self._topic))
        self.keys.append(letter.key)
        self.letters += 1

    def commit(self) -> None:
        """It is there."""
        for topic in self._topics:
            self.done.replayed[topic] = self.done.replayed.get(topic, 0) + 1
        if self._what == "dismissed":
            self.done.dismissed += self.letters
        self._begin()
