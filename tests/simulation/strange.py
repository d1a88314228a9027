"""What seldom happens: somebody else's transaction in our topic, a producer at the end of its numbers."""

from collections import defaultdict

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from cdc.kafka import KafkaSink
from cdc.position import Position
from tests.simulation.broker import Broker
from tests.simulation.wire import EMPTY
from tests.simulation.world import PREFIX, SOURCE

CHECKPOINT = (f"{PREFIX}.checkpoint.{SOURCE}", 0)


def hold_open(broker: Broker, seconds: float) -> None:
    """Somebody writes to our checkpoint topic in a transaction, and ends it after some time."""
    pid, epoch = _begin(broker)
    broker.loop.call_later(seconds, _end, broker, pid, epoch, context=EMPTY)


def _end(broker: Broker, pid: int, epoch: int) -> None:
    broker.coordinator.end("stranger", pid, epoch, commit=False)


def _begin(broker: Broker) -> tuple[int, int]:
    coordinator = broker.coordinator
    _, pid, epoch = coordinator.init("stranger", 60.0)
    coordinator.inits -= 1  # ours are counted
    coordinator.add("stranger", pid, epoch, {CHECKPOINT})
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=1, producer_id=pid, producer_epoch=epoch, base_sequence=0,
        batch_size=1000,
    )  # fmt: skip
    builder.append(0, int(broker.loop.time() * 1000), b"stranger", b"{}", [])
    error, _ = broker.append("stranger", CHECKPOINT, bytes(builder.build()))
    assert not error, error
    return pid, epoch


class OldSink(KafkaSink):
    """Its first producer has written almost as many records as a sequence number can count."""

    async def found(self, position: Position, start: str) -> None:
        assert self._producer is not None
        self._producer._txn_manager._sequence_numbers = defaultdict(lambda: 2**31 - 4)
        await super().found(position, start)
        self._written = 2**31 - 4
