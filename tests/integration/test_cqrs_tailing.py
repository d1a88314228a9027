"""python-cqrs's own table, written by the real library (4.15 and 5.x), is tailed with no change to the application.

The application is tests/cqrs/join_meeting.py, which knows nothing of cdc; it runs in the venvs of `make venvs`.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from infra.stack import Places
from tests.servers import Database, Kafka, unique

PROGRAMS = Path(__file__).parents[1] / "cqrs"
MEETING_IN_PAYLOAD = {"pydantic": "$.payload.meeting_id", "dataclass": "$.payload.meetingId"}


def _run(*command, folder):
    """Run a program; what it prints."""
    environment = os.environ | {"CQRS_SUPPRESS_V4_EOL_WARNING": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class Application:
    """The sample program in one venv on one schema, and a tailer of its table."""

    python: Path
    style: str
    server: Database
    schema: str
    kafka: Kafka
    topic: str
    folder: Path
    source: str

    @property
    def url(self):
        return f"mysql+asyncmy://{self.server.user}@{self.server.host}:{self.server.port}/{self.schema}"

    def join(self, meeting, *users):
        """Users join a meeting; (event id, whether they joined) of each. The first call makes the tables."""
        program = [self.python, PROGRAMS / "join_meeting.py", self.url, self.style, self.topic, meeting, *users]
        lines = map(json.loads, _run(*program, folder=self.folder).splitlines())
        return [(line["event_id"], line["joined"]) for line in lines]

    def poll(self):
        """One round of the library's own poller; how many rows it published."""
        return int(_run(self.python, PROGRAMS / "publish_outbox.py", self.url, self.style, folder=self.folder))

    def tail(self, **route):
        """Publish what is in the log up to now; the first call begins there."""
        table = {f"{self.schema}.outbox": {"layout": "cqrs"}}
        config = {
            "sources": {self.source: {"url": self.server.url, "tables": table, "start": "latest"}},
            "kafka": {"bootstrap_servers": [self.kafka.bootstrap]},
            "http": {"listen": "127.0.0.1:0"},
            "routes": [{"match": {"event_name": "user_joined"}, **route}],
        }
        path = self.folder / "cdc.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        cdc = Path(sys.executable).with_name("cdc")
        _run(cdc, "tailer", "run", "-c", path, "--until-caught-up", "--instance", "test", folder=self.folder)

    def rows(self):
        """Event id to payload, in the order of the table."""
        found = self.server.run(f"SELECT event_id_bin, payload FROM `{self.schema}`.outbox ORDER BY id")
        return {str(UUID(bytes=event_id)): payload for event_id, payload in found}

    def records(self):
        """What a consumer of the topic receives."""
        return self.kafka.read_committed(self.topic)


@pytest.fixture
def application(request, kafka, new_topic, tmp_path):
    kind, venv, style = request.param.split()
    server = request.getfixturevalue(kind)
    python = Places.from_environment().cache / "venvs" / venv / "bin" / "python"
    if not python.exists():
        pytest.fail(f"there is no {python}: make venvs", pytrace=False)
    source = unique("cqrs").replace("_", "-")
    with server.fresh_schema("cqrs") as schema:
        topic = new_topic("meetings", partitions=5)
        yield Application(python, style, server, schema, kafka, topic, tmp_path, source)
    if (checkpoint := f"cdc.checkpoint.{source}") in kafka.topics():
        kafka.delete_topic(checkpoint)


@pytest.mark.parametrize(
    "application",
    [
        "mariadb cqrs-4 pydantic",
        "mariadb cqrs-4 dataclass",
        "mariadb cqrs-5 pydantic",
        "mariadb cqrs-5 dataclass",
        "mysql cqrs-4 pydantic",
        "mysql cqrs-5 dataclass",
    ],
    indirect=True,
)
def test_each_committed_event_is_one_record_equal_to_its_row(application):
    key = MEETING_IN_PAYLOAD[application.style]
    application.join("founding")
    application.tail(key=key)

    done = application.join("m-1", "ann", "turned-away", "bob") + application.join("m-2", "ann")
    application.tail(key=key)

    rows, records = application.rows(), application.records()
    joined = [event_id for event_id, is_in in done if is_in]
    assert [is_in for _, is_in in done] == [True, False, True, True]
    assert list(rows) == joined  # the application's own truth
    by_id = {r.header("message_id").decode(): r for r in records}
    assert len(records) == len(by_id)
    assert {event_id: r.value for event_id, r in by_id.items()} == rows  # byte for byte
    assert all(r.headers == [("message_id", i.encode()), ("event_name", b"user_joined")] for i, r in by_id.items())
    assert [by_id[event_id].key for event_id in joined] == [b"m-1", b"m-1", b"m-2"]
    ann, bob = (by_id[event_id] for event_id in joined[:2])
    assert ann.partition == bob.partition
    assert ann.offset < bob.offset


@pytest.mark.parametrize(
    "application",
    ["mariadb cqrs-4 pydantic", "mariadb cqrs-5 dataclass", "mysql cqrs-5 dataclass"],
    indirect=True,
)
def test_its_poller_makes_no_records(application):
    application.join("founding")
    application.tail()
    application.join("m-1", "ann", "bob")
    application.tail()
    before = application.records()

    assert application.poll() == 2  # UPDATEs both rows
    schema = application.schema
    status = application.server.run(f"SELECT event_status, COUNT(*) FROM `{schema}`.outbox GROUP BY event_status")
    assert status == (("PRODUCED", 2),)
    application.tail()

    assert len(before) == 2
    assert application.records() == before


@pytest.mark.parametrize("application", ["mariadb cqrs-5 dataclass"], indirect=True)
def test_records_can_be_as_its_own_producer_sends_them(application):
    """No key, no headers."""
    application.join("founding")
    application.tail(headers="none")
    application.join("m-1", "ann")
    application.tail(headers="none")

    (record,) = application.records()
    assert (record.key, record.headers) == (None, [])
    assert [record.value] == list(application.rows().values())
