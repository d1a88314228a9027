"""An application of the shape of python-cqrs's outbox example: one file, a command, a handler that writes one event.

    page_app.py URL TOPIC USER MEETING

prints the event's id. It runs as it stands on 4.15 and on 5.x, each with its own default event class. Its tables are there
already. The test of the change-over replaces one line of it, the one that names the repository, and nothing else.
"""

import asyncio
import sys
import uuid
import warnings

warnings.simplefilter("ignore", DeprecationWarning)  # 4.x tells on every import that 5.x is out

import cqrs  # noqa: E402 - the filter has to stand before it
import di  # noqa: E402
import pydantic  # noqa: E402
from di.dependent import Dependent  # noqa: E402
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine  # noqa: E402

try:
    from cqrs.bootstrap.requests import bootstrap
except ImportError:  # 4.x
    from cqrs.requests.bootstrap import bootstrap


class UserJoined(pydantic.BaseModel, frozen=True):
    """What happened."""

    user_id: str
    meeting_id: str


cqrs.OutboxedEventMap.register("user_joined", cqrs.NotificationEvent[UserJoined])


class JoinMeeting(cqrs.Request):
    """The command."""

    user_id: str
    meeting_id: str
    topic: str
    event_id: str


class JoinMeetingHandler(cqrs.RequestHandler[JoinMeeting, None]):
    """Says in the outbox that somebody joined."""

    def __init__(self, outbox: cqrs.OutboxedEventRepository) -> None:
        self.outbox = outbox

    @property
    def events(self) -> list[cqrs.Event]:
        """No domain events."""
        return []

    async def handle(self, request: JoinMeeting) -> None:
        """Write the event and commit."""
        self.outbox.add(
            cqrs.NotificationEvent[UserJoined](
                event_id=uuid.UUID(request.event_id),
                event_name="user_joined",
                topic=request.topic,
                payload=UserJoined(user_id=request.user_id, meeting_id=request.meeting_id),
            )
        )
        await self.outbox.commit()


def container(url: str) -> di.Container:
    """A session for every command, in the repository's hands."""
    made = di.Container()
    sessions = async_sessionmaker(create_async_engine(url))
    made.bind(
        di.bind_by_type(
            Dependent(
                lambda: cqrs.SqlAlchemyOutboxedEventRepository(session=sessions()),
                scope="request",
            ),
            cqrs.OutboxedEventRepository,
        )
    )
    return made


async def main(url: str, topic: str, user: str, meeting: str) -> None:
    """Send one command."""
    mediator = bootstrap(
        di_container=container(url),
        commands_mapper=lambda commands: commands.bind(JoinMeeting, JoinMeetingHandler),
    )
    event_id = str(uuid.uuid4())
    await mediator.send(JoinMeeting(user_id=user, meeting_id=meeting, topic=topic, event_id=event_id))
    print(event_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
