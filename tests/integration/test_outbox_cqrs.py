"""python-cqrs applications that write for the tailer, with the real library, 4.15 and 5.x, each in its venv (`make venvs`)."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cdc.outbox.table import ddl
from infra.stack import Places
from tests.running import Tailing
from tests.servers import Database, Kafka, unique

PROGRAMS = Path(__file__).parents[1] / "cqrs"
ENVIRONMENT = os.environ | {"CQRS_SUPPRESS_V4_EOL_WARNING": "1"}
PAGE = Path(__file__).parents[2] / "schemas" / "README.md"


@pytest.fixture(params=["cqrs-4", "cqrs-5"])
def python(request: pytest.FixtureRequest) -> Path:
    return _python(request.param)


def _python(venv: str) -> Path:
    python = Places.from_environment().cache / "venvs" / venv / "bin" / "python"
    if not python.exists():
        pytest.fail(f"there is no {python}: make venvs", pytrace=False)
    return python


@pytest.fixture
def moved(mariadb: Database, kafka: Kafka, tmp_path: Path) -> Iterator[Tailing]:
    """An outbox table of ours and a tailer of it."""
    with mariadb.fresh_schema("cqrs") as schema:
        mariadb.run(ddl("mariadb", "events_outbox"), schema=schema)
        source = unique("cqrs").replace("_", "-")
        tailing = Tailing(
            tmp_path,
            mariadb,
            kafka,
            source,
            {f"{schema}.events_outbox": {"layout": "native"}},
            unique("p").replace("_", "-"),
        )
        yield tailing
        if tailing.checkpoint_topic in kafka.topics():
            kafka.delete_topic(tailing.checkpoint_topic)


def _url(tailing: Tailing) -> str:
    schema = next(iter(tailing.tables)).partition(".")[0]
    return f"mysql+asyncmy://{tailing.server.user}@{tailing.server.host}:{tailing.server.port}/{schema}"


def _run(*command: object) -> list[str]:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.split()


def test_what_the_repository_makes_of_the_librarys_events(python: Path) -> None:
    done = subprocess.run(
        [python, PROGRAMS / "repository_cases.py"], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    refused = {name: outcome for name, outcome in found.items() if isinstance(outcome, list)}
    written = {name: outcome for name, outcome in found.items() if isinstance(outcome, dict)}
    assert all(outcome["same_id"] for outcome in written.values())
    assert all(hint for _, _, hint in refused.values())

    model = '{"user_id":"u","inner":null}'
    expected = {  # payload, key, topic
        "pydantic": (model, "u!", "t"),
        "dataclass": (model, "u", "t"),
        "dataclass with a pydantic payload": (model, None, "t"),  # the library itself writes its repr
        "dataclass with a dict": ('{"a_b":1}', None, "t"),
        "typed by ours alone": (model, "u", "typed-events"),
        "typed, topic of its own": (model, "u", "t"),
        "ours": (model, "k", "t"),
        "coded": ("\x08\x01", None, "t"),
    }
    assert {
        name: (one["payload"], one["key"], one["topic"]) for name, one in written.items() if name in expected
    } == expected
    assert written["typed by ours alone"]["headers"] == {"v": "2"}
    assert (written["ours"]["id_version"], written["ours"]["headers"]) == (7, {"v": "1", "a": "b"})
    assert written["coded"]["content_type"] == "application/x-protobuf"
    enveloped = {name for name in written if name.startswith("envelope")}
    assert len(enveloped) == 4
    assert all(written[name]["as_theirs"] for name in enveloped)

    says = {
        "unregistered": ("EventNotRegistered", "'other' is not registered"),
        "wrong class": ("EventNotRegistered", "registered for Wider, and this one is a DCNotificationEvent"),
        "wrong payload": ("EventNotRegistered", "registered for Model"),
        "wider": ("InvalidEvent", "fields beside its payload (tenant)"),
        "trap": ("PayloadNotSerializable", "Model at $.payload as its repr"),
        "trap further in": ("PayloadNotSerializable", "$.payload.list[0].model"),
        "trap in a dataclass": ("PayloadNotSerializable", "$.payload.inner"),
        "trap of an object": ("PayloadNotSerializable", "$.payload.x"),
        "bad topic": ("InvalidEvent", "Kafka refuses"),
        "no event": ("EventNotRegistered", "is not registered"),
        "get_many": ("PollingRefused", "the tailer publishes"),
        "update_status": ("PollingRefused", "the tailer publishes"),
    }
    assert refused.keys() == says.keys()
    for name, (error, words) in says.items():
        assert refused[name][0] == error, name
        assert words in refused[name][1], name


THEIRS = "lambda: cqrs.SqlAlchemyOutboxedEventRepository(session=sessions()),"
OURS = 'lambda: OutboxedEventRepository(sessions(), Outbox("events_outbox"), keys={"user_joined": "meeting_id"}),'
IMPORTS = "from cdc.outbox import Outbox\nfrom cdc.outbox.cqrs import OutboxedEventRepository\n"


def test_an_application_like_the_librarys_example_with_one_line_replaced(
    python: Path, moved: Tailing, new_topic: Any
) -> None:
    topic = new_topic("user_events", partitions=3)
    text = (PROGRAMS / "page_app.py").read_text()
    assert text.count(THEIRS) == 1
    program = moved.folder / "app.py"
    program.write_text(text.replace(THEIRS, OURS).replace("\nclass UserJoined(", f"\n{IMPORTS}\nclass UserJoined("))
    assert moved.catch_up().code == 0
    (event_id,) = _run(python, program, _url(moved), topic, "123", "456")
    ended = moved.catch_up()
    assert ended.code == 0, ended.err
    (record,) = moved.kafka.read_committed(topic)
    assert (record.key, record.value) == (b"456", b'{"user_id":"123","meeting_id":"456"}')
    assert record.header("event_id") == event_id.encode()
    assert record.header("event_name") == b"user_joined"
    assert record.header("content_type") == b"application/json"


def test_moving_from_the_poller_to_the_tailer_loses_and_doubles_nothing(moved: Tailing, new_topic: Any) -> None:
    """The steps of the page, in its order, while events are written without a pause."""
    steps = re.findall(r"^\d\. \*\*(.+?)\*\*", PAGE.read_text().partition("From python-cqrs's poller")[2], re.MULTILINE)
    assert steps == ["Make the new table.", "Found the tailer.", "Roll out the services.", "Drain.", "Stop the poller."]
    python, topic, url = _python("cqrs-5"), new_topic("moved", partitions=3), _url(moved)
    schema = next(iter(moved.tables)).partition(".")[0]
    moved.server.run(ddl("mariadb", "outbox", "cqrs"), schema=schema)  # before: the library's own table

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [python, PROGRAMS / program, url, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    poller = start("moving_poller.py")
    writing = [start("moving_service.py", "before", topic, 50) for _ in range(2)]
    # 1: the table is there, by the fixture; 2
    assert moved.catch_up().code == 0
    tailer = moved.run()
    try:
        # 3: one by one, old and new beside each other
        writing += [start("moving_service.py", "after", topic, 50) for _ in range(2)]
        committed = [set(service.communicate(timeout=120)[0].split()) for service in writing]
        assert all(service.returncode == 0 for service in writing)
        # 4 and 5
        poller.send_signal(signal.SIGTERM)
        *polled, _, left = poller.communicate(timeout=120)[0].split()
        assert left == "0"
        records = moved.kafka.await_records(topic, 2 * 45)
    finally:
        tailer.stop()
        poller.kill()

    before, after = committed[0] | committed[1], committed[2] | committed[3]
    assert len(before) == len(after) == 2 * 45
    assert sorted(polled) == sorted(before)  # nothing lost, nothing doubled
    tailed = [record.header("event_id").decode() for record in records]
    assert sorted(tailed) == sorted(after)
    for record in records:  # and what consumers read is what the poller would have sent
        value = json.loads(record.value)
        assert list(value) == ["payload", "event_id", "event_timestamp", "event_name", "topic"]
        assert UUID(value["event_id"]) == UUID(record.header("event_id").decode())
        assert record.key == str(value["payload"]["n"] % 3).encode()
