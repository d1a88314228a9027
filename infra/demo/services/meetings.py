"""The demo's second sample service: a real python-cqrs 5.x application, which knows nothing of cdc.

A command joins a user to a meeting and adds a notification event to the library's own outbox table; participant and
event are written by the same session. Run by the director in the venv ``cqrs-5``, as a process of its own::

    meetings.py tables URL TOPIC           python-cqrs's table, made by its own metadata, and the service's
    meetings.py few    URL TOPIC           a handful of commands, one JSON line each
    meetings.py burst  URL TOPIC EVENTS    that many commands, several at a time

``number`` counts a meeting's participants, and one task sends a meeting's commands, so it rises in commit order. The
table has no column for a key: the tailer's route takes the meeting from the payload (camelCase there, as 5.x
writes dataclass events).
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import cqrs
import di
from cqrs.bootstrap.requests import bootstrap
from cqrs.outbox import sqlalchemy as cqrs_tables
from di.dependent import Dependent
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TASKS = 4
MEETINGS = 5
"""Meetings a task fills in a burst."""


class Base(DeclarativeBase):
    """The service's own tables."""


class Participant(Base):
    """Who is in which meeting."""

    __tablename__ = "participants"
    meeting_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)


@dataclass(frozen=True)
class UserJoined:
    """The payload of the service's event."""

    user_id: str
    meeting_id: str
    number: int


cqrs.OutboxedEventMap.register("user_joined", cqrs.NotificationEvent[UserJoined])


class JoinMeeting(cqrs.Request):
    """The command."""

    user_id: str
    meeting_id: str
    number: int
    event_id: str
    topic: str
    closed: bool


class MeetingClosedError(Exception):
    """The reason why somebody cannot join."""


class JoinMeetingHandler(cqrs.RequestHandler[JoinMeeting, None]):
    """Writes the participant and the event, and commits both at once."""

    def __init__(self, session: AsyncSession, outbox: cqrs.OutboxedEventRepository) -> None:
        self._session = session
        self._outbox = outbox

    @property
    def events(self) -> list[cqrs.Event]:
        """No domain events: what happened goes through the outbox."""
        return []

    async def handle(self, request: JoinMeeting) -> None:
        """Join the user to the meeting."""
        self._session.add(Participant(meeting_id=request.meeting_id, user_id=request.user_id))
        self._outbox.add(
            cqrs.NotificationEvent[UserJoined](
                event_id=UUID(request.event_id),
                event_name="user_joined",
                topic=request.topic,
                payload=UserJoined(request.user_id, request.meeting_id, request.number),
            )
        )
        await self._session.flush()
        if request.closed:
            raise MeetingClosedError(request.meeting_id)
        await self._outbox.commit()


def _container(engine: AsyncEngine) -> di.Container:
    """Bind one session a command, which the handler and the outbox share."""
    sessions = async_sessionmaker(engine)
    container = di.Container()

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    def outbox(session: AsyncSession) -> cqrs.OutboxedEventRepository:
        return cqrs.SqlAlchemyOutboxedEventRepository(session=session)

    container.bind(di.bind_by_type(Dependent(session, scope="request"), AsyncSession))
    container.bind(di.bind_by_type(Dependent(outbox, scope="request"), cqrs.OutboxedEventRepository))
    return container


class Service:
    """Sends commands to the mediator, as a web endpoint would."""

    def __init__(self, engine: AsyncEngine, topic: str) -> None:
        self._topic = topic
        self._mediator = bootstrap(
            di_container=_container(engine),
            commands_mapper=lambda commands: commands.bind(JoinMeeting, JoinMeetingHandler),
            scope_strategy=cqrs.ScopeStrategy.SEND,
        )

    async def join(self, user: str, meeting: str, number: int, *, closed: bool = False) -> str:
        """Join a user to a meeting; return the event's id."""
        event_id = str(uuid4())
        try:
            await self._mediator.send(JoinMeeting(user, meeting, number, event_id, self._topic, closed))
        except MeetingClosedError:
            pass  # python-cqrs closed the session's scope: rolled back
        return event_id


async def _few(service: Service) -> None:
    for user, meeting, number, closed in (
        ("ann", "standup", 1, False),
        ("bob", "standup", 2, False),
        ("carl", "review", 1, True),
        ("eve", "review", 1, False),
    ):
        event = await service.join(user, meeting, number, closed=closed)
        print(json.dumps({"who": user, "events": [event], "committed": not closed}), flush=True)


async def _burst(service: Service, events: int) -> None:
    name = uuid4().hex[:6]

    async def fill(task: int, commands: int) -> None:
        for i in range(commands):
            number = 1 + i // MEETINGS
            await service.join(f"u-{number}", f"m{name}-{task}-{i % MEETINGS}", number)

    each, rest = divmod(events, TASKS)
    await asyncio.gather(*(fill(task, each + (task < rest)) for task in range(TASKS)))


async def main(what: str, url: str, topic: str, *rest: str) -> None:
    """Do what the director asks for."""
    engine = create_async_engine(url, pool_size=TASKS)
    service = Service(engine, topic)
    match what:
        case "tables":
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await connection.run_sync(cqrs_tables.Base.metadata.create_all)
        case "few":
            await _few(service)
        case _:
            await _burst(service, int(rest[0]))
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
