"""The write library: events into the outbox table, inside your own transaction.

    outbox = Outbox()
    outbox.add(session, Event("order.created", "orders", {"id": 1}, key="o-1"))
    session.commit()

What to know before changing it: services import this, so it pulls in no third-party
package (the UUIDv7 source aside, and that only when the first id is made), and whatever
Kafka or the table would refuse is refused by `add`, before any SQL.
"""

from cdc.outbox.event import Event
from cdc.outbox.registry import EventMap
from cdc.outbox.writer import AsyncUnit, Outbox, Unit

__all__ = ["AsyncUnit", "Event", "EventMap", "Outbox", "Unit"]
