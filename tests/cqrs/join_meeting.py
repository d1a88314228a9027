"""A service on python-cqrs, as its users write them: a command joins a user to a meeting and says so in the outbox.

Run by the interpreter of a python-cqrs venv (4.15 or 5.x), never by the tests' own:

    join_meeting.py URL STYLE TOPIC MEETING USER...

creates the tables, sends one command a user and prints one JSON line for each that was handled. The user
`turned-away` fails after the event was written, so that command's transaction is rolled back. STYLE says which of the
library's event classes the program takes: `pydantic` (4.x has it as the default) or `dataclass` (5.x has), whose JSON differs.
Nothing in here knows of cdc: that is the point of the tests that run it.
"""

import asyncio
import dataclasses
import json
import sys
import typing
import uuid
import warnings
from collections.abc import AsyncIterator

warnings.simplefilter("ignore", DeprecationWarning)  # 4.x tells on every import that 5.x is out

import cqrs  # noqa: E402 - the filter has to stand before it
import di  # noqa: E402
import pydantic  # noqa: E402
from cqrs.outbox import sqlalchemy as outbox_tables  # noqa: E402
from di.dependent import Dependent  # noqa: E402
from sqlalchemy import String  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column  # noqa: E402

try:
    from cqrs.bootstrap.requests import bootstrap
except ImportError:  # 4.x
    from cqrs.requests.bootstrap import bootstrap

TURNED_AWAY = "turned-away"


class Base(DeclarativeBase):
    """The service's own tables; the library's outbox has a base of its own."""


class Participant(Base):
    """Who is in which meeting: the business side of the command."""

    __tablename__ = "participant"
    meeting: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), primary_key=True)


class JoinedModel(pydantic.BaseModel, frozen=True):
    """The event's payload for the pydantic event class."""

    user_id: str
    meeting_id: str


@dataclasses.dataclass(frozen=True)
class JoinedData:
    """The event's payload for the dataclass event class."""

    user_id: str
    meeting_id: str


EVENTS = {
    "pydantic": (cqrs.PydanticNotificationEvent[JoinedModel], JoinedModel),
    "dataclass": (cqrs.DCNotificationEvent[JoinedData], JoinedData),
}


class JoinMeeting(cqrs.Request):
    """The command."""

    user: str
    meeting: str
    style: str
    topic: str
    event_id: str


class JoinMeetingHandler(cqrs.RequestHandler[JoinMeeting, None]):
    """Writes the participant and the event in one transaction."""

    def __init__(self, session: AsyncSession, outbox: cqrs.OutboxedEventRepository) -> None:
        self.session = session
        self.outbox = outbox

    @property
    def events(self) -> list[cqrs.Event]:
        """No domain events: what happened goes through the outbox."""
        return []

    async def handle(self, request: JoinMeeting) -> None:
        """Join the meeting, or fail half-way for the user who is turned away."""
        event_type, payload_type = EVENTS[request.style]
        self.session.add(Participant(meeting=request.meeting, user=request.user))
        self.outbox.add(
            event_type(
                event_id=uuid.UUID(request.event_id),
                event_name="user_joined",
                topic=request.topic,
                payload=payload_type(user_id=request.user, meeting_id=request.meeting),
            )
        )
        await self.session.flush()
        if request.user == TURNED_AWAY:
            raise PermissionError(request.user)
        await self.outbox.commit()


def container(engine: AsyncEngine) -> di.Container:
    """One session a command, shared by the handler and the outbox."""
    made = di.Container()
    sessions = async_sessionmaker(engine)

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    def outbox(session: AsyncSession) -> cqrs.OutboxedEventRepository:
        return cqrs.SqlAlchemyOutboxedEventRepository(session=session)

    made.bind(di.bind_by_type(Dependent(session, scope="request"), AsyncSession))
    made.bind(di.bind_by_type(Dependent(outbox, scope="request"), cqrs.OutboxedEventRepository))
    return made


def register(style: str) -> None:
    """Tell the library the event's class; writer and poller both need it."""
    event_type = EVENTS[style][0]
    # 4.x knows a dataclass event only by its class without [T]; a pydantic one is a class of its own with it
    cqrs.OutboxedEventMap.register("user_joined", typing.get_origin(event_type) or event_type)


async def main(url: str, style: str, topic: str, meeting: str, users: list[str]) -> None:
    """Create the tables, then send the commands one after the other."""
    register(style)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(outbox_tables.Base.metadata.create_all)
    mediator = bootstrap(
        di_container=container(engine),
        commands_mapper=lambda commands: commands.bind(JoinMeeting, JoinMeetingHandler),
        scope_strategy=cqrs.ScopeStrategy.SEND,
    )
    for user in users:
        event_id = str(uuid.uuid4())
        command = JoinMeeting(user=user, meeting=meeting, style=style, topic=topic, event_id=event_id)
        try:
            await mediator.send(command)
        except PermissionError:
            done = False
        else:
            done = True
        print(json.dumps({"user": user, "event_id": event_id, "joined": done}), flush=True)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]))
