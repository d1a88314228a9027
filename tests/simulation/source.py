"""The other end of a simulated run: a log in memory, and a router that puts each row where it says."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cdc.model import Column, LogEnd, Original, Record, Row, Slice, SourceTransaction, TableSchema
from cdc.position import Position
from tests.simulation.judge import Log, SourceRow, value

TABLE = TableSchema(
    "shop", "outbox", (Column("payload", "binary"), Column("topic", "text"), Column("event_key", "text"))
)


def at(position: int) -> Position:
    return Position("mariadb", "1", "binlog.000001", position)


class MemoryLog:
    """The source: one slice a read, `pace` seconds apart, so that each becomes a batch."""

    def __init__(self, log: Log, pace: float, most: int) -> None:
        self._log, self._pace, self._most = log, pace, most
        self._where: int | None = None
        self._careful = False

    async def first_position(self, start: str) -> Position:
        return at(0 if start == "earliest" else len(self._log))

    async def open(
        self, position: Position, *, careful: bool = False, snapshot: Mapping[str, Any] | None = None
    ) -> None:
        self._where, self._careful = position.position, careful

    async def read(self) -> Slice:
        assert self._where is not None, "read from a closed source"
        await asyncio.sleep(self._pace)
        if self._where >= len(self._log):
            await asyncio.Event().wait()
        begin, end = self._where, min(len(self._log), self._where + (1 if self._careful else self._most))
        found = []
        for position in range(begin + 1, end + 1):
            rows = [
                Row(TABLE, (value(position, number, row.size), row.topic, row.key))
                for number, row in enumerate(self._log[position - 1])
            ]
            if rows:
                found.append(SourceTransaction(None, "binlog.000001", position, 0, 1, rows))
        self._where = end
        return Slice(found, at(end), 100 * (end - begin))

    async def log_end(self) -> LogEnd:
        return LogEnd("binlog.000001", len(self._log))

    async def close(self) -> None:
        self._where = None


class Straight:
    """Routes each row where it says; timestamps are `ahead` of now. Rows that are refused follow `policy`."""

    def __init__(self, topics: Mapping[str, int], ahead: float, policy: str) -> None:
        self._topics, self._ahead, self._policy = topics, ahead, policy

    def route_all(self, rows: Sequence[Row], made: list[Record | None], mark: str | None = None) -> None:
        for row in rows:
            made.append(self.route(row, mark))  # noqa: PERF401 - what is made before a refusal counts

    def route(self, row: Row, mark: str | None = None) -> Record:
        payload, topic, key = row.values
        assert isinstance(payload, bytes)
        assert isinstance(topic, str)
        assert isinstance(key, str)
        place = SourceRow(topic, key).place(self._topics[topic])
        stamp = int((time.time() + self._ahead) * 1000) if self._ahead else None
        return Record(*place, key.encode(), payload, [], stamp)

    def on_error(self, row: Row) -> str:
        return self._policy

    def original(self, row: Row) -> Original:
        payload, topic, key = row.values
        assert isinstance(payload, bytes)
        return Original(payload.decode(), "happened", str(topic), str(key).encode(), (), "payload")
