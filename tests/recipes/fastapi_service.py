"""FastAPI with an AsyncSession: a dependency gives each request a transaction, the event goes with it."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cdc.outbox import Event, EventMap, Outbox


class Base(DeclarativeBase):
    """The service's tables."""


class Order(Base):
    """What is sold."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    total: Mapped[int]


events = EventMap()


@events.register("order.created", topic="orders", key="customer")
class OrderCreated(BaseModel):
    """The event's payload."""

    number: int
    customer: str
    total: int


outbox = Outbox(event_map=events)


class NewOrder(BaseModel):
    """The request's body."""

    customer: str
    total: int


async def transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Committed when the handler is through, rolled back when it raises."""
    async with request.app.state.sessions.begin() as session:
        yield session


def service(url: str) -> FastAPI:
    """Make the application."""
    app = FastAPI()
    app.state.engine = create_async_engine(url)
    app.state.sessions = async_sessionmaker(app.state.engine)

    # scope="function": the commit comes before the answer, not after it
    @app.post("/orders", status_code=201)
    async def create(
        new: NewOrder, session: Annotated[AsyncSession, Depends(transaction, scope="function")]
    ) -> dict[str, int]:
        order = Order(customer=new.customer, total=new.total)
        session.add(order)
        await session.flush()
        outbox.add(session, Event("order.created", "", OrderCreated(number=order.number, **new.model_dump())))
        if new.total < 0:
            raise HTTPException(422, "an order costs something")
        return {"number": order.number}

    return app
