"""The real tailer, with an observer that kills its own process (SIGKILL) at a named step.

    python tests/crash/tailer.py -c FILE [--die-at STEP[:N][+MS]] [--hold SECONDS]
        [--instance NAME] [--first-start] [--until-caught-up]

`STEP` is a step of the Observer, or one of two more around the making of the checkpoint topic,
which have no step of their own: `topic_asked` and `topic_made`. `N` is its N-th occurrence (1).
With `+MS` the process goes on for so many milliseconds, and dies while it does the next thing.
With `--hold` one Kafka transaction, after some ordinary ones, stays open for so long before it
is committed; the deadlines are longer then. Nothing else is changed: what runs is the composition that `cdc tailer run` runs; with
`--spoil WAY` it is made wrong before (see spoiled.py), to show that this is found.
"""

import argparse
import asyncio
import functools
import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

from cdc.kafka import KafkaSink, first_start
from cdc.settings import load
from cdc.tailer import logs
from cdc.tailer.run import Options, run_tailer

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.crash import spoiled  # noqa: E402 - the path has to be right first

HELD = 20
"""Which commit of the process is held open."""


class Death:
    """An Observer that does not survive its step."""

    def __init__(self, when: str) -> None:
        match = re.fullmatch(r"([a-z_]+)(?::(\d+))?(?:\+(\d+))?", when)
        if match is None:
            raise SystemExit(f"not a moment to die at: {when!r}")
        self.step, self.left, self.later = match[1], int(match[2] or 1), int(match[3] or 0) / 1000

    def __call__(self, step: str, /, **facts: object) -> None:
        if step != self.step:
            return
        self.left -= 1
        if self.left == 0:
            if self.later:
                threading.Timer(self.later, die).start()
            else:
                die()


def die() -> None:
    """End as a power cut would: nothing is flushed, closed or released."""
    os.kill(os.getpid(), signal.SIGKILL)


def watch_topic_making(death: Death) -> None:
    """Two more steps, around the call that makes the checkpoint topic."""
    make = first_start.make_topic

    @functools.wraps(make)
    async def watched(*arguments: Any, **named: Any) -> None:
        death("topic_asked")
        await make(*arguments, **named)
        death("topic_made")

    first_start.make_topic = watched


def hold_one(seconds: float) -> None:
    """Let one transaction of this process wait before its commit."""
    patient = {"deadline": seconds + 60, "transaction_timeout": seconds + 60}
    KafkaSink.__init__ = functools.partialmethod(KafkaSink.__init__, **patient)
    commit, commits, log = AIOKafkaProducer.commit_transaction, itertools.count(1), structlog.get_logger()

    @functools.wraps(commit)
    async def held(self: AIOKafkaProducer) -> None:
        if next(commits) == HELD:
            log.info("a Kafka transaction is held open")
            await asyncio.sleep(seconds)
            log.info("the held Kafka transaction goes on")
        await commit(self)

    AIOKafkaProducer.commit_transaction = held


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--die-at", default="never")
    parser.add_argument("--hold", type=float)
    parser.add_argument("--instance")
    parser.add_argument("--first-start", action="store_true")
    parser.add_argument("--until-caught-up", action="store_true")
    parser.add_argument("--spoil", choices=spoiled.WAYS)
    given = parser.parse_args()
    if given.spoil:
        spoiled.spoil(given.spoil)
    if given.hold:
        hold_one(given.hold)
    death = Death(given.die_at)
    watch_topic_making(death)
    observer: Callable[[str], Death] = lambda _: death  # noqa: E731 - one for the one source
    logs.configure("json", verbose=False)
    options = Options(until_caught_up=given.until_caught_up, instance=given.instance, first_start=given.first_start)
    outcomes = asyncio.run(run_tailer(load(given.config), options, observer=observer))
    return max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)


if __name__ == "__main__":
    sys.exit(main())
