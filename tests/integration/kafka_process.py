"""A process that is nothing but a sink: fences, founds where it must, commits numbered batches; it dies or freezes at a step.

    python -m tests.integration.kafka_process '{"bootstrap": ..., "source": ..., "prefix": ..., "name": ..., ...}'

Options: `topic` and `batches` (what to commit), `kill_at` / `stop_at` (observer step at which it kills or stops itself, the
first time `from_record` records are committed or more). Each step is a line of JSON on stdout; exit code 5 when fenced.
"""

import asyncio
import json
import os
import signal
import sys

from cdc.errors import CdcError, Fenced
from cdc.kafka import KafkaAddress, KafkaSink
from cdc.model import Batch, Record
from cdc.position import Position


def position(number: int) -> Position:
    return Position("mariadb", "1", "binlog.000001", number)


def numbered(topic: str, number: int, partitions: int = 1) -> Record:
    return Record(topic, number % partitions, b"k", b"%d" % number, [("n", b"%d" % number)], None)


class Steps:
    """Prints the steps; at the chosen one it ends or freezes its own process."""

    def __init__(self, options: dict) -> None:
        self.options = options
        self.done = -1

    def __call__(self, step: str, /, **facts: object) -> None:
        print(json.dumps({"step": step, **{name: str(fact) for name, fact in facts.items()}}), flush=True)
        if step == "committed":
            self.done += 1
        if self.done < self.options.get("from_batch", -1):
            return
        if step == self.options.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.options.get("stop_at"):
            self.options["stop_at"] = None
            os.kill(os.getpid(), signal.SIGSTOP)


async def work(options: dict) -> None:
    sink = KafkaSink(
        KafkaAddress((options["bootstrap"],)),
        options["source"],
        prefix=options["prefix"],
        instance_name=options["name"],
        tables=("shop.outbox",),
        observer=Steps(options),
        heartbeat_every=0.5,
        takeover_after=options.get("takeover_after", 2.0),
        deadline=options.get("deadline", 10.0),
        transaction_timeout=options.get("transaction_timeout", 60.0),
    )
    try:
        at = -1
        while at < options.get("batches", 0):
            try:
                if at < 0:
                    checkpoint = await sink.fence()
                    if checkpoint is None:
                        await sink.found(position(0), "earliest")
                    at = checkpoint.position.position if checkpoint else 0
                    continue
                await sink.commit(Batch(position(at + 1), [numbered(options["topic"], at)]))
                at += 1
            except CdcError as error:
                if not error.retryable:
                    raise
                at = -1
                await asyncio.sleep(0.1)
        await sink.close(release=position(at))
    finally:
        await sink.close()


def main() -> int:
    try:
        asyncio.run(work(json.loads(sys.argv[1])))
    except Fenced as error:
        print(json.dumps({"error": "Fenced", "message": str(error), "hint": error.hint}), flush=True)
        return error.exit_code
    except CdcError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
