"""`cdc replay` on real servers: what is chosen is published again with a mark, and nothing else changes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc.outbox.table import ddl
from tests.integration.live_log import place_of
from tests.running import Tailing, caught_up_here, cdc_here
from tests.servers import Database, Kafka, unique

NAMES = ("order.created", "order.paid", "user.joined", "order.created")


@pytest.fixture
def topic(new_topic: Callable[..., str]) -> str:
    return new_topic(partitions=2)


@pytest.fixture
def tailing(tmp_path: Path, server: Database, kafka: Kafka, schema: str) -> Iterator[Tailing]:
    server.run(ddl(server.kind), schema=schema)
    prefix = unique("p").replace("_", "")
    made = Tailing(tmp_path, server, kafka, "shop", {f"{schema}.outbox": {"layout": "native"}}, prefix, start="latest")
    yield made
    kafka.delete_topic(made.checkpoint_topic)


def replay(tailing: Tailing, *arguments: str, code: int = 0) -> Any:
    done = cdc_here("replay", "-c", tailing.config, "-o", "json", *arguments)
    assert done.code == code, done.out + done.err
    return json.loads(done.out) if code != 2 else done


def values(tailing: Tailing, topic: str, *, marked: bool) -> list[bytes | None]:
    records = tailing.kafka.read_committed(topic)
    return sorted((r.value or b"") for r in records if (("replay", b"true") in r.headers) is marked)


def test_from_the_table_and_from_the_log(tailing: Tailing, schema: str, topic: str):
    server = tailing.server
    assert caught_up_here(tailing) is None
    start = place_of(server)
    insert = "INSERT INTO outbox(event_name, topic, event_key, payload, created_at) VALUES ('{}', '{}', 'k', '{}', {})"
    at = "'2026-01-0{} 00:00:00'"
    rows = [insert.format(name, topic, n, at.format(n + 1)) for n, name in enumerate(NAMES)]
    server.run(*rows[:2], schema=schema)
    middle = place_of(server)
    gtids = server.run("SELECT @@gtid_executed" if server.kind == "mysql" else "SELECT @@gtid_binlog_pos")[0][0]
    server.run(*rows[2:], schema=schema)
    assert caught_up_here(tailing) is None
    before = json.loads(cdc_here("checkpoint", "show", "-c", tailing.config, "-o", "json").out)["shop"]
    assert values(tailing, topic, marked=False) == [b"0", b"1", b"2", b"3"]
    full = f"{schema}.outbox"

    # counted first, then sent
    said = replay(tailing, "--event-name", "order.*")
    assert (said["rows"], said["records"], said["sent"], said["done"]) == ({full: 3}, {topic: 3}, 0, False)
    assert values(tailing, topic, marked=True) == []
    assert replay(tailing, "--event-name", "order.*", "--yes")["sent"] == 3
    assert values(tailing, topic, marked=True) == [b"0", b"1", b"3"]
    assert replay(tailing, "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-03")["rows"] == {full: 1}
    assert "choose rows" in replay(tailing, code=2).err
    assert replay(tailing, "--all")["rows"] == {full: 4}

    # one by its id, with the partition that its key always had
    [first] = [r for r in tailing.kafka.read_committed(topic) if r.value == b"2"]
    event_id = first.header("event_id").decode()
    assert replay(tailing, event_id.upper(), "--yes")["records"] == {topic: 1}
    assert {r.partition for r in tailing.kafka.read_committed(topic)} == {first.partition}
    assert replay(tailing, "01900000-0000-7000-8000-000000000000")["rows"] == {}

    # what was deleted is in the log
    server.run("DELETE FROM outbox", schema=schema)
    assert replay(tailing, "--all")["rows"] == {}
    here, there = f"{start.file}:{start.position}", f"{middle.file}:{middle.position}"
    log = ("--read", "log", "--from")
    assert replay(tailing, *log, here)["rows"] == {full: 4}
    assert replay(tailing, *log, here, "--to", there)["rows"] == {full: 2}
    assert replay(tailing, *log, gtids.replace("\n", ""), "--event-name", "order.*")["rows"] == {full: 1}
    assert replay(tailing, *log, here, "--to", gtids.replace("\n", ""))["rows"] == {full: 2}
    assert replay(tailing, *log, here, "--until", "1d")["rows"] == {}
    sent = replay(tailing, *log, there, "--yes")
    assert sent["sent"] == 2
    assert values(tailing, topic, marked=True) == [b"0", b"1", b"2", b"2", b"3", b"3"]

    after = json.loads(cdc_here("checkpoint", "show", "-c", tailing.config, "-o", "json").out)["shop"]
    assert after["checkpoint"] == before["checkpoint"], "never touched"
    assert values(tailing, topic, marked=False) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_what_the_routes_refuse_is_counted_and_the_rest_goes(tailing: Tailing, schema: str, topic: str):
    insert = f"INSERT INTO outbox(event_name, topic, payload) VALUES ('a', '{topic}', '1'), ('b', 'not-there', '2')"
    tailing.server.run(insert, schema=schema)
    sent = replay(tailing, "--table", f"{schema}.outbox", "--yes", code=1)
    assert (sent["sent"], sent["refused"]) == (1, {"topic_missing": 1})
    assert "not-there" in sent["refused_examples"][0]
    assert values(tailing, topic, marked=True) == [b"1"]
    assert "is no table of source shop" in replay(tailing, "--table", "shop.other", code=2).err
