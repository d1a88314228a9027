"""What cdc.outbox.cqrs does with the real library's events, without a database; prints one JSON object, case to outcome.

Run by the interpreter of a python-cqrs venv. An outcome is what the row holds, or the name of the error and its message.
"""

import asyncio
import dataclasses
import json
import sys
import typing
import warnings

warnings.simplefilter("ignore", DeprecationWarning)

import cqrs  # noqa: E402
import pydantic  # noqa: E402

from cdc.errors import CdcError  # noqa: E402
from cdc.outbox import EventMap  # noqa: E402
from cdc.outbox.cqrs import NotificationEvent, OutboxedEventRepository  # noqa: E402
from cdc.outbox.testing import RecordingOutbox  # noqa: E402


class Model(pydantic.BaseModel):
    user_id: str = "u"
    inner: typing.Any = None


@dataclasses.dataclass
class Data:
    user_id: str = "u"
    inner: typing.Any = None


class Wider(cqrs.PydanticNotificationEvent[Model]):
    tenant: str = "t"


class Codec:
    """As a protobuf codec is registered with the library."""

    def serialize(self, event: typing.Any) -> bytes:
        return b"\x08\x01"

    def content_type_for(self, event: typing.Any) -> str:
        return "application/x-protobuf"

    def deserialize(self, payload: bytes, event_type: typing.Any) -> typing.Any:
        raise AssertionError


THEIRS = cqrs.OutboxedEventMap()
PYDANTIC, DC = cqrs.PydanticNotificationEvent, cqrs.DCNotificationEvent
THEIRS.register("pydantic", PYDANTIC[Model])
THEIRS.register("dataclass", DC)
THEIRS.register("wider", Wider)
THEIRS.register("coded", PYDANTIC[Model], Codec())
THEIRS.register("ours", NotificationEvent[Model])
OURS = EventMap()
OURS.register("typed", Model, topic="typed-events", key="user_id", version=2)
OURS.register("pydantic", Model, key=lambda model: model.user_id + "!")


def made(kind: typing.Any, name: str, payload: typing.Any, **more: typing.Any) -> typing.Any:
    return kind(event_name=name, payload=payload, **{"topic": "t", **more})


CASES: dict[str, tuple[typing.Any, dict[str, typing.Any]]] = {
    "pydantic": (made(PYDANTIC[Model], "pydantic", Model()), {}),
    "dataclass": (made(DC, "dataclass", Data()), {"keys": {"dataclass": "user_id"}}),
    "dataclass with a pydantic payload": (made(DC, "dataclass", Model()), {}),
    "dataclass with a dict": (made(DC, "dataclass", {"a_b": 1}), {}),
    "typed by ours alone": (cqrs.PydanticNotificationEvent[Model](event_name="typed", payload=Model()), {}),
    "typed, topic of its own": (made(PYDANTIC[Model], "typed", Model()), {}),
    "ours": (made(NotificationEvent[Model], "ours", Model(), key="k", headers={"a": "b"}), {}),
    "coded": (made(PYDANTIC[Model], "coded", Model()), {}),
    "envelope": (made(PYDANTIC[Model], "pydantic", Model()), {"envelope": True}),
    "envelope of ours": (made(NotificationEvent[Model], "ours", Model(), key="k"), {"envelope": True}),
    "envelope of a dataclass": (made(DC, "dataclass", Data()), {"envelope": True}),
    "unregistered": (made(PYDANTIC[Model], "other", Model()), {}),
    "wrong class": (made(DC, "wider", Data()), {}),
    "wrong payload": (made(PYDANTIC[dict], "typed", {}), {}),
    "wider": (made(Wider, "wider", Model()), {}),
    "envelope of a wider one": (made(Wider, "wider", Model()), {"envelope": True}),
    "trap": (made(DC, "dataclass", Model()), {"envelope": True}),
    "trap further in": (made(DC, "dataclass", {"list": [{"model": Model()}]}), {"envelope": True}),
    "trap in a dataclass": (made(DC, "dataclass", Data(inner=Model())), {"envelope": True}),
    "trap of an object": (made(DC, "dataclass", {"x": object()}), {"envelope": True}),
    "bad topic": (made(PYDANTIC[Model], "pydantic", Model(), topic="a b"), {}),
    "no event": (Model(), {}),
}


async def main() -> None:
    """Try them all."""
    outcomes: dict[str, typing.Any] = {}
    for name, (event, options) in CASES.items():
        outbox = RecordingOutbox(event_map=OURS, version_header="v")
        repository = OutboxedEventRepository(None, outbox, event_map=THEIRS, **options)
        try:
            repository.add(event)
        except CdcError as error:
            outcomes[name] = [type(error).__name__, str(error), bool(error.hint)]
        else:
            (row,) = outbox.written
            as_theirs = cqrs.JsonEventSerializer().serialize(event) == row.payload if options.get("envelope") else None
            outcomes[name] = {
                "payload": row.payload.decode("latin1") if row.payload is not None else None,
                "key": row.key.decode() if row.key is not None else None,
                "topic": row.topic,
                "headers": dict(row.headers),
                "content_type": row.content_type,
                "same_id": row.event_id == event.event_id,
                "id_version": row.event_id.version,
                "as_theirs": as_theirs,
            }
    for call in (repository.get_many(10, topic="t"), repository.update_status(1, cqrs.EventStatus.PRODUCED)):
        try:
            await call
        except CdcError as error:
            outcomes[str(error).partition("(")[0]] = [type(error).__name__, str(error), bool(error.hint)]
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
