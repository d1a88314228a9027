"""The promise of the source end, on both real servers: all committed rows, in order, once, and every position resumes."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from cdc.errors import SourceUnavailable
from cdc.model import Slice, SourceTransaction, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.source import MySqlSource
from cdc.position import Position
from tests.servers import Database

DDL = "CREATE TABLE outbox (id BIGINT PRIMARY KEY, topic VARCHAR(249) NOT NULL, payload LONGBLOB NULL)"
OTHER = "CREATE TABLE other (id BIGINT PRIMARY KEY AUTO_INCREMENT, x VARCHAR(100))"


def address_of(server: Database) -> ServerAddress:
    return ServerAddress(server.host, server.port, server.user, server.password, connect_timeout=5)


class Reading:
    """A source and what was read through it."""

    def __init__(self, server: Database, schema: str, **settings: object):
        self.steps: list[tuple[str, dict]] = []
        tables = [TableSpec(schema, "outbox", frozenset({"id"}))]
        self.server, self.schema = server, schema
        self.source = MySqlSource(
            "t", address_of(server), tables, observer=lambda step, **facts: self.steps.append((step, facts)), **settings
        )
        self.slices: list[Slice] = []

    @property
    def transactions(self) -> list[SourceTransaction]:
        return [transaction for slice_ in self.slices for transaction in slice_.transactions]

    @property
    def ids(self) -> list[int]:
        return [row.get("id") for transaction in self.transactions for row in transaction.rows]

    @property
    def position(self) -> Position:
        return self.slices[-1].position

    async def until(self, done: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not done():
                self.slices.append(await self.source.read())

    async def until_id(self, last: int, seconds: float = 20) -> None:
        await self.until(lambda: last in self.ids[-1:], seconds)

    def write(self, *rows: int | tuple[int, bytes | None]) -> None:
        """One transaction."""
        with self.server.connect(database=self.schema) as connection, connection.cursor() as cursor:
            for row in rows:
                number, payload = row if isinstance(row, tuple) else (row, b"p%d" % row)
                cursor.execute("INSERT INTO outbox VALUES (%s, 't', %s)", (number, payload))
            connection.commit()


@pytest.fixture
async def reading(server: Database, schema: str) -> AsyncIterator[Reading]:
    server.run(DDL, OTHER, schema=schema)
    made = Reading(server, schema)
    yield made
    await made.source.close()


def again(reading: Reading, **settings: object) -> Reading:
    return Reading(reading.server, reading.schema, **settings)


async def test_rows_arrive_in_order_with_equal_bytes(reading: Reading):
    start = await reading.source.first_position("latest")
    await reading.source.open(start)
    payloads = [secrets.token_bytes(20), b"", b"\0\0", None, "ü€".encode(), bytes(range(256)) * 40]
    for number, payload in enumerate(payloads, 1):
        reading.write((number, payload))
    reading.write(7, 8, 9)
    await reading.until_id(9)
    rows = [row for transaction in reading.transactions for row in transaction.rows]
    assert [row.get("payload") for row in rows[:6]] == payloads
    assert [len(transaction.rows) for transaction in reading.transactions] == [1] * 6 + [3]
    assert reading.ids == list(range(1, 10))
    assert [step for step, _ in reading.steps] == ["opening", "opened"]


async def test_a_lone_transaction_is_returned_at_once(reading: Reading):
    await reading.source.open(await reading.source.first_position("latest"))
    loop = asyncio.get_running_loop()
    waits = []
    for number in range(1, 9):
        task = asyncio.create_task(reading.until_id(number))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(reading.write, number)
        committed = loop.time()
        await task
        waits.append(loop.time() - committed)
    assert sorted(waits)[len(waits) // 2] < 0.05


async def test_every_position_resumes_with_exactly_the_rest(reading: Reading):
    start = await reading.source.first_position("latest")
    await reading.source.open(start)
    for number in range(1, 25):
        reading.write(number, 100 + number)
        if number % 5 == 0:
            reading.server.run("INSERT INTO other(x) VALUES ('x')", schema=reading.schema)
        if number % 9 == 0:
            reading.server.run("FLUSH BINARY LOGS")
        await reading.until_id(100 + number)
    all_ids = reading.ids
    places = [(start, 0)]
    for slice_ in reading.slices:
        places.append((slice_.position, places[-1][1] + sum(len(t.rows) for t in slice_.transactions)))
    for position, had in places:
        rest = again(reading)
        await rest.source.open(Position.from_json(position.to_json()))
        reading.write((1000 + secrets.randbelow(1 << 40), b"end"))
        mark = reading.server.run("SELECT MAX(id) FROM outbox", schema=reading.schema)[0][0]
        reading.server.run(f"DELETE FROM outbox WHERE id = {mark}", schema=reading.schema)
        await rest.until(lambda rest=rest, mark=mark: mark in rest.ids)
        assert [number for number in rest.ids if number < 1000] == all_ids[had:], f"resumed at {position}"
        await rest.source.close()


async def test_rolled_back_work_never_arrives(reading: Reading):
    await reading.source.open(await reading.source.first_position("latest"))
    with reading.server.connect(database=reading.schema) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO outbox VALUES (1, 't', 'no')")
        connection.rollback()
        cursor.execute("INSERT INTO outbox VALUES (2, 't', 'yes')")
        cursor.execute("SAVEPOINT s")
        cursor.execute("INSERT INTO outbox VALUES (3, 't', 'no')")
        cursor.execute("ROLLBACK TO SAVEPOINT s")
        connection.commit()
    reading.server.run(
        "XA START 'a'", "INSERT INTO outbox VALUES (4, 't', 'no')", "XA END 'a'", "XA PREPARE 'a'", "XA ROLLBACK 'a'",
        "XA START 'b'", "INSERT INTO outbox VALUES (5, 't', 'yes')", "XA END 'b'", "XA PREPARE 'b'", "XA COMMIT 'b'",
        schema=reading.schema,
    )  # fmt: skip
    reading.write(6)
    await reading.until_id(6)
    assert reading.ids == [2, 5, 6]


async def test_a_rotated_log_goes_on(reading: Reading):
    await reading.source.open(await reading.source.first_position("latest"))
    for number in range(1, 6):
        reading.write(number)
        reading.server.run("FLUSH BINARY LOGS")
    reading.write(6)
    await reading.until_id(6)
    assert reading.ids == [1, 2, 3, 4, 5, 6]
    assert len({transaction.file for transaction in reading.transactions}) == 6


async def test_other_tables_move_the_position_but_rarely(reading: Reading):
    start = await reading.source.first_position("latest")
    await reading.source.open(start)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    writing = asyncio.create_task(
        asyncio.to_thread(reading.server.run, *["INSERT INTO other(x) VALUES ('x')"] * 400, schema=reading.schema)
    )
    await reading.until(writing.done)
    end = await reading.source.log_end()
    await reading.until(lambda: (reading.position.file, reading.position.position) >= (end.file, end.position))
    assert reading.transactions == []
    assert len(reading.slices) <= 3 + 5 * (loop.time() - begun)
    assert sum(slice_.size for slice_ in reading.slices) > 400 * 100
    rest = again(reading)
    await rest.source.open(reading.position)
    reading.write(1)
    await rest.until_id(1)
    await rest.source.close()


async def test_latest_has_nothing_from_before(reading: Reading):
    reading.write(1)
    start = await reading.source.first_position("latest")
    assert start.file_created > 0
    assert start.server
    reading.write(2)
    await reading.source.open(start)
    await reading.until_id(2)
    assert reading.ids == [2]


def dump_threads(server: Database) -> list[int]:
    rows = server.run("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
    return [row[0] for row in rows]


async def test_a_killed_dump_thread_is_an_outage_without_loss(reading: Reading):
    others = set(dump_threads(reading.server))
    position = await reading.source.first_position("latest")
    await reading.source.open(position)
    for number in range(1, 6):
        reading.write(number, number + 100)
        for thread in set(dump_threads(reading.server)) - others:
            reading.server.run(f"KILL {thread}")
        with pytest.raises(SourceUnavailable) as caught:
            await reading.until(lambda: False, 30)
        assert caught.value.retryable
        await reading.source.open(reading.position if reading.slices else position)
    reading.write(6)
    await reading.until_id(6)
    assert reading.ids == [1, 101, 2, 102, 3, 103, 4, 104, 5, 105, 6]


async def test_a_cancelled_read_loses_nothing(reading: Reading):
    await reading.source.open(await reading.source.first_position("latest"))

    def write() -> None:
        with reading.server.connect(database=reading.schema) as connection, connection.cursor() as cursor:
            for number in range(1, 301):
                cursor.execute("INSERT INTO outbox VALUES (%s, 't', 'x')", (number,))
                connection.commit()

    writing = asyncio.create_task(asyncio.to_thread(write))
    cancelled = 0
    async with asyncio.timeout(60):
        while 300 not in reading.ids[-1:]:
            try:
                reading.slices.append(await asyncio.wait_for(reading.source.read(), secrets.randbelow(30) / 10_000))
            except TimeoutError:
                cancelled += 1
    await writing
    assert reading.ids == list(range(1, 301))
    assert cancelled > 20


async def test_careful_reading_gives_one_transaction_a_slice(reading: Reading):
    start = await reading.source.first_position("latest")
    for number in range(1, 31):
        reading.write(number)
    await reading.source.open(start, careful=True)
    await reading.until_id(30)
    assert [len(slice_.transactions) for slice_ in reading.slices if slice_.transactions] == [1] * 30
    rest = again(reading)
    third = [slice_ for slice_ in reading.slices if slice_.transactions][2]
    await rest.source.open(third.position)
    await rest.until_id(30)
    assert rest.ids == list(range(4, 31))
    await rest.source.close()


async def test_rows_of_many_packets(reading: Reading):
    """One event of more than 16 MiB comes in several packets of the protocol."""
    start = await reading.source.first_position("latest")
    await reading.source.open(start)
    sizes = [(1 << 24) - 300, (1 << 24) + 5, 40_000_001]
    block = secrets.token_bytes(1 << 16)
    digests = []
    with reading.server.connect(database=reading.schema, autocommit=True) as connection, connection.cursor() as cursor:
        for number, size in enumerate(sizes, 1):
            cursor.execute(
                "INSERT INTO outbox VALUES (%s, 't', LEFT(REPEAT(%s, %s), %s))",
                (number, block.hex().encode(), size // len(block) // 2 + 1, size),
            )
            digests.append(hashlib.sha256((block.hex().encode() * (size // len(block) // 2 + 1))[:size]).hexdigest())
    await reading.until_id(3, 60)
    rows = [row for transaction in reading.transactions for row in transaction.rows]
    assert [hashlib.sha256(row.get("payload")).hexdigest() for row in rows] == digests


async def test_what_is_held_while_nobody_reads_is_bounded(reading: Reading):
    limit, piece = 1 << 20, 1 << 16
    slow = again(reading, handover_bytes=limit, slice_bytes=piece)
    await slow.source.open(await slow.source.first_position("latest"))
    payload = secrets.token_bytes(100_000)
    with reading.server.connect(database=reading.schema, autocommit=True) as connection, connection.cursor() as cursor:
        for number in range(1, 121):
            cursor.execute("INSERT INTO outbox VALUES (%s, 't', %s)", (number, payload))
    await asyncio.sleep(1.5)
    hose = slow.source._hose
    assert limit <= hose.held < limit + piece
    await slow.until_id(120)
    assert slow.ids == list(range(1, 121))
    assert hose.held == 0
    await slow.source.close()
