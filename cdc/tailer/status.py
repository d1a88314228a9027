"""How a source is doing, in one line every ten seconds.

`Status` is an Observer that counts what the pump says; `report()` asks the server where its
log ends and logs the line. "Behind" is measured against the log's end, not against the last
event, so an idle outbox on a busy server is not behind: seconds are the age of the newest
thing read while bytes are left to read or commit, else 0. Clocks of server and tailer may
differ, so the seconds never go below 0.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from cdc.errors import CdcError
from cdc.model import LogEnd, Source
from cdc.position import Position
from cdc.pump import Pump, file_number

EVERY_SECONDS = 10.0
_ASKING_SECONDS = 5.0

_STATES = {
    "standing_by": "standby",
    "fencing": "starting",
    "first_start": "starting",
    "opening": "starting",
    "opened": "tailing",
    "starting_over": "starting over",
    "stopping": "stopping",
    "draining": "stopping",
}


@dataclass(frozen=True, slots=True)
class Behind:
    """How far the committed position is behind the log's end. `files` is 0 where both are in one file."""

    seconds: float
    size: int
    files: int


def behind(committed: Position, end: LogEnd, *, now: float, log_time: int) -> Behind:
    """Compare what is committed with the log's end; `log_time` is the time of the newest log event read."""
    files = file_number(end.file) - file_number(committed.file)
    size = end.position if files else max(0, end.position - committed.position)
    seconds = max(0.0, now - log_time) if (size or files) and log_time else 0.0
    return Behind(seconds, size, max(0, files))


class Status:
    """Counts of one source since the start, and its state."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "starting"
        self.events = self.transactions = self.passed_over = self.restarts = 0
        self.dropped_headers: Mapping[str, int] = {}
        """Headers of rows that bore a name of ours, by name: left out of the records, never without a word."""
        self._log = structlog.get_logger().bind(source=name)
        self._then, self._events_then = time.monotonic(), 0

    def __call__(self, step: str, /, **facts: object) -> None:
        """Count one step."""
        self.state = _STATES.get(step, self.state)
        if step == "advanced":
            self.events += _number(facts.get("records"))
            self.transactions += _number(facts.get("transactions"))
        elif step == "refused":
            self.passed_over += 1
        elif step == "starting_over":
            self.restarts += 1

    async def report(self, pump: Pump, source: Source) -> None:
        """Log the line."""
        now = time.monotonic()
        rate = (self.events - self._events_then) / max(now - self._then, 0.001)
        self._then, self._events_then = now, self.events
        facts: dict[str, object] = {"state": self.state, "events": self.events, "per_second": round(rate, 1)}
        committed, read = pump.committed, pump.read_position
        if committed is not None and read is not None and self.state == "tailing":
            facts |= await self._behind(source, committed, read)
        if self.passed_over:
            facts["passed_over"] = self.passed_over
        if self.restarts:
            facts["restarts"] = self.restarts
        if self.dropped_headers:
            facts["dropped_headers"] = dict(self.dropped_headers)
        self._log.info("status", **facts)

    async def _behind(self, source: Source, committed: Position, read: Position) -> dict[str, object]:
        facts: dict[str, object] = {"position": f"{committed.file}:{committed.position}"}
        try:
            async with asyncio.timeout(_ASKING_SECONDS):
                end = await source.log_end()
        except (CdcError, TimeoutError) as error:
            return facts | {"behind_seconds": None, "why": str(error) or "the server did not say where its log ends"}
        found = behind(committed, end, now=time.time(), log_time=read.log_time)
        facts |= {"behind_seconds": round(found.seconds, 1), "behind_bytes": found.size}
        return facts | ({"behind_files": found.files} if found.files else {})

    async def report_forever(self, pump: Pump, source: Source, every: float = EVERY_SECONDS) -> None:
        """Log a line every so many seconds until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self.report(pump, source)


def _number(fact: object) -> int:
    return fact if isinstance(fact, int) else 0
