"""Transactions of any size through source and pump: what is committed comes once and whole, whatever fails.

Logs are drawn as groups with savepoints, rollbacks and payloads, and a model says which rows are committed. The
memory budget is so small that most groups come in pieces. The socket and Kafka are of the test's own making, and
fail at any moment; everything between them is the real thing.
"""

from __future__ import annotations

import asyncio
import random
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
from binlog_log import TABLE, Log, lenenc, query_body, rows_body, seal, table_body

from cdc.binlog import events, payloads
from cdc.errors import Doubt, SourceUnavailable
from cdc.model import Batch, Checkpoint, LogEnd, Record, Row
from cdc.mysql.address import ServerAddress
from cdc.mysql.source import MySqlSource
from cdc.position import GtidList, GtidSet, Position
from cdc.pump import Pump
from tests.properties.test_pump import QUICK, MemoryKafka, run_supervised

FILE = "binlog.000001"


class MemoryHose:
    """The bytes of a log from a position on, cut anywhere; may end at any moment."""

    def __init__(self, data: bytes, dice: random.Random, faults: float) -> None:
        self.data, self.dice, self.faults = data, dice, faults

    async def take(self, most: int) -> bytes:
        await asyncio.sleep(0)
        if self.dice.random() < self.faults:
            raise SourceUnavailable("gone")
        if not self.data:
            await asyncio.sleep(3600)
        size = self.dice.randint(1, min(most, 400))
        part, self.data = self.data[:size], self.data[size:]
        return part

    async def close(self) -> None:
        self.data = b""


class PlayedLog(MySqlSource):
    """The real source on bytes of our own."""

    def __init__(self, log: Log, dice: random.Random, faults: float, budget: int) -> None:
        super().__init__(
            "shop", ServerAddress("localhost"), [TABLE], observer=lambda *_, **__: None, memory_budget=budget
        )
        self.log, self.dice, self.faults = log, dice, faults

    async def first_position(self, start: str) -> Position:
        gtids = GtidSet() if self.log.flavour == "mysql" else GtidList()
        return Position(self.log.flavour, "server", FILE, 4, gtids)

    async def open(
        self, position: Position, *, careful: bool = False, snapshot: Mapping[str, Any] | None = None
    ) -> None:
        await self.close()
        said = Log(self.log.flavour, checksums=self.log.checksums).format(made_up=position.position > 4)
        at = 4
        if position.position == 4:
            said.events.clear()
        for event in self.log.events:
            if at >= position.position:
                said.events.append(event)
            at += len(event)
        self._hose = MemoryHose(said.packets(), self.dice, self.faults)
        self._feed = self._reader(position)
        self._told, self._careful = position, careful

    async def log_end(self) -> LogEnd:
        return LogEnd(FILE, self.log.at)


class OpenKafka(MemoryKafka):
    """Transactions that may stay open; what is added is seen with the commit or never."""

    def __init__(self, dice: random.Random, faults: float) -> None:
        super().__init__(dice, faults)
        self.open: list[Record] | None = None
        self.giants = 0

    async def fence(self) -> Checkpoint | None:
        self.open = None
        return await super().fence()

    async def begin(self, position: Position) -> None:
        assert self.open is None
        assert position == self.position
        await self._may_fail()
        self.open = []

    async def add(self, batch: Batch) -> None:
        assert self.open is not None
        await self._may_fail()
        self.open += batch.records

    async def abandon(self, position: Position) -> None:
        assert position == self.position
        await self._may_fail()
        self.open = None

    async def commit(self, batch: Batch) -> None:
        before, self.open = self.open or [], None
        self.giants += bool(before)
        await super().commit(Batch(batch.position, [*before, *batch.records]))

    async def _may_fail(self) -> None:
        assert self.fenced, "after a doubt"
        await asyncio.sleep(0)
        if self.dice.random() < self.faults:
            self.fenced, self.open = False, None
            raise Doubt("somewhere")


class Plain:
    """Router and topics: the row's number is the record."""

    def route_all(self, rows: Sequence[Row], made: list[Record | None], mark: str | None = None) -> None:
        for row in rows:
            made.append(self.route(row, mark))  # noqa: PERF401 - what is made before a refusal counts

    def route(self, row: Row, mark: str | None = None) -> Record:
        return Record("t", 0, None, b"%d" % row.get("id"), [], None)

    def on_error(self, row: Row) -> str:
        return "stop"

    def partitions(self, topic: str) -> int | None:
        return 1

    async def refresh(self) -> None:
        pass


