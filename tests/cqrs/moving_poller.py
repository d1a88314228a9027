"""The poller of a service that is moving to the tailer: the library's own EventProducer, in rounds until SIGTERM.

    moving_poller.py URL

Its broker prints the id of what it is given, which is all a test needs to know of Kafka. Told to end, it publishes what is
there first; then it prints how many rows it leaves behind.
"""

import asyncio
import json
import signal
import sys
import warnings

warnings.simplefilter("ignore", DeprecationWarning)

import cqrs  # noqa: E402
from cqrs.message_brokers.protocol import Message, MessageBroker  # noqa: E402
from sqlalchemy import text  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine  # noqa: E402


class Printing(MessageBroker):
    """Stands where Kafka would."""

    async def send_message(self, message: Message) -> None:
        """Print the event's id."""
        print(
            json.loads(message.payload_bytes)["event_id"] if message.payload_bytes else message.message_id, flush=True
        )


async def main(url: str) -> None:
    """Poll."""
    cqrs.OutboxedEventMap.register("moved", cqrs.PydanticNotificationEvent[dict])
    engine, ending = create_async_engine(url), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with AsyncSession(engine) as session:
        repository = cqrs.SqlAlchemyOutboxedEventRepository(session=session)
        producer = cqrs.EventProducer(Printing(), repository)
        while True:
            last = ending.is_set()  # what was committed before is seen by this round
            rows = await repository.get_many()
            for row in rows:
                await producer.send_message(row)
            await repository.commit()
            if last and not rows:
                break
            await asyncio.sleep(0 if rows else 0.05)
        left = await session.execute(text("SELECT COUNT(*) FROM outbox WHERE event_status <> 'PRODUCED'"))
        print("left", left.scalar_one(), flush=True)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
