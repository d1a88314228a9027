"""The pump against a log and a Kafka of its own making, where every call may fail at any moment.

The promise: whatever fails, what the sink holds in the end is every row once, in order, and
its checkpoint is never ahead of a record and never behind one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.errors import CdcError, Doubt, SourceUnavailable, TopicMissing, TopicNotAllowed
from cdc.model import Batch, Checkpoint, Column, LogEnd, Record, Row, Slice, SourceTransaction, TableSchema
from cdc.position import GtidSet, Position
from cdc.pump import Limits, Pump, is_reached

TABLE = TableSchema("shop", "outbox", (Column("payload", "binary"),))


def run_supervised(pump: Pump) -> None:
    """Run to the end as a supervisor does: an error that may pass is no end."""

    async def run() -> None:
        while True:
            try:
                await pump.run()
            except CdcError as error:
                if not error.retryable:
                    raise
            else:
                return

    asyncio.run(run())


QUICK = Limits(records=7, size=1000, idle_checkpoint=0.005, first_pause=0.0, longest_pause=0.0)


def at(position: int) -> Position:
    return Position("mariadb", "1", "binlog.000001", position)


class MemoryLog:
    """Transactions at positions 1, 2, 3...; position n holds the rows of transactions[n - 1]."""

    def __init__(self, transactions: list[list[bytes]], dice: random.Random, faults: float) -> None:
        self.transactions, self.dice, self.faults = transactions, dice, faults
        self.where: int | None = None
        self.careful = False

    async def first_position(self, start: str) -> Position:
        self.fail()
        return at(0 if start == "earliest" else len(self.transactions))

    async def open(self, position: Position, *, careful: bool = False, snapshot: object = None) -> None:
        self.fail()
        self.where, self.careful = position.position, careful

    def fail(self) -> None:
        if self.dice.random() < self.faults:
            self.where = None
            raise SourceUnavailable("gone")

    async def read(self) -> Slice:
        assert self.where is not None, "read from a closed source"
        await asyncio.sleep(0)
        self.fail()
        if self.where >= len(self.transactions):
            await asyncio.sleep(3600)
        end = min(len(self.transactions), self.where + (1 if self.careful else self.dice.randint(1, 4)))
        found = []
        for n in range(self.where, end):
            if rows := self.transactions[n]:
                made = [Row(TABLE, (value,)) for value in rows]
                found.append(SourceTransaction(None, "binlog.000001", n + 1, 0, 1, made))
        size = (end - self.where) * 10
        self.where = end
        return Slice(found, at(end), size)

    async def log_end(self) -> LogEnd:
        self.fail()
        return LogEnd("binlog.000001", len(self.transactions))

    async def close(self) -> None:
        self.where = None


class MemoryKafka:
    """Commits that succeed, fail before or fail after they happened."""

    def __init__(self, dice: random.Random, faults: float) -> None:
        self.dice, self.faults = dice, faults
        self.records: list[Record] = []
        self.position: Position | None = None
        self.fenced = self.released = False

    async def fence(self) -> Checkpoint | None:
        await asyncio.sleep(0)
        self.fenced = True
        return self.position and Checkpoint("shop", self.position, "c", "i")

    async def found(self, position: Position, start: str) -> None:
        assert self.position is None, "founded twice"
        await self.commit(Batch(position))

    async def commit(self, batch: Batch) -> None:
        assert self.fenced, "commit without a fence after a doubt"
        await asyncio.sleep(0)
        luck = self.dice.random()
        if luck < self.faults:
            self.fenced = False
            raise Doubt("before")
        assert self.position is None or batch.position.position >= self.position.position
        self.records += batch.records
        self.position = batch.position
        if luck < 2 * self.faults:
            self.fenced = False
            raise Doubt("after")

    async def close(self, *, release: Position | None = None) -> None:
        if release is not None:
            assert release == self.position
            self.released = True


class Everything:
    """Routes each row as it is; refuses those in `refused`, and those whose topic is not there yet."""

    def __init__(self, *, refused: bytes | None = None, policy: str = "stop") -> None:
        self.refused, self.policy, self.known, self.unknown_for = refused, policy, True, 0

    def route_all(self, rows: Sequence[Row], made: list[Record | None], mark: str | None = None) -> None:
        for row in rows:
            made.append(self.route(row, mark))  # noqa: PERF401 - what is made before a refusal counts

    def route(self, row: Row, mark: str | None = None) -> Record | None:
        value = row.values[0]
        assert isinstance(value, bytes)
        if value == self.refused:
            raise TopicNotAllowed("no")
        if not self.known:
            raise TopicMissing("not there")
        return Record("t", 0, None, value, [], None)

    def on_error(self, row: Row) -> str:
        return self.policy

    def partitions(self, topic: str) -> int | None:
        return 1

    async def refresh(self) -> None:
        self.known, self.unknown_for = self.unknown_for <= 0, self.unknown_for - 1


def unheard(step: str, /, **facts: object) -> None:
    pass


logs = st.lists(st.integers(0, 4), max_size=40).map(
    lambda sizes: [[f"{n}/{i}".encode() for i in range(size)] for n, size in enumerate(sizes)]
)


@given(
    log=logs,
    seed=st.integers(0, 2**32),
    source_faults=st.sampled_from([0, 0.1, 0.3]),
    sink_faults=st.sampled_from([0, 0.1, 0.25]),
)
@settings(max_examples=150, deadline=None)
def test_every_row_once_and_in_order_whatever_fails(log, seed, source_faults, sink_faults):
    dice = random.Random(seed)
    source, kafka, router = MemoryLog(log, dice, source_faults), MemoryKafka(dice, sink_faults), Everything()
    pump = Pump(source, router, router, kafka, unheard, start="earliest", until_caught_up=True, limits=QUICK)
    run_supervised(pump)
    assert [record.value for record in kafka.records] == [value for rows in log for value in rows]
    assert kafka.position == at(len(log))
    assert kafka.released


@given(log=logs, seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_refused_row_stops_before_its_transaction_and_after_all_others(log, seed, data):
    rows = [value for made in log for value in made]
    if not rows:
        return
    poison = data.draw(st.sampled_from(rows))
    dice = random.Random(seed)
    source, kafka, router = MemoryLog(log, dice, 0.1), MemoryKafka(dice, 0.1), Everything(refused=poison)
    pump = Pump(source, router, router, kafka, unheard, start="earliest", until_caught_up=True, limits=QUICK)
    with pytest.raises(TopicNotAllowed) as raised:
        run_supervised(pump)
    holder = next(n for n, made in enumerate(log) if poison in made)
    assert [record.value for record in kafka.records] == [value for made in log[:holder] for value in made]
    assert f"binlog.000001:{holder + 1}" in str(raised.value)
    assert not kafka.released


@given(log=logs, seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=50, deadline=None)
def test_skip_leaves_out_that_row_alone_and_says_so(log, seed, data):
    rows = [value for made in log for value in made]
    if not rows:
        return
    poison = data.draw(st.sampled_from(rows))
    said: list[str] = []
    dice = random.Random(seed)
    source, kafka, router = MemoryLog(log, dice, 0.0), MemoryKafka(dice, 0.0), Everything(refused=poison, policy="skip")
    pump = Pump(
        source,
        router,
        router,
        kafka,
        lambda step, /, **facts: said.append(step),
        start="earliest",
        until_caught_up=True,
        limits=QUICK,
    )
    run_supervised(pump)
    assert [record.value for record in kafka.records] == [value for value in rows if value != poison]
    assert said.count("refused") == 1


async def test_a_stop_commits_what_was_read_and_releases():
    log = [[f"{n}".encode()] for n in range(50)]
    dice = random.Random(1)
    source, kafka, router = MemoryLog(log, dice, 0.0), MemoryKafka(dice, 0.0), Everything()
    pump = Pump(source, router, router, kafka, unheard, start="earliest", limits=QUICK)
    running = asyncio.create_task(pump.run())
    while len(kafka.records) < 10:
        await asyncio.sleep(0)
    pump.stop()
    await running
    assert kafka.released
    assert pump.read_position == kafka.position
    assert [record.value for record in kafka.records] == [value for rows in log for value in rows][: len(kafka.records)]


async def test_an_idle_position_is_committed_alone():
    source, kafka, router = (
        MemoryLog([[], [], []], random.Random(1), 0.0),
        MemoryKafka(random.Random(1), 0.0),
        Everything(),
    )
    pump = Pump(source, router, router, kafka, unheard, start="earliest", limits=QUICK)
    running = asyncio.create_task(pump.run())
    while kafka.position != at(3):
        await asyncio.sleep(0.001)
    assert kafka.records == []
    pump.stop()
    await running


async def test_a_full_batch_without_records_does_not_wait_to_be_idle():
    lazy = Limits(records=7, size=100, idle_checkpoint=3600, first_pause=0.0, longest_pause=0.0)
    kafka, router = MemoryKafka(random.Random(1), 0.0), Everything()
    log = [[] for _ in range(200)]
    pump = Pump(
        MemoryLog(log, random.Random(1), 0.0), router, router, kafka, unheard,
        start="earliest", until_caught_up=True, limits=lazy,
    )  # fmt: skip
    await asyncio.wait_for(pump.run(), 10)
    assert kafka.position == at(200)


async def test_a_stop_ends_a_standby_that_waits_for_ever():
    class Standby(MemoryKafka):
        async def fence(self):
            await asyncio.sleep(3600)

    kafka = Standby(random.Random(1), 0.0)
    router = Everything()
    pump = Pump(MemoryLog([], random.Random(1), 0.0), router, router, kafka, unheard, start="earliest", limits=QUICK)
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(0.01)
    pump.stop()
    await asyncio.wait_for(running, 5)
    assert not kafka.released


async def test_a_topic_made_after_the_last_listing_is_found():
    source, kafka, router = MemoryLog([[b"1"]], random.Random(1), 0.0), MemoryKafka(random.Random(1), 0.0), Everything()
    router.unknown_for = 1  # not there when the session begins
    pump = Pump(source, router, router, kafka, unheard, start="earliest", until_caught_up=True, limits=QUICK)
    await pump.run()
    assert [record.value for record in kafka.records] == [b"1"]


SOURCE = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_a_place_in_another_servers_log_is_not_reached_by_its_number():
    position = Position("mysql", "old", "b.000009", 900, GtidSet.parse(f"{SOURCE}:1-5"))
    assert not is_reached(position, LogEnd("b.000002", 5, f"{SOURCE}:1-6", "new"))
    assert is_reached(position, LogEnd("b.000002", 5, f"{SOURCE}:1-5", "new"))
    assert is_reached(position, LogEnd("b.000002", 5, f"{SOURCE}:1-6", "old"))
    assert not is_reached(Position("mariadb", "1", "b.000009", 900), LogEnd("b.000002", 5, None, "2"))


@pytest.mark.parametrize(
    ("file", "position", "reached"),
    [("b.000002", 5, True), ("b.000002", 4, False), ("b.000010", 1, True), ("b.000001", 99, False)],
)
def test_reached_goes_by_file_number_then_byte(file, position, reached):
    assert is_reached(Position("mariadb", "1", file, position), LogEnd("b.000002", 5)) is reached
