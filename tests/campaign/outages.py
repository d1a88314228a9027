"""What goes wrong between a tailer and its server, each by name, under load, and how it is judged.

A `Bout` is one server (two for a failover) behind a loopback proxy, a writer of one to three rows a
transaction, and a Pump that moves the rows of the real log into a sink in memory, whose commits
are atomic as Kafka's are. After the outages all rows of the table are compared with all that was
committed: the same ids, each once, and in their order, for one writer makes them all.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import pymysql

from cdc.model import Batch, Checkpoint, Record, Row, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.source import MySqlSource
from cdc.mysql.stream import LogRequest, open_stream
from cdc.position import Position
from cdc.pump import Limits, Pump
from tests.proxy import Proxy
from tests.servers import Database, own_server, until

DDL = "CREATE TABLE shop.outbox (id BIGINT PRIMARY KEY AUTO_INCREMENT, payload VARBINARY(4000))"
OPTIONS = {"mariadb": ("--log-slave-updates", "--gtid-strict-mode=ON"), "mysql": ()}
SERVER_ID = 3_333_333_333
NAMES = {"mariadb": ("STOP SLAVE", "RESET SLAVE ALL"), "mysql": ("STOP REPLICA", "RESET REPLICA ALL")}


class Writer(threading.Thread):
    """Commits rows as fast as it is told; a connection that ends is made anew. What counts is what the table holds."""

    def __init__(self, address: Callable[[], tuple[str, int]], rate: float, seed: str) -> None:
        super().__init__(daemon=True)
        self._address, self._rate, self._dice = address, rate, random.Random(seed)
        self.ended = threading.Event()
        self.resting = threading.Event()
        self.commits = 0
        self.size = 40

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self._write()
            except (pymysql.MySQLError, OSError):
                time.sleep(0.05)

    def _write(self) -> None:
        host, port = self._address()
        connection = pymysql.connect(host=host, port=port, user="root", read_timeout=10, connect_timeout=3)
        with contextlib.closing(connection), connection.cursor() as cursor:
            while not self.ended.is_set():
                if self.resting.is_set() or (host, port) != self._address():
                    time.sleep(0.02)
                    if (host, port) != self._address():
                        return
                    continue
                payload = self._dice.randbytes(self.size)
                for _ in range(self._dice.randint(1, 3)):
                    cursor.execute("INSERT INTO shop.outbox (payload) VALUES (%s)", (payload,))
                connection.commit() if self._dice.random() > 0.1 else connection.rollback()
                self.commits += 1
                time.sleep(1 / self._rate)


@dataclass
class Memory:
    """Kafka as far as it matters here: what is committed is committed together with its position."""

    position: Position | None = None
    ids: list[int] = field(default_factory=list)
    fences: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    async def fence(self) -> Checkpoint | None:
        self.fences += 1
        return self.position and Checkpoint("shop", Position.from_json(self.position.to_json()), "c", "i")

    async def found(self, position: Position, start: str) -> None:
        self.position = position

    async def commit(self, batch: Batch) -> None:
        await self.hold.wait()
        await asyncio.sleep(0.002)
        self.ids += [int(record.value or b"0") for record in batch.records]
        self.position = batch.position

    async def close(self, *, release: Position | None = None) -> None:
        self.position = release or self.position


class Ids:
    """Routes a row to a record of its id."""

    def route_all(self, rows: Sequence[Row], made: list[Record | None], mark: str | None = None) -> None:
        for row in rows:
            made.append(self.route(row, mark))  # noqa: PERF401 - what is made before a refusal counts

    def route(self, row: Row, mark: str | None = None) -> Record | None:
        return Record("t", 0, None, str(row.get("id")).encode(), [], None)

    def on_error(self, row: Row) -> str:
        return "stop"

    def partitions(self, topic: str) -> int | None:
        return 1

    async def refresh(self) -> None:
        pass


class Bout:
    """A tailer's source under load on servers of its own."""

    def __init__(self, kind: str, seed: str, *, rate: float = 300.0, **settings: Any) -> None:
        self.kind, self.seed, self.dice = kind, seed, random.Random(seed)
        self.servers: list[Database] = []
        self.server = self._start()
        self.server.run("CREATE DATABASE shop", DDL)
        self.proxy = Proxy(("127.0.0.1", self.server.port))
        self.steps: list[tuple[str, dict]] = []
        self.memory = Memory()
        self.writer = Writer(lambda: ("127.0.0.1", self.server.port), rate, seed)
        source = MySqlSource(
            "shop",
            lambda: ServerAddress("127.0.0.1", self.proxy.port, "root", connect_timeout=3),
            [TableSpec("shop", "outbox", frozenset({"id"}))],
            observer=self.observe,
            **{"heartbeat": 0.5, "silence": 1.5, "server_id": SERVER_ID} | settings,
        )
        self.pump = Pump(
            source,
            Ids(),
            Ids(),
            self.memory,
            self.observe,
            start="earliest",
            limits=Limits(size=500_000, idle_checkpoint=0.3, longest_pause=1.0),
        )
        self.running: asyncio.Task[None] | None = None

    def observe(self, step: str, /, **facts: object) -> None:
        if step in ("opened", "starting_over", "paused", "refused"):
            self.steps.append((step, facts))

    def _start(self) -> Database:
        server = own_server(self.kind, options=OPTIONS[self.kind])
        self.servers.append(server)
        return server

    def count(self, step: str) -> int:
        return sum(name == step for name, _ in self.steps)

    async def __aenter__(self) -> Self:
        self.writer.start()
        self.running = asyncio.create_task(self.pump.run())
        await self.flowing()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.ended.set()
        if self.running is not None and not self.running.done():
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        await self.pump.close()
        await asyncio.to_thread(self.writer.join, 15)
        self.proxy.close()
        for server in self.servers:
            await asyncio.to_thread(server.instance.remove)

    async def flowing(self, seconds: float = 40) -> None:
        """Until rows arrive that were not there."""
        had = len(self.memory.ids)
        await self.wait(lambda: len(self.memory.ids) > had + 5, seconds, "rows flow")

    async def wait(self, done: Callable[[], object], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            if self.running is not None and self.running.done():
                self.running.result()
                raise AssertionError("the pump has ended")
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:g} s: {what}; last: {self.steps[-3:]}")
            await asyncio.sleep(0.02)

    async def outage(self, cause: str) -> None:
        """One outage, its trace in the steps, and rows that flow again."""
        step = "paused" if cause == "back_pressure" else "starting_over"
        had = self.count(step)
        await CAUSES[cause](self)
        await self.wait(lambda: self.count(step) > had, 40, f"{cause} is noticed")
        await self.flowing()

    async def judge(self) -> dict[str, int]:
        """Let all arrive, then compare with the table."""
        self.writer.ended.set()
        await asyncio.to_thread(self.writer.join, 15)
        rows = await asyncio.to_thread(self.server.run, "SELECT id FROM shop.outbox ORDER BY id")
        there = {number for (number,) in rows}
        with contextlib.suppress(AssertionError):
            await self.wait(lambda: there <= set(self.memory.ids), 40, "all arrive")
        await asyncio.sleep(0.5)
        came = Counter(self.memory.ids)
        return {
            "rows": len(there),
            "lost": len(there - set(came)),
            "doubled": sum(count - 1 for count in came.values()),
            "phantom": len(set(came) - there),
            "disordered": sum(second < first for first, second in pairwise(self.memory.ids)),
        }


