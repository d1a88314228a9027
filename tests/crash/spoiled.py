"""The tailer made wrong on purpose, in the ways the crash tests are there to find.

    ahead     the position is committed before its records: a kill between loses them
    behind    the position committed with records is the one before: a kill repeats them
    apart     a batch goes in two Kafka transactions, cut anywhere
    undone    ROLLBACK TO SAVEPOINT is not obeyed

Used by tailer.py (`--spoil`), never by anything that is delivered.
"""

import functools

from cdc.binlog.transaction import Transactions
from cdc.kafka import KafkaSink
from cdc.model import Batch

WAYS = ("ahead", "behind", "apart", "undone")


def spoil(way: str) -> None:
    """Make this process's tailer wrong."""
    if way == "undone":
        Transactions.rollback_to = lambda _self, _name: None  # type: ignore[method-assign]
        return
    commit = KafkaSink.commit
    before: dict[int, object] = {}

    @functools.wraps(commit)
    async def wrong(self: KafkaSink, batch: Batch) -> None:
        position = batch.position
        if way == "ahead":
            await commit(self, Batch(position))
        elif way == "behind":
            batch.position = before.get(id(self), position)
        elif len(batch.records) > 1:
            first = Batch(before.get(id(self), position), batch.records[: len(batch.records) // 2])
            batch.records = batch.records[len(first.records) :]
            await commit(self, first)
        await commit(self, batch)
        before[id(self)] = position

    KafkaSink.commit = wrong  # type: ignore[method-assign]
