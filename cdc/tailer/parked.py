"""Keeps the number of parked dead letters in the status of each source: they stay visible until somebody decides.

One reader for all sources of the process, beside the pumps; what it cannot read leaves the numbers as they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from cdc.errors import CdcError
from cdc.kafka.parked import ParkedCounter
from cdc.tailer.status import Status

EVERY = 15.0
_log = structlog.get_logger()


async def count_forever(counter: ParkedCounter, statuses: Sequence[Status]) -> None:
    """Look again and again, until cancelled."""
    try:
        while True:
            try:
                found = await counter.look()
            except CdcError as error:
                _log.debug("dead letters could not be counted", error=str(error))
            else:
                for status in statuses:
                    mine = {reason: count for (source, reason), count in found.items() if source == status.name}
                    # a reason that was there once stays, with 0: a series that ends looks like one that is not known
                    status.parked = dict.fromkeys(status.parked, 0) | mine
            await asyncio.sleep(EVERY)
    finally:
        await counter.close()
