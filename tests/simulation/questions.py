"""What a broker is asked, request by request, so that the model's answers can be compared with the real one's.

Each scenario is a coroutine that asks on its own topics and transactional ids and notes what
came back: error codes, offsets, epochs, what a fetch shows. `tests/tools/record_broker.py`
keeps the real broker's answers in tests/vectors/broker; the model must give the same, and a
live test asks the real one again.

Noted is only what does not depend on speed: where the coordinator is still writing markers
(51, CONCURRENT_TRANSACTIONS) a question is put again.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from cdc.kafka.cluster import DescribeTransactionsRequest

NOT_LEADER, CONCURRENT, LOADING, NO_COORDINATOR, NOT_COORDINATOR = 6, 51, 14, 15, 16
_AGAIN = {CONCURRENT, LOADING, NO_COORDINATOR, NOT_COORDINATOR}
WRAP = 2**31


class Producer:
    """A producer id and epoch under a transactional id; `seq` counts by partition."""

    def __init__(self, name: str, pid: int, epoch: int) -> None:
        self.name, self.pid, self.epoch = name, pid, epoch
        self.seq: dict[tuple[str, int], int] = {}


class Asker:
    """Asks one broker for one scenario, and notes the answers."""

    def __init__(self, connection: Any, prefix: str) -> None:
        self._connection, self._prefix = connection, prefix
        self.notes: list[Any] = []
        self._pids: dict[int, int] = {}

    def note(self, what: str, *answer: Any) -> None:
        self.notes.append([what, *answer])

    def name(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    async def ask(self, request: Any) -> Any:
        return await self._connection.send(request)

    # -- topics -------------------------------------------------------------------------

    async def topic(self, name: str, partitions: int = 1, **settings: str) -> str:
        """Make a topic and wait until it has leaders."""
        full = self.name(name)
        await self.create(full, partitions, **settings)
        while True:
            answer = await self.ask(MetadataRequest(None))
            for error, found, _, parts in answer.topics:
                ready = all(not part[0] and part[2] >= 0 for part in parts)
                if found == full and not error and len(parts) == partitions and ready:
                    return full
            await asyncio.sleep(0.02)

    async def create(self, full: str, partitions: int, **settings: str) -> int:
        configs = [(name.replace("_", "."), value) for name, value in settings.items()]
        answer = await self.ask(CreateTopicsRequest([(full, partitions, 1, [], configs)], 10_000, validate_only=False))
        return answer.topic_errors[0][1]

    async def offsets(self, topic: str, partition: int = 0) -> list[int]:
        """Begin, last stable offset, high watermark; or an error as [-code]."""
        found = []
        for isolation, when in ((0, -2), (1, -1), (0, -1)):
            answer = await self.ask(OffsetRequest(-1, isolation, [(topic, [(partition, when)])]))
            [(_, [(_, error, _, offset)])] = answer.topics
            if error:
                return [-error]
            found.append(offset)
        return found

    async def settled(self, topic: str, partition: int = 0) -> list[int]:
        """The offsets, once no transaction is open there."""
        while True:
            begin, stable, end = await self.offsets(topic, partition)
            if stable == end:
                return [begin, stable, end]
            await asyncio.sleep(0.02)

    async def fetch(self, topic: str, *, committed: bool, offset: int = 0, partition: int = 0) -> dict[str, Any]:
        """What a consumer is sent: error, offsets, [offset, value] of data, markers, aborted transactions."""
        wish = [(topic, [(partition, offset, 1 << 20)])]
        answer = await self.ask(FetchRequest(50, 1, 1 << 20, int(committed), wish))
        [(_, [(_, error, end, stable, _, aborted, _, data)])] = answer.topics
        records, markers = [], []
        batches = MemoryRecords(data or b"")
        while (batch := batches.next_batch()) is not None:
            if batch.is_control_batch:
                [marker] = list(batch)
                markers.append([marker.offset, int.from_bytes(marker.key[2:4], "big"), self._pid(batch.producer_id)])
            else:
                records += [[record.offset, (record.value or b"").decode()] for record in batch]
        gone = [[self._pid(pid), first] for pid, first in aborted or []]
        return {
            "error": error, "stable": stable, "end": end, "records": records, "markers": markers, "aborted": gone,
        }  # fmt: skip

    # -- transactions -------------------------------------------------------------------

    def _pid(self, pid: int) -> int:
        """Producer ids as small numbers in the order in which they were met."""
        return self._pids.setdefault(pid, len(self._pids)) if pid >= 0 else pid

    async def init_once(self, transactional_id: str, seconds: float = 60.0) -> tuple[int, int, int]:
        answer = await self.ask(InitProducerIdRequest(self.name(transactional_id), int(seconds * 1000)))
        return answer.error_code, answer.producer_id, answer.producer_epoch

    async def init(self, transactional_id: str, seconds: float = 60.0) -> Producer:
        """A new producer; notes id and epoch."""
        while True:
            error, pid, epoch = await self.init_once(transactional_id, seconds)
            if error not in _AGAIN:
                break
            await asyncio.sleep(0.05)
        self.note(f"init {transactional_id}", error, self._pid(pid), epoch)
        return Producer(transactional_id, pid, epoch)

    async def add_once(self, producer: Producer, *places: tuple[str, int]) -> list[int]:
        topics: dict[str, list[int]] = {}
        for topic, partition in places:
            topics.setdefault(topic, []).append(partition)
        wish = list(topics.items())
        request = AddPartitionsToTxnRequest(self.name(producer.name), producer.pid, producer.epoch, wish)
        answer = await self.ask(request)
        errors = {(topic, part): code for topic, parts in answer.errors for part, code in parts}
        return [errors[place] for place in places]

    async def add(self, producer: Producer, *places: tuple[str, int]) -> list[int]:
        """Errors by partition."""
        while True:
            errors = await self.add_once(producer, *places)
            if not _AGAIN & set(errors):
                self.note(f"add {producer.name}", *errors)
                return errors
            await asyncio.sleep(0.02)

    async def produce(
        self,
        producer: Producer | None,
        place: tuple[str, int],
        values: Iterable[str],
        *,
        seq: int | None = None,
        key: bytes | None = b"k",
        ahead: float = 0.0,
        transactional: bool = True,
    ) -> tuple[int, int]:
        """Error and offset of a batch."""
        values = list(values)
        first = (producer.seq.get(place, 0) if seq is None else seq) if producer else -1
        pid, epoch = (producer.pid, producer.epoch) if producer else (-1, -1)
        batch = DefaultRecordBatchBuilder(2, 0, int(bool(producer and transactional)), pid, epoch, first, 10 << 20)
        for number, value in enumerate(values):
            batch.append(number, int((time.time() + ahead) * 1000), key, value.encode(), [])
        transactional_id = self.name(producer.name) if producer and transactional else None
        wish = [(place[0], [(place[1], bytes(batch.build()))])]
        while True:
            answer = await self.ask(ProduceRequest(transactional_id, -1, 10_000, wish))
            [(_, [(_, error, offset, *_)])] = answer.topics
            if error != NOT_LEADER:
                break
            await asyncio.sleep(0.02)  # a topic is not ready as soon as it is listed
        if producer:
            producer.seq[place] = first + len(values)
        self.note(f"produce {producer.name if producer else 'plain'}", error, offset)
        return error, offset

    async def end(self, producer: Producer, *, commit: bool) -> int:
        request = EndTxnRequest(self.name(producer.name), producer.pid, producer.epoch, commit)
        while (error := (await self.ask(request)).error_code) in _AGAIN:
            await asyncio.sleep(0.02)
        while not error and not (await self.state(producer.name))[1].startswith("Complete"):
            await asyncio.sleep(0.02)  # until the markers are written
        self.note(f"{'commit' if commit else 'abort'} {producer.name}", error)
        return error

    async def state(self, transactional_id: str) -> list[Any]:
        answer = await self.ask(DescribeTransactionsRequest([self.name(transactional_id)]))
        [(error, _, state, _, _, _, epoch, topics, *_)] = answer.transaction_states
        return [error, state, epoch, sum(len(partitions) for _, partitions, *_ in topics)]


Scenario = Callable[[Asker], Awaitable[None]]


async def new_producers(ask: Asker) -> None:
    ask.note("state of an unknown id", *await ask.state("a"))
    await ask.init("a")
    ask.note("state", *await ask.state("a"))
    await ask.init("a")
    await ask.init("b")
    ask.note("timeout too long", *(await ask.init_once("c", 10_000_000 / 1000))[:1])


async def a_commit(ask: Asker) -> None:
    topic = await ask.topic("t", 2)
    a = await ask.init("a")
    await ask.add(a, (topic, 0), (topic, 1))
    await ask.produce(a, (topic, 0), ["0", "1"])
    await ask.produce(a, (topic, 1), ["2"])
    ask.note("state", *await ask.state("a"))
    ask.note("offsets", *await ask.offsets(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))
    ask.note("all", await ask.fetch(topic, committed=False))
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))
    ask.note("settled", *await ask.settled(topic, 1))
    ask.note("committed", await ask.fetch(topic, committed=True))
    await ask.add(a, (topic, 0))
    await ask.produce(a, (topic, 0), ["3"])
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))
    ask.note("from the middle", await ask.fetch(topic, committed=True, offset=1))


async def an_abort(ask: Asker) -> None:
    topic = await ask.topic("t")
    a = await ask.init("a")
    for number in range(3):
        await ask.add(a, (topic, 0))
        await ask.produce(a, (topic, 0), [str(number)])
        await ask.end(a, commit=number != 1)
        ask.note("settled", *await ask.settled(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))
    ask.note("all", await ask.fetch(topic, committed=False))


async def fenced_in_a_transaction(ask: Asker) -> None:
    topic = await ask.topic("t", 2)
    old = await ask.init("a")
    await ask.add(old, (topic, 0))
    await ask.produce(old, (topic, 0), ["old"])
    ask.note("first answer", (await ask.init_once("a"))[0])
    new = await ask.init("a")
    ask.note("settled", *await ask.settled(topic))
    await ask.produce(old, (topic, 0), ["late"])
    await ask.produce(old, (topic, 1), ["late"])
    await ask.add(old, (topic, 0))
    await ask.add(old, (topic, 1))
    await ask.end(old, commit=True)
    await ask.end(old, commit=False)
    await ask.add(new, (topic, 0))
    await ask.produce(new, (topic, 0), ["new"])
    await ask.produce(old, (topic, 0), ["later"])
    await ask.end(old, commit=True)
    await ask.end(new, commit=True)
    ask.note("settled", *await ask.settled(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))


async def fenced_while_idle(ask: Asker) -> None:
    topic = await ask.topic("t", 2)
    old = await ask.init("a")
    await ask.add(old, (topic, 0))
    await ask.produce(old, (topic, 0), ["old"])
    await ask.end(old, commit=True)
    ask.note("settled", *await ask.settled(topic))
    new = await ask.init("a")
    await ask.produce(old, (topic, 0), ["late"])
    await ask.add(old, (topic, 1))
    await ask.end(old, commit=True)
    await ask.add(new, (topic, 0))
    await ask.produce(new, (topic, 0), ["new"])
    await ask.end(new, commit=True)
    ask.note("settled", *await ask.settled(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))


async def ends_out_of_turn(ask: Asker) -> None:
    topic = await ask.topic("t")
    a = await ask.init("a")
    await ask.end(a, commit=True)
    await ask.end(a, commit=False)
    await ask.add(a, (topic, 0))
    await ask.produce(a, (topic, 0), ["0"])
    await ask.end(a, commit=True)
    await ask.end(a, commit=True)
    await ask.end(a, commit=False)
    await ask.add(a, (topic, 0))
    await ask.end(a, commit=False)
    await ask.end(a, commit=False)
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))


async def produced_outside_a_transaction(ask: Asker) -> None:
    topic = await ask.topic("t", 2)
    a = await ask.init("a")
    await ask.produce(a, (topic, 0), ["never added"])
    await ask.add(a, (topic, 0))
    await ask.produce(a, (topic, 1), ["not this one"])
    await ask.produce(a, (topic, 0), ["0"], seq=0)
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))
    await ask.produce(a, (topic, 0), ["after the commit"], seq=1)
    ask.note("offsets", *await ask.offsets(topic))


async def sequences(ask: Asker) -> None:
    topic = await ask.topic("t")
    place = (topic, 0)
    a = await ask.init("a")
    await ask.add(a, place)
    await ask.produce(a, place, ["0"], seq=0)
    await ask.produce(a, place, ["0"], seq=0)
    await ask.produce(a, place, ["1", "2"], seq=1)
    await ask.produce(a, place, ["4"], seq=4)
    await ask.produce(a, place, ["1", "2"], seq=1)
    for number in range(3, 9):
        await ask.produce(a, place, [str(number)], seq=number)
    await ask.produce(a, place, ["0"], seq=0)
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))
    again = await ask.init("a")
    await ask.add(again, place)
    await ask.produce(again, place, ["gap"], seq=9)
    await ask.produce(again, place, ["9"], seq=0)
    await ask.end(again, commit=True)
    ask.note("settled", *await ask.settled(topic))


async def sequences_wrap(ask: Asker) -> None:
    topic = await ask.topic("t", 2)
    a = await ask.init("a")
    await ask.add(a, (topic, 0), (topic, 1))
    await ask.produce(a, (topic, 0), ["0", "1"], seq=WRAP - 2)
    await ask.produce(a, (topic, 0), ["2"], seq=-WRAP)
    await ask.produce(a, (topic, 0), ["2"], seq=0)
    await ask.produce(a, (topic, 1), ["0", "1"], seq=WRAP - 1)
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))


async def refusals(ask: Asker) -> None:
    small = await ask.topic("small", max_message_bytes="2000")
    compact = await ask.topic("compact", cleanup_policy="compact")
    a = await ask.init("a")
    await ask.add(a, (small, 0), (compact, 0))
    await ask.produce(a, (small, 0), ["x" * 3000])
    await ask.produce(a, (small, 0), ["behind it"])
    await ask.produce(a, (compact, 0), ["no key"], key=None)
    await ask.produce(a, (compact, 0), ["behind it"])
    await ask.end(a, commit=True)
    ask.note("small", *await ask.settled(small))
    ask.note("compact", *await ask.settled(compact))
    b = await ask.init("b")
    await ask.add(b, (small, 0))
    await ask.produce(b, (small, 0), ["two hours ahead"], ahead=7200)
    await ask.end(b, commit=True)
    ask.note("small", *await ask.settled(small))
    c = await ask.init("c")
    nowhere = ask.name("nowhere")
    await ask.add(c, (small, 0), (nowhere, 0))
    await ask.add(c, (small, 7))
    await ask.produce(c, (nowhere, 0), ["0"])
    await ask.produce(c, (small, 7), ["0"])
    ask.note("state", *await ask.state("c"))


async def other_producer_ids(ask: Asker) -> None:
    topic = await ask.topic("t")
    a, b = await ask.init("a"), await ask.init("b")
    stranger = Producer("a", b.pid, b.epoch)
    await ask.add(stranger, (topic, 0))
    await ask.end(stranger, commit=True)
    unknown = Producer("z", a.pid, a.epoch)
    await ask.add(unknown, (topic, 0))
    ahead = Producer("a", a.pid, a.epoch + 1)
    await ask.add(ahead, (topic, 0))
    await ask.end(ahead, commit=True)


async def a_foreign_transaction(ask: Asker) -> None:
    topic = await ask.topic("t")
    a, foreign = await ask.init("a"), await ask.init("foreign")
    await ask.add(a, (topic, 0))
    await ask.produce(a, (topic, 0), ["1"])
    await ask.end(a, commit=True)
    ask.note("settled", *await ask.settled(topic))
    await ask.add(foreign, (topic, 0))
    await ask.produce(foreign, (topic, 0), ["foreign"])
    await ask.add(a, (topic, 0))
    await ask.produce(a, (topic, 0), ["2"])
    await ask.produce(None, (topic, 0), ["plain"])
    await ask.end(a, commit=True)
    while len((await ask.fetch(topic, committed=False))["markers"]) < 2:
        await asyncio.sleep(0.02)
    ask.note("offsets", *await ask.offsets(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))
    await ask.end(foreign, commit=False)
    ask.note("settled", *await ask.settled(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))


async def a_timeout(ask: Asker) -> None:
    topic = await ask.topic("t", 2)
    a = await ask.init("a", seconds=1.0)
    await ask.add(a, (topic, 0))
    await ask.produce(a, (topic, 0), ["0"])
    ask.note("settled", *await ask.settled(topic))
    while (await ask.state("a"))[1] != "CompleteAbort":
        await asyncio.sleep(0.05)
    ask.note("state", *await ask.state("a"))
    await ask.produce(a, (topic, 0), ["1"])
    await ask.produce(a, (topic, 1), ["1"])
    await ask.add(a, (topic, 0))
    await ask.end(a, commit=True)
    new = await ask.init("a", seconds=60.0)
    await ask.add(new, (topic, 0))
    await ask.produce(new, (topic, 0), ["2"])
    await ask.end(new, commit=True)
    ask.note("settled", *await ask.settled(topic))
    ask.note("committed", await ask.fetch(topic, committed=True))


async def plain_questions(ask: Asker) -> None:
    topic = await ask.topic("t", 1, cleanup_policy="compact", max_message_bytes="4321")
    nowhere = ask.name("nowhere")
    ask.note("create again", await ask.create(topic, 1))
    ask.note("create an illegal name", await ask.create(ask.name("a b"), 1))
    ask.note("offsets of nothing", *await ask.offsets(nowhere))
    ask.note("fetch from nothing", await ask.fetch(nowhere, committed=True))
    ask.note("fetch at the end", await ask.fetch(topic, committed=True))
    ask.note("fetch behind the end", await ask.fetch(topic, committed=True, offset=5))
    await ask.produce(None, (topic, 0), ["0", "1"])
    ask.note("fetch", await ask.fetch(topic, committed=True))
    answer = await ask.ask(DescribeConfigsRequest([(2, topic, None), (2, nowhere, None)]))
    [(error, _, _, _, entries), (missing, *_)] = answer.resources
    settings = {name: value for name, value, *_ in entries}
    wanted = ("cleanup.policy", "max.message.bytes", "message.timestamp.type", "min.insync.replicas")
    ask.note("settings", error, {name: settings.get(name) for name in wanted}, missing)
    found = await ask.ask(FindCoordinatorRequest(ask.name("a"), 1))
    ask.note("coordinator", found.error_code, found.coordinator_id >= 0)


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        new_producers,
        a_commit,
        an_abort,
        fenced_in_a_transaction,
        fenced_while_idle,
        ends_out_of_turn,
        produced_outside_a_transaction,
        sequences,
        sequences_wrap,
        refusals,
        other_producer_ids,
        a_foreign_transaction,
        a_timeout,
        plain_questions,
    )
}


async def versions(host: str, port: int) -> dict[str, list[int]]:
    """The versions of each request that the broker takes."""
    connection = await create_conn(host, port)
    try:
        return {str(key): [low, high] for key, (low, high) in sorted(connection._versions.items())}
    finally:
        connection.close()


async def answers(host: str, port: int, prefix: str, scenarios: Iterable[str] = SCENARIOS) -> dict[str, list[Any]]:
    """Ask all, each on its own connection and at the same time; the notes by scenario."""

    async def one(name: str) -> list[Any]:
        connection = await create_conn(host, port, request_timeout_ms=60_000)
        asker = Asker(connection, f"{prefix}.{name}")
        try:
            async with asyncio.timeout(240):
                await SCENARIOS[name](asker)
        finally:
            connection.close()
        return json.loads(json.dumps(asker.notes))

    names = list(scenarios)
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
