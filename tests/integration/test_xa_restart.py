"""XA transactions that outlive the tailer: prepared, tailer killed, log rotated, others published, then committed or not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.outbox.table import ddl
from tests.running import Tailing
from tests.servers import Database, Kafka, own_server, unique


@pytest.fixture(params=["mariadb", "mysql"])
def tailing(request: pytest.FixtureRequest, kafka: Kafka, tmp_path: Path) -> Iterator[Tailing]:
    """A whole tailer of a server that may be restarted."""
    server = own_server(request.param)
    server.run("CREATE DATABASE shop")
    server.run(ddl(server.kind), schema="shop")
    prefix = unique("x").replace("_", "-")
    made = Tailing(tmp_path, server, kafka, "shop", {"shop.outbox": {"layout": "native"}}, prefix, start="latest")
    yield made
    kafka.delete_topic(made.checkpoint_topic)
    server.instance.remove()


def insert(topic: str, *payloads: str) -> str:
    rows = ", ".join(f"('a.b', '{topic}', '{payload}')" for payload in payloads)
    return f"INSERT INTO outbox (event_name, topic, payload) VALUES {rows}"


def prepare(server: Database, xid: str, topic: str, *payloads: str) -> None:
    server.run(f"XA START {xid}", insert(topic, *payloads), f"XA END {xid}", f"XA PREPARE {xid}", schema="shop")


def values(tailing: Tailing, topic: str) -> list[str]:
    return [record.value.decode() for record in tailing.kafka.read_committed(topic)]


def test_rows_prepared_before_a_kill_come_once_at_their_commit(tailing: Tailing, new_topic):
    topic, server = new_topic("xa"), tailing.server
    first = tailing.run()
    first.await_line("reading the log")
    prepare(server, "'keep','b',1", topic, "k1", "k2")
    prepare(server, "'drop'", topic, "d1", "d2")
    prepare(server, "'late'", topic, "l1")
    server.run(insert(topic, "one"), schema="shop")
    tailing.kafka.await_records(topic, 1)
    first.kill()
    server.run("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    server.instance.restart()
    server.run(insert(topic, "two"), schema="shop")
    second = tailing.run("--take-over")
    tailing.kafka.await_records(topic, 2)
    server.run("XA COMMIT 'keep','b',1", "XA ROLLBACK 'drop'")
    server.run(insert(topic, "three"), schema="shop")
    tailing.kafka.await_records(topic, 5)
    assert values(tailing, topic) == ["one", "two", "k1", "k2", "three"]
    second.kill()
    server.run("FLUSH BINARY LOGS", "XA COMMIT 'late'", insert(topic, "four").replace(" outbox", " shop.outbox"))
    assert tailing.catch_up("--take-over").code == 0
    assert tailing.catch_up().code == 0, "once more changes nothing"
    assert values(tailing, topic) == ["one", "two", "k1", "k2", "three", "l1", "four"]
    assert tailing.show()["checkpoint"]["prepared"] == []