async def restart(bout: Bout) -> None:
    await asyncio.to_thread(bout.server.instance.restart)


async def kill(bout: Bout) -> None:
    await asyncio.to_thread(bout.server.instance.kill)
    await asyncio.to_thread(bout.server.instance.start)


async def kill_dump(bout: Bout) -> None:
    """KILL of the dump thread."""

    def once() -> bool:
        found = bout.server.run("SELECT id FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
        for (number,) in found:
            with contextlib.suppress(pymysql.MySQLError):
                bout.server.run(f"KILL {number}")
        return bool(found)

    await asyncio.to_thread(until, "a dump thread", once)


async def cut(bout: Bout) -> None:
    bout.proxy.cut()


async def half_open(bout: Bout) -> None:
    had = bout.count("starting_over")
    bout.proxy.stall()
    try:
        await bout.wait(lambda: bout.count("starting_over") > had, 20, "a silent server is noticed")
    finally:
        bout.proxy.resume()


async def clash(bout: Bout) -> None:
    """Another reader with our server_id comes, stays a while, and goes: we wait, saying who it is."""
    had = bout.count("starting_over")
    address = ServerAddress("127.0.0.1", bout.server.port, "root")
    file = bout.server.run("SHOW BINARY LOGS")[-1][0]
    rival = await asyncio.to_thread(open_stream, address, LogRequest(file, 4, SERVER_ID), "rival")
    try:
        await bout.wait(lambda: bout.count("starting_over") > had, 20, "the clash is told")
        await asyncio.sleep(0.5)
    finally:
        rival.cut()
        rival.close()
        # the server notices that a reader is gone when it sends something
    told = [facts["error"] for step, facts in bout.steps if step == "starting_over"][had:]
    assert any("server_id" in str(error) for error in told), told


async def failover(bout: Bout) -> None:
    """A replica is made, the old one goes read-only, all arrives at the new one, the address leads there."""
    stop, reset = NAMES[bout.kind]
    old, new = bout.server, await asyncio.to_thread(bout._start)

    def follow() -> None:
        if bout.kind == "mysql":
            new.run(
                "RESET BINARY LOGS AND GTIDS",
                f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {old.port}, "
                "SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
                "START REPLICA",
            )
            return
        new.run(
            "RESET MASTER",
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {old.port}, MASTER_USER = 'root', "
            "MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        )

    def promote() -> None:
        bout.writer.resting.set()
        time.sleep(0.2)
        old.run("SET GLOBAL read_only = ON")
        if bout.kind == "mysql":
            gtids = old.run("SELECT @@gtid_executed")[0][0]
            assert new.run(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', 60)")[0][0] == 0
        else:
            gtids = old.run("SELECT @@gtid_binlog_pos")[0][0]
            assert new.run(f"SELECT MASTER_GTID_WAIT('{gtids}', 60)")[0][0] == 0
        new.run(stop, reset)
        bout.proxy.target = ("127.0.0.1", new.port)
        bout.server = new
        bout.proxy.cut()
        bout.writer.resting.clear()

    await asyncio.to_thread(follow)
    await asyncio.sleep(1)
    await asyncio.to_thread(promote)
    await bout.flowing()
    await asyncio.to_thread(old.instance.remove)
    bout.servers.remove(old)


async def back_pressure(bout: Bout) -> None:
    """Kafka takes nothing for long: the hose fills, the dump is closed on purpose, then all goes on."""
    bout.memory.hold.clear()
    bout.writer.size = 4000
    try:
        await asyncio.sleep(3 + bout.dice.random())
    finally:
        bout.memory.hold.set()
        bout.writer.size = 40


CAUSES: dict[str, Callable[[Bout], Any]] = {
    "restart": restart,
    "kill": kill,
    "kill_dump": kill_dump,
    "cut": cut,
    "half_open": half_open,
    "clash": clash,
    "failover": failover,
    "back_pressure": back_pressure,
}
SETTINGS: dict[str, dict[str, Any]] = {
    # small stores, so that back-pressure reaches the socket's thread within the test
    "back_pressure": {"patience": 1.0, "handover_bytes": 100_000, "slice_bytes": 16_384},
}
