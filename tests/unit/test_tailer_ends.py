"""How a source ended stays what is said, however often the tailer is told to stop."""

import asyncio

import pytest

from cdc.errors import CheckpointLost
from cdc.tailer.run import Works, _work
from cdc.tailer.status import Status


class Pump:
    """Runs until it is cancelled or fails, and takes its time to close."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.closing = asyncio.Event()

    async def run(self) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closing.set()
        await asyncio.Event().wait()


class Watch:
    async def forever(self) -> None:
        await asyncio.Event().wait()

    def report(self) -> None:
        pass


@pytest.mark.parametrize("error", [None, CheckpointLost("gone")])
async def test_a_signal_while_both_ends_are_let_go_of_changes_nothing(error: Exception | None) -> None:
    pump = Pump(error)
    task = asyncio.create_task(_work(Works("shop", pump, Status("shop"), Watch(), pump)))
    await asyncio.sleep(0)
    if error is None:
        task.cancel()
    await asyncio.wait_for(pump.closing.wait(), 10)
    task.cancel()
    outcome = await task
    assert outcome.source == "shop"
    assert outcome.error is error or "stopped before" in str(outcome.error)
