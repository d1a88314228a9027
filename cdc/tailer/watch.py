"""What goes on beside a pump: surveys of its server's log, and one log line every ten seconds.

A survey is a short connection of its own, so it also works while the log's stream is busy.
While a source is not ready it is asked every second, so that readiness is seen soon; else a few
times within `ready_lag`, and at least every five seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from cdc.errors import CdcError
from cdc.mysql.address import ServerAddress
from cdc.mysql.survey import survey
from cdc.tailer.status import READY, Status

LINE_EVERY = 10.0
_LONG_COMMIT = 5.0
_SURVEY_EVERY = 5.0
_IMPATIENT = 1.0
_ANSWER_WITHIN = 5.0


class Watch:
    """Keeps the status of one source fresh, and logs it."""

    def __init__(self, status: Status, address: Callable[[], ServerAddress]) -> None:
        self._status, self._address = status, address
        self._log = structlog.get_logger().bind(source=status.name)
        self._then, self._events_then = time.monotonic(), 0

    async def forever(self) -> None:
        """Survey and report until cancelled."""
        await asyncio.gather(self._survey_forever(), self._report_forever())

    async def _survey_forever(self) -> None:
        calm = min(_SURVEY_EVERY, self._status.ready_lag / 3)
        while True:
            if self._status.connected:
                await self.survey()
            await asyncio.sleep(calm if self._status.state == READY else min(calm, _IMPATIENT))

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(LINE_EVERY)
            self.report()

    async def survey(self) -> None:
        """Ask the server once; an answer that does not come is part of the status."""
        status = self._status
        file = None if status.committed is None else status.committed.file
        now, wall = time.monotonic(), time.time()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                found = await survey(self._address(), file)
        except (CdcError, TimeoutError) as error:
            status.survey_error = str(error) or "the server did not say in time where its log ends"
        else:
            status.surveyed(found, now=now, wall=wall)

    def report(self) -> None:
        """Log the line."""
        status, now = self._status, time.monotonic()
        rate = (status.events - self._events_then) / max(now - self._then, 0.001)
        self._then, self._events_then = now, status.events
        facts: dict[str, object] = {"state": status.state, "events": status.events, "per_second": round(rate, 1)}
        if status.connected and status.committed is not None:
            facts |= self._behind(f"{status.committed.file}:{status.committed.position}")
        if status.committing_seconds > _LONG_COMMIT:
            facts["waiting_for"] = f"Kafka, to commit a transaction begun {status.committing_seconds:.0f} s ago"
        if status.passed_over:
            facts["passed_over"] = status.passed_over.total()
        if status.restarts:
            facts["restarts"] = status.restarts.total()
        if status.dropped_headers:
            facts["dropped_headers"] = dict(status.dropped_headers)
        self._log.info("status", **facts)

    def _behind(self, position: str) -> dict[str, object]:
        seconds, behind = self._status.lag_seconds, self._status.behind
        facts: dict[str, object] = {
            "position": position,
            "behind_seconds": None if seconds is None else round(seconds, 1),
        }
        if self._status.survey_error is not None:
            facts["why"] = self._status.survey_error
        if behind is not None:
            facts["behind_bytes"] = behind[0]
            if behind[1]:
                facts["behind_files"] = behind[1]
        return facts
