"""How users write it; read by mypy in `test_outbox_typing.py`, never run."""

import dataclasses
from typing import assert_type

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from cdc.outbox import AsyncUnit, Event, EventMap, Outbox, Unit


@EventMap.register("order.created", topic="orders", key="number")
@dataclasses.dataclass
class Order:
    number: str


@dataclasses.dataclass
class Left:
    user_id: str


events = EventMap()
events.register("user.left.codec", Left, codec=lambda left: left.user_id.encode(), content_type="text/plain")
events.register("user.left.topic", Left, topic=lambda left: left.user_id)
assert_type(events.register("user.left", Left, key=lambda left: left.user_id, version=2), type[Left])
assert_type(Order("1"), Order)

outbox = Outbox("shop.outbox", event_map=EventMap, max_bytes=10)
Outbox(event_map=events)


def sync(session: Session) -> None:
    outbox.add(session, Event("order.created", "orders", Order("1"), key=b"1", headers={"a": "b"}))
    outbox.add_all(session, [Event(event_name="n", topic="t", payload=None)])
    unit = assert_type(outbox.bind(session), Unit)
    unit.add(Event("n", "t", {}))
    unit.commit()


async def awaited(session: AsyncSession, cursor: object) -> None:
    await outbox.add_async(cursor, Event("n", "t", {}))
    unit = assert_type(outbox.bind(session), AsyncUnit)
    unit.add(Event("n", "t", {}))
    await unit.commit()


Event("n", "t", {}, "key")  # type: ignore[call-arg]
Event("n", "t", {}, key=7)  # type: ignore[arg-type]
Event("n", "t", {}, headers={"a": 1})  # type: ignore[dict-item]
Event("n", topic="t")  # type: ignore[call-arg]
Event("n", "t", {}).topic = "other"  # type: ignore[misc]
Outbox(layout=1)  # type: ignore[arg-type]
Outbox(columns={"id": 1})  # type: ignore[dict-item]
events.register("user.left", Left, key=lambda left: left.nobody)  # type: ignore[attr-defined]
