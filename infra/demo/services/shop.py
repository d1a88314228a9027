"""The demo's first sample service: a shop that writes its events with ``cdc.outbox``.

It is what an application looks like: SQLAlchemy, a table of its own, one transaction an order, and no Kafka anywhere.
Run by the director as a process of its own::

    shop.py few   URL TOPIC           a handful of orders, one JSON line each
    shop.py burst URL TOPIC EVENTS    EVENTS events, as fast as the database takes them

A customer's orders are numbered, and one thread serves a customer, so ``number`` rises in commit order: that is how the
director sees whether the order within a key was kept. Some transactions are rolled back after their events were
written; nobody may ever receive those.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from uuid import uuid4

from sqlalchemy import Engine, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cdc.outbox import Event, Outbox

THREADS = 4
CUSTOMERS = 10
"""Customers a thread serves in a burst."""
ROLLED_BACK_EVERY = 20


class Base(DeclarativeBase):
    """The shop's own tables; its outbox is made by ``cdc outbox ddl``."""


class Order(Base):
    """The business side: what the shop is about."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    customer: Mapped[str] = mapped_column(String(64))
    total: Mapped[int]


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """The payload of the shop's events."""

    order: str
    customer: str
    number: int
    total: int


class PaymentRefusedError(Exception):
    """The reason why an order is taken back."""


class Shop:
    """Takes orders."""

    def __init__(self, engine: Engine, topic: str) -> None:
        self._engine = engine
        self._topic = topic
        self._outbox = Outbox()

    def order(self, customer: str, number: int, *, paid: bool, refused: bool = False) -> list[str]:
        """Create an order and say so in the outbox, all in one transaction; return the events' ids."""
        order = Order(id=f"o-{uuid4().hex[:12]}", customer=customer, total=100 + number)
        events = [self._event("order.created", order, number)]
        if paid:
            events.append(self._event("order.paid", order, number + 1))
        try:
            self._write(order, events, refused=refused)
        except PaymentRefusedError:
            pass  # the transaction is gone, and its events with it
        return [str(event.event_id) for event in events]

    def _write(self, order: Order, events: list[Event], *, refused: bool) -> None:
        with Session(self._engine) as session, session.begin():
            session.add(order)
            self._outbox.add_all(session, events)
            if refused:
                session.flush()  # the rows reach the database, and leave it again
                raise PaymentRefusedError(order.customer)

    def _event(self, name: str, order: Order, number: int) -> Event:
        payload = OrderEvent(order.id, order.customer, number, order.total)
        return Event(name, self._topic, asdict(payload), key=order.customer, headers={"sold-by": "shop"})


def few(shop: Shop) -> None:
    """Serve three customers; one of them cannot pay."""
    for customer, number, paid, refused in (
        ("ann", 1, False, False),
        ("eve", 1, True, False),
        ("carl", 1, False, True),
        ("ann", 2, True, False),
    ):
        ids = shop.order(customer, number, paid=paid, refused=refused)
        print(json.dumps({"who": customer, "events": ids, "committed": not refused}), flush=True)


def burst(shop: Shop, events: int) -> None:
    """Write that many events with several threads, each with customers of its own."""
    name = uuid4().hex[:6]

    def serve(thread: int, transactions: int) -> None:
        for i in range(transactions):
            customer = f"c{name}-{thread}-{i % CUSTOMERS}"
            shop.order(customer, 1 + 2 * (i // CUSTOMERS), paid=True)
            if i % ROLLED_BACK_EVERY == 0:
                shop.order(customer, 0, paid=True, refused=True)

    each, rest = divmod(events // 2, THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(serve, thread, each + (thread < rest)) for thread in range(THREADS)]:
            done.result()


def main(what: str, url: str, topic: str, *rest: str) -> None:
    """Do what the director asks for."""
    engine = create_engine(url, pool_size=THREADS)
    Base.metadata.create_all(engine)
    shop = Shop(engine, topic)
    if what == "few":
        few(shop)
    else:
        burst(shop, int(rest[0]))
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