@st.composite
def groups(draw, first: int) -> tuple[list[tuple[str, Any]], list[int]]:
    """Steps of one transaction, and the numbers of the rows that it commits."""
    steps: list[tuple[str, Any]] = []
    rows: list[int] = []
    marks: list[tuple[str, int]] = []
    number = first
    for _ in range(draw(st.integers(1, 12))):
        what = draw(st.sampled_from(["rows", "rows", "rows", "savepoint", "back", "release"]))
        if what == "rows":
            ids = list(range(number, number + draw(st.integers(1, 15))))
            number = ids[-1] + 1
            rows += ids
            steps.append(("rows", ids))
        elif what == "savepoint":
            name = draw(st.sampled_from("abc"))
            marks = [(known, at) for known, at in marks if known != name]
            marks.append((name, len(rows)))
            steps.append(("text", f"SAVEPOINT `{name}`"))
        elif marks:
            at = draw(st.integers(0, len(marks) - 1))
            name, kept = marks[at]
            if what == "back":
                del rows[kept:], marks[at + 1 :]
                steps.append(("text", f"ROLLBACK TO `{name}`"))
            else:
                del marks[at:]
                steps.append(("text", f"RELEASE SAVEPOINT `{name}`"))
    if draw(st.integers(0, 5)) == 0:
        return [*steps, ("text", "ROLLBACK")], []
    return [*steps, ("xid", None)], rows


@st.composite
def logs(draw) -> tuple[Log, list[int]]:
    log = Log(draw(st.sampled_from(("mysql", "mariadb"))), checksums=draw(st.booleans())).format()
    committed: list[int] = []
    for n in range(draw(st.integers(1, 6))):
        steps, rows = draw(groups(1000 * n))
        committed += rows
        if log.flavour == "mysql" and draw(st.booleans()):
            _in_payload(log, steps, plain=draw(st.booleans()))
        else:
            _as_events(log, steps)
    return log, committed


def _as_events(log: Log, steps: list[tuple[str, Any]]) -> None:
    log.gtid().begin()
    for what, value in steps:
        if what == "rows":
            log.table().rows(*value)
        elif what == "text":
            log.query(value)
        else:
            log.xid()


def _in_payload(log: Log, steps: list[tuple[str, Any]], *, plain: bool) -> None:
    inner = seal(events.QUERY, query_body("BEGIN"), 5, 0, 0, checksums=False)
    for what, value in steps:
        if what == "rows":
            inner += seal(events.TABLE_MAP, table_body("shop", "outbox", 70), 5, 0, 0, checksums=False)
            kind, body = rows_body(value, 70, 30)
        else:
            kind, body = (events.QUERY, query_body(value)) if what == "text" else (events.XID, bytes(8))
        inner += seal(kind, body, 5, 0, 0, checksums=False)
    data = inner if plain else zstandard.compress(inner[:50]) + zstandard.compress(inner[50:])
    head = b"\2" + (lenenc(b"\xfc\xff\0") if plain else lenenc(b"\0"))
    head += b"\3\4\xfd" + struct.pack("<I", len(inner))[:3] + b"\1\4\xfd" + struct.pack("<I", len(data))[:3] + b"\0"
    log.gtid().event(events.TRANSACTION_PAYLOAD, head + data, time=4321)


def publish(log: Log, budget: int, faults: float, seed: int) -> OpenKafka:
    dice = random.Random(seed)
    kafka = OpenKafka(dice, faults)
    router = Plain()
    pump = Pump(
        PlayedLog(log, dice, faults, budget),
        router,  # type: ignore[arg-type]
        router,
        kafka,
        lambda *_, **__: None,
        start="earliest",
        until_caught_up=True,
        limits=QUICK,
    )
    run_supervised(pump)
    return kafka


@settings(max_examples=60, deadline=None)
@given(logs(), st.integers(0, 2**32), st.sampled_from((0.0, 0.0, 0.02)), st.sampled_from((400, 3000, 30_000)))
def test_each_committed_row_once_and_in_order(drawn, seed, faults, budget):
    log, committed = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "STREAMED", 300)  # larger payloads are taken as they come
        patch.setattr("cdc.binlog.inflate._PIECE", 200)
        kafka = publish(log, budget, faults, seed)
    assert [int(record.value or b"") for record in kafka.records] == committed
    assert kafka.open is None


def test_a_large_transaction_does_come_in_pieces():
    log = Log("mariadb").format()
    log.insert(1).gtid().table()
    for n in range(100):
        log.rows(*range(10 + 10 * n, 20 + 10 * n))
    log.xid().insert(5000)
    kafka = publish(log, 3000, 0.0, 1)
    assert [int(record.value or b"") for record in kafka.records] == [1, *range(10, 1010), 5000]
    assert kafka.giants == 1


def test_an_event_out_of_packets_of_any_cut(monkeypatch):
    monkeypatch.setattr(payloads, "WHOLE", 64)
    dice = random.Random(3)
    for size in (40, 63 - 19 - 4, 64, 127 - 23, 128 - 23, 500, 1000):
        body = dice.randbytes(size)
        event = seal(events.TRANSACTION_PAYLOAD, body, 1, 0, 0, checksums=True)
        wire, rest = b"", b"\0" + event
        while True:
            part, rest = rest[:64], rest[64:]
            wire += len(part).to_bytes(3, "little") + b"\1" + part
            if len(part) < 64:
                break
        stream = payloads.Stream(int.from_bytes(wire[:3], "little"), len(event), event[:19], 4)
        data, out = wire[5 + 19 :] + b"next", b""
        while not stream.is_over():
            cut = dice.randint(1, 30)
            pieces, used = stream.take(data[:cut])
            out += b"".join(pieces)
            data = data[used:]
        assert (out, data) == (body, b"next")
