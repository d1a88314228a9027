"""What users test their own code with: records without a database, checks as a real one, says what was written."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from cdc.errors import EventNotRegistered, InvalidEvent
from cdc.outbox import Event, EventMap, Outbox
from cdc.outbox.testing import RecordingOutbox, assert_nothing_written, assert_written


@dataclasses.dataclass
class Order:
    number: int


EVENT = Event("order.created", "orders", Order(1), key="o-1", headers={"a": "b", "c": "d"})


def test_what_was_written_can_be_asserted() -> None:
    outbox = RecordingOutbox()
    assert_nothing_written(outbox)
    outbox.add(None, EVENT)
    outbox.add_all(object(), [Event("order.deleted", "orders", None, key="o-1")])
    one = assert_written(outbox, "order.created", topic="orders", key="o-1", payload={"number": 1}, headers={"a": "b"})
    assert (one.event_id, one.json(), one.content_type) == (EVENT.event_id, {"number": 1}, "application/json")
    assert_written(outbox, "order.created", payload=Order(1), key=b"o-1")
    assert_written(outbox, "order.deleted", payload=None)
    assert_written(outbox, "order.paid", count=0)
    assert len(outbox.written) == 2
    outbox.clear()
    assert_nothing_written(outbox)


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": "others"},
        {"key": None},
        {"key": "o-2"},
        {"payload": {"number": 2}},
        {"payload": None},
        {"payload": b"\xff"},
        {"headers": {"a": "x"}},
        {"count": 2},
    ],
)
def test_an_assertion_that_fails_lists_what_was_written(wrong: dict) -> None:
    outbox = RecordingOutbox()
    outbox.add(None, EVENT)
    with pytest.raises(AssertionError, match="such events") as failed:
        assert_written(outbox, "order.created", **wrong)
    assert "topic='orders'" in str(failed.value)
    with pytest.raises(AssertionError, match="written were"):
        assert_nothing_written(outbox)


def test_events_are_checked_as_by_a_real_one() -> None:
    events = EventMap()
    events.register("order.created", Order, topic="orders", key="number")
    outbox = RecordingOutbox(event_map=events)
    outbox.add(None, Event("order.created", "", Order(7)))
    assert_written(outbox, "order.created", topic="orders", key="7")
    with pytest.raises(EventNotRegistered):
        outbox.add(None, Event("order.created", "orders", {}))
    with pytest.raises(InvalidEvent):
        RecordingOutbox().add(None, Event("n", "no topic", {}))


async def test_a_rolled_back_unit_leaves_nothing() -> None:
    outbox = RecordingOutbox()
    unit = outbox.bind()
    unit.add(EVENT)
    unit.rollback()
    assert_nothing_written(outbox)
    unit.add_all([EVENT, EVENT])
    unit.commit()
    await outbox.add_async(None, EVENT)
    unit.add(EVENT)
    await unit.rollback()
    assert_written(outbox, "order.created", count=3)

    class Session:
        told: list[str] = []  # noqa: RUF012

        async def commit(self) -> None:
            self.told.append("commit")

        def rollback(self) -> None:
            self.told.append("rollback")

    unit = outbox.bind(Session())
    await unit.commit()
    unit.rollback()
    assert Session.told == ["commit", "rollback"]


USERS_TEST = """
from cdc.outbox import Event, Outbox
from cdc.outbox.testing import assert_nothing_written, assert_written

outbox = Outbox()  # as applications have it

async def handler():
    outbox.add("a session", Event("order.created", "orders", {"id": 1}))
    await outbox.add_async("a cursor", Event("order.created", "orders", {"id": 2}))

def test_all_of_them(recorded_outbox):
    import asyncio
    asyncio.run(handler())
    assert_written(recorded_outbox, "order.created", count=2)

def test_one(recording_outbox):
    assert_nothing_written(recording_outbox)
    recording_outbox.add(None, Event("order.created", "orders", {"id": 1}))
    assert_written(recording_outbox, "order.created")
"""


def test_the_fixtures_in_a_users_project(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS_TEST)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_plug_in_imports_nothing_until_it_is_asked() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import cdc.pytest_plugin; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) == {"cdc", "cdc.pytest_plugin"}


def test_the_real_outbox_is_as_before() -> None:
    assert Outbox.write.__qualname__ == "Outbox.write"
