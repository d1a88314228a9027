"""What one row costs on its way inside the process: routing and its envelope, and the hash of its key.

Routing: native rows with keys of their own, all different, through four rules of which the last one matches. The
hash: 100,000 random keys of 8 to 40 bytes, ours beside aiokafka's, in turns; both must agree.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence

from aiokafka.partitioner import murmur2 as of_aiokafka

from cdc.envelopes.plain import Plain
from cdc.model import Column, Row, TableSchema
from cdc.routing.layouts import NATIVE
from cdc.routing.names import TopicNames
from cdc.routing.partitioner import Partitioner, murmur2
from cdc.routing.router import RuleRouter
from cdc.routing.rules import OutboxTable, Rule
from tests.bench.measure import Rounds

ROWS = 50_000
KEYS = 100_000
SLICE = 280
"""Rows in 128 KiB of a log of one-row transactions."""


class Three:
    """Topics that all have three partitions."""

    def partitions(self, _: str) -> int:
        return 3

    async def refresh(self) -> None:
        """Nothing changes."""


def compare(rounds: int) -> Rounds:
    out: Rounds = {}
    for _ in range(rounds):
        gc.collect()
        found = {("cdc routing", "native rows to records"): routing()}
        for name, seconds in hashing().items():
            found[name, "murmur2 of random keys"] = seconds
        for (contestant, log), seconds in found.items():
            out.setdefault(contestant, {}).setdefault(log, []).append({"us_per_event": 1e6 * seconds})
    return out


def routing() -> float:
    """Processor seconds a row."""
    names = ("event_id", "event_name", "topic", "event_key", "payload", "content_type", "headers", "created_at")
    table = TableSchema("shop", "outbox", tuple(Column(name, "text") for name in names))
    rows = [
        Row(table, (random.randbytes(16), "order.created", "orders", b"k%d" % n, b'{"order": 1}', "application/json", None,
                    f"2026-11-23 10:11:12.{n % 1_000_000:06}"))
        for n in range(ROWS)
    ]  # fmt: skip
    rules = tuple(Rule(event_name, "orders") for event_name in ("user.*", "*.deleted", "order.paid", "order.*"))
    outbox = OutboxTable(NATIVE, Plain(), rules)
    router = RuleRouter({("shop", "outbox"): outbox}, Three(), TopicNames("cdc"))

    def work() -> None:
        for at in range(0, ROWS, SLICE):
            router.route_all(rows[at : at + SLICE], [])

    return cost_of_each(work, ROWS)


def hashing() -> dict[str, float]:
    """Processor seconds a key, by contestant."""
    keys = [random.randbytes(random.randint(8, 40)) for _ in range(KEYS)]
    ours: Sequence[int] = [murmur2(key) for key in keys]
    if ours != [of_aiokafka(key) & 0xFFFFFFFF for key in keys]:
        raise SystemExit("murmur2 is not aiokafka's")
    contestants: dict[str, Callable[[], object]] = {
        "cdc murmur2": lambda: [murmur2(key) for key in keys],
        "cdc murmur2 of a slice": lambda: of_slices(keys),
        "aiokafka murmur2": lambda: [of_aiokafka(key) for key in keys],
    }
    return {name: cost_of_each(work, KEYS) for name, work in contestants.items()}


def of_slices(keys: Sequence[bytes]) -> None:
    """As the tailer does under load: the keys of what was read in one go are hashed together."""
    partitioner = Partitioner()
    for at in range(0, len(keys), SLICE):
        some = keys[at : at + SLICE]
        partitioner.expect(some)
        for key in some:
            partitioner.partition(key, 3)


def cost_of_each(work: Callable[[], object], count: int) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / count
