"""The poller python-cqrs comes with, for one round: what an application runs before it has a tailer.

    publish_outbox.py URL STYLE

takes up to 100 unpublished rows, "sends" them to the library's own null broker, which UPDATEs each row to PRODUCED, and
prints how many. A tailer that took these UPDATEs for events would publish everything twice.
"""

import asyncio
import logging
import sys

import join_meeting  # first: it silences 4.x's warning
from cqrs import EventProducer, SqlAlchemyOutboxedEventRepository
from cqrs.message_brokers.devnull import DevnullMessageBroker
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


async def main(url: str, style: str) -> None:
    """Publish one batch."""
    logging.disable(logging.WARNING)  # the null broker warns of each message it throws away
    join_meeting.register(style)
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        producer = EventProducer(DevnullMessageBroker(), SqlAlchemyOutboxedEventRepository(session=session))
        async for rows in producer.event_batch_generator():
            for row in rows:
                await producer.send_message(row)
            await producer.repository.commit()
            print(len(rows))
            break
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
