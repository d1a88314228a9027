"""`cdc log show` on live servers: from the checkpoint, a place or GTIDs, to the log's end, without disturbing anybody."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.live_log import DDL, place_of
from tests.running import Tailing, cdc
from tests.servers import Database, Kafka, unique

TABLE = {"columns": {"id": "id", "topic": "topic", "payload": "payload", "name": "topic"}}


@pytest.fixture
def tailing(
    tmp_path: Path, server: Database, kafka: Kafka, schema: str, new_topic: Callable[..., str]
) -> Iterator[Tailing]:
    topic = new_topic()
    server.run(DDL.replace("DEFAULT 't'", f"DEFAULT '{topic}'"), schema=schema)
    prefix = unique("p").replace("_", "")
    made = Tailing(tmp_path, server, kafka, "shop", {f"{schema}.outbox": TABLE}, prefix, start="latest")
    yield made
    kafka.delete_topic(made.checkpoint_topic)


def shown(tailing: Tailing, *arguments: str) -> list[int]:
    done = cdc("log", "show", "-c", tailing.config, "--source", "shop", *arguments)
    assert done.code == 0, done.err
    assert "to the log's end" in done.err
    return [row["columns"]["id"] for line in done.out.splitlines() for row in json.loads(line)["rows"]]


def test_from_checkpoint_place_and_gtids(tailing: Tailing, schema: str):
    server = tailing.server
    start = place_of(server)
    done = tailing.catch_up()  # the first start, at the end of the log
    assert done.code == 0, done.err
    server.run("INSERT INTO outbox(id) VALUES (1), (2)", schema=schema)
    gtids = server.run("SELECT @@gtid_executed" if server.kind == "mysql" else "SELECT @@gtid_binlog_pos")[0][0]
    server.run(
        "FLUSH BINARY LOGS", "INSERT INTO outbox(id) VALUES (3)", "INSERT INTO outbox(id) VALUES (4)", schema=schema
    )
    assert shown(tailing) == [1, 2, 3, 4]
    assert shown(tailing, "--limit", "1") == [1, 2]
    assert shown(tailing, "--from", f"{start.file}:{start.position}") == [1, 2, 3, 4]
    assert shown(tailing, "--from", gtids.replace("\n", "")) == [3, 4]
    assert shown(tailing, "--from", "earliest")[-4:] == [1, 2, 3, 4]
    done = tailing.catch_up()
    assert done.code == 0, done.err
    assert shown(tailing) == []
    readable = cdc(
        "log",
        "show",
        "-c",
        tailing.config,
        "--source",
        "shop",
        "--from",
        f"{start.file}:{start.position}",
        "-o",
        "table",
    )
    assert f"{schema}.outbox id=1" in readable.out


def test_a_tailer_at_work_is_not_disturbed(tailing: Tailing, schema: str):
    running = tailing.run()
    running.await_line("reading the log")
    for number in range(1, 4):
        tailing.server.run(f"INSERT INTO outbox(id) VALUES ({number})", schema=schema)
        shown(tailing)
    assert running.stop() == 0
    assert [line["event"] for line in running.said()].count("reading the log") == 1
    assert shown(tailing) == []


@pytest.mark.parametrize(
    ("begin", "code", "word"),
    [("nonsense", 2, "--from takes"), ("binlog.999999:4", 6, "binlog.999999"), ("binlog.000001:5", 6, "")],
)
def test_a_place_that_is_not_there_has_a_name(tailing: Tailing, begin: str, code: int, word: str):
    done = cdc("log", "show", "-c", tailing.config, "--source", "shop", "--from", begin)
    assert done.code == code, done.err
    assert word in done.err
    assert done.out == ""


def test_no_checkpoint_is_said(tailing: Tailing):
    done = cdc("log", "show", "-c", tailing.config, "--source", "shop")
    assert done.code == 6
    assert "--from" in done.err
