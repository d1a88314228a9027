"""A service of the page "From python-cqrs's poller to the tailer": writes events, one transaction each, before or after.

    moving_service.py URL before|after TOPIC HOW_MANY

`before` writes through the library's repository into its table, `after` through cdc's into `events_outbox`; the rest of the
program is the same. Prints each event's id after its commit.
"""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore", DeprecationWarning)

import cqrs  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine  # noqa: E402

EVENT = cqrs.PydanticNotificationEvent[dict]


def repository(when: str, session: AsyncSession) -> cqrs.OutboxedEventRepository:
    """The one line that changes."""
    if when == "before":
        return cqrs.SqlAlchemyOutboxedEventRepository(session=session)
    from cdc.outbox import Outbox
    from cdc.outbox.cqrs import OutboxedEventRepository

    return OutboxedEventRepository(
        session, Outbox("events_outbox"), keys={"moved": lambda payload: str(payload["n"] % 3)}, envelope=True
    )


async def main(url: str, when: str, topic: str, how_many: int) -> None:
    """Write them."""
    cqrs.OutboxedEventMap.register("moved", EVENT)
    engine = create_async_engine(url)
    for n in range(how_many):
        async with AsyncSession(engine) as session:
            events = repository(when, session)
            event = EVENT(event_name="moved", topic=topic, payload={"n": n, "when": when})
            events.add(event)
            await (events.rollback() if n % 10 == 9 else events.commit())
        if n % 10 != 9:
            print(event.event_id, flush=True)
        await asyncio.sleep(0.005)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
