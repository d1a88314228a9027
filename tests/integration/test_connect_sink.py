"""The shipped sink on a real Connect gets what was committed: records of an aborted transaction never arrive.

A second one without `read_committed` shows that they are there to be got.
"""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from cdc.cli.root import root
from tests.servers import unique, until

pytestmark = pytest.mark.stack

SHIPPED = Path(__file__).parents[2] / "connectors" / "events-to-file.yaml"


def write(kafka, topic):
    """Two committed transactions with an aborted one between them."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("writer"), "log_level": 0})
    producer.init_transactions(30)
    for number, committed in enumerate((True, False, True)):
        producer.begin_transaction()
        for letter in "ab":
            producer.produce(topic, value=f"{'kept' if committed else 'aborted'}-{number}{letter}")
        assert producer.flush(30) == 0  # an abort takes away what was not sent
        (producer.commit_transaction if committed else producer.abort_transaction)(30)


def test_aborted_records_never_arrive_at_the_shipped_sink(connect, kafka, new_topic, tmp_path, monkeypatch):
    topic, name = new_topic("sunk"), unique("sink")
    out, careless = tmp_path / "out.txt", tmp_path / "careless.txt"
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    shutil.copy(SHIPPED, manifests / "a.yaml")
    text = SHIPPED.read_text()
    assert "read_committed" in text
    (manifests / "a.yaml").write_text(text.replace("name: events-to-file", f"name: {name}"))
    wrong = text.replace("level: read_committed", "level: read_uncommitted").replace("${SINK_FILE}", str(careless))
    (manifests / "b.yaml").write_text(wrong.replace("name: events-to-file", f"name: {name}-careless"))
    monkeypatch.setenv("SINK_TOPIC", topic)
    monkeypatch.setenv("SINK_FILE", str(out))
    write(kafka, topic)
    try:
        done = CliRunner().invoke(root, ["connectors", "apply", "--url", connect.url, "-d", str(manifests)])
        assert done.exit_code == 0, done.output
        for file in (out, careless):
            until(
                "the last record arrives",
                lambda file=file: file.exists() and "kept-2b" in file.read_text(),
                seconds=120,
            )
        assert careless.read_text().split() == ["kept-0a", "kept-0b", "aborted-1a", "aborted-1b", "kept-2a", "kept-2b"]
        assert out.read_text().split() == ["kept-0a", "kept-0b", "kept-2a", "kept-2b"]
    finally:
        connect.delete(name)
        connect.delete(f"{name}-careless")
