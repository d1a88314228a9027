"""`cdc checkpoint set` on real servers: what it says comes true, and nobody at work or at the same command is overrun."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import CheckpointLost, StillAtWork
from cdc.kafka import KafkaAddress
from cdc.kafka.setting import CheckpointSetter
from cdc.outbox.table import ddl
from cdc.position import GtidSet, Position
from tests.integration.live_log import DDL, place_of
from tests.running import CDC, Ended, Tailing, caught_up_here, cdc_here
from tests.servers import Database, Kafka, unique

TABLE = {"columns": {"id": "id", "topic": "topic", "payload": "payload", "name": "topic"}}


@pytest.fixture
def topic(new_topic: Callable[..., str]) -> str:
    return new_topic()


@pytest.fixture
def tailing(tmp_path: Path, server: Database, kafka: Kafka, schema: str, topic: str) -> Iterator[Tailing]:
    server.run(DDL.replace("DEFAULT 't'", f"DEFAULT '{topic}'"), schema=schema)
    made = Tailing(
        tmp_path,
        server,
        kafka,
        "shop",
        {f"{schema}.outbox": TABLE},
        unique("p").replace("_", ""),
        start="latest",
        source_more={"takeover_after": "3s"},
    )
    yield made
    kafka.delete_topic(made.checkpoint_topic)


def put(tailing: Tailing, *to: str) -> Ended:
    return cdc_here("checkpoint", "set", "-c", tailing.config, "-o", "json", "--to", *to)


def shown(tailing: Tailing) -> Any:
    return json.loads(cdc_here("checkpoint", "show", "-c", tailing.config, "-o", "json").out)["shop"]


def plan(done: Ended) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out)


def published(tailing: Tailing, topic: str) -> list[str]:
    return [record.header("event_id").decode() for record in tailing.kafka.read_committed(topic)]


def insert(tailing: Tailing, schema: str, *ids: int) -> None:
    tailing.server.run(*(f"INSERT INTO outbox(id, payload) VALUES ({n}, 'x')" for n in ids), schema=schema)


def test_back_and_ahead_by_place_and_gtids(tailing: Tailing, schema: str, topic: str):
    server = tailing.server
    server.run("FLUSH BINARY LOGS")  # a place is found by reading its file
    assert caught_up_here(tailing) is None
    insert(tailing, schema, 1, 2)
    start = place_of(server)
    gtids = server.run("SELECT @@gtid_executed" if server.kind == "mysql" else "SELECT @@gtid_binlog_pos")[0][0]
    server.run("FLUSH BINARY LOGS")
    insert(tailing, schema, 3, 4, 5)
    assert caught_up_here(tailing) is None
    before = shown(tailing)["checkpoint"]
    here = f"{start.file}:{start.position}"

    # without --yes nothing happens, and the numbers are right
    said = plan(put(tailing, here))
    assert said["repeated"] == {"transactions": 3, "rows": {f"{schema}.outbox": 3}, "complete": True}
    assert (said["skipped"]["transactions"], said["done"]) == (0, False)
    assert shown(tailing)["checkpoint"] == before

    # a place inside a transaction is none
    wrong = put(tailing, f"{start.file}:{start.position - 3}", "--yes")
    assert (wrong.code, wrong.out) == (2, "")
    assert here in wrong.err

    assert plan(put(tailing, here, "--yes"))["done"]
    now = shown(tailing)["checkpoint"]
    assert (now["file"], now["position"], now["released"]) == (start.file, start.position, True)
    assert now["last"]["position"] == start.position
    assert now["instance"].startswith("checkpoint-set#")
    assert caught_up_here(tailing) is None
    assert published(tailing, topic) == ["1", "2", "3", "4", "5", "3", "4", "5"]

    # the same place by its GTIDs, and again it is where the tailer goes on
    said = plan(put(tailing, gtids.replace("\n", ""), "--yes"))
    assert said["repeated"]["rows"] == {f"{schema}.outbox": 3}
    insert(tailing, schema, 6)
    said = plan(put(tailing, "latest", "--yes"))
    assert said["skipped"]["rows"] == {f"{schema}.outbox": 4}
    assert said["repeated"]["rows"] == {}
    insert(tailing, schema, 7)
    assert caught_up_here(tailing) is None
    assert published(tailing, topic)[8:] == ["7"]


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_an_instance_at_work_is_left_alone_unless_taken_over(tailing: Tailing, schema: str, topic: str):
    start = place_of(tailing.server)
    running = tailing.run()
    running.await_line("reading the log")
    insert(tailing, schema, 1, 2)
    tailing.kafka.await_records(topic, 2)
    here = f"{start.file}:{start.position}"
    refused = put(tailing, here, "--yes")
    assert refused.code == 1
    assert "test#" in refused.err
    assert "--take-over" in refused.err
    assert plan(put(tailing, here, "--yes", "--take-over"))["done"]
    # no restart: it finds itself fenced at its next commit, and goes on from there
    insert(tailing, schema, 3)
    tailing.kafka.await_records(topic, 5, seconds=60)
    assert running.stop() == 0
    assert published(tailing, topic) == ["1", "2", "1", "2", "3"]


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_a_killed_instance_is_waited_for_and_a_lost_checkpoint_is_made_anew(tailing: Tailing, schema: str, topic: str):
    assert caught_up_here(tailing) is None
    insert(tailing, schema, 1)
    running = tailing.run()
    tailing.kafka.await_records(topic, 1)
    running.kill()
    insert(tailing, schema, 10)
    done = put(tailing, "latest", "--yes")
    assert done.code == 0, done.err
    assert "waiting 7.5 s for a sign of life of instance test#" in done.err

    tailing.kafka.delete_topic(tailing.checkpoint_topic)
    lost = caught_up_here(tailing)
    assert isinstance(lost, CheckpointLost)
    assert "cdc checkpoint set" in (lost.hint or "")
    insert(tailing, schema, 2)
    said = plan(put(tailing, "latest", "--yes"))
    assert (said["now"], said["first_checkpoint"], said["done"]) == (None, True, True)
    insert(tailing, schema, 3)
    assert caught_up_here(tailing) is None
    assert shown(tailing)["genesis"]["start"].startswith("checkpoint set to ")
    assert published(tailing, topic) == ["1", "3"]


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_two_people_at_once(tailing: Tailing):
    tailing.server.run("FLUSH BINARY LOGS")
    head = f"{place_of(tailing.server).file}:4"
    assert caught_up_here(tailing) is None
    command = [CDC, "checkpoint", "set", "-c", tailing.config, "--yes", "-o", "json", "--to"]
    people = [
        subprocess.Popen([*map(str, command), to], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for to in (head, "latest", head)
    ]
    ended = [Ended(one.wait(120), *one.communicate()) for one in people]
    checkpoints = [
        json.loads(record.value)
        for record in tailing.kafka.read_committed(tailing.checkpoint_topic)
        if record.key == b"shop"
    ]
    written = [(one["file"], one["position"]) for one in checkpoints if one["instance"].startswith("checkpoint-set#")]
    done = [json.loads(one.out) for one in ended if one.code == 0]
    assert sorted(written) == sorted((d["then"]["file"], d["then"]["position"]) for d in done if d["done"])
    assert written, [one.err for one in ended]
    assert all(one.code in (0, 1) for one in ended), [one.err for one in ended]
    assert all("nothing was set" in one.err or "was not set" in one.err for one in ended if one.code == 1)


async def test_the_second_of_two_sets_nothing(kafka: Kafka):
    prefix = unique("p").replace("_", "")
    address = KafkaAddress((kafka.bootstrap,))
    one, two = (CheckpointSetter(address, "shop", prefix=prefix, takeover_after=1.0) for _ in range(2))
    places = [Position("mariadb", "1", "binlog.000001", n) for n in (4, 5, 6)]
    try:
        await one.set(places[0], await one.look(), tables=())
        seen = [await setter.look() for setter in (one, two)]
        await one.set(places[1], seen[0], tables=())
        with pytest.raises(StillAtWork, match="nothing was set"):
            await two.set(places[2], seen[1], tables=())
        now = await two.look()
        assert now.checkpoint is not None
        assert (now.checkpoint.position, now.checkpoint.instance) == (places[1], one.instance)
    finally:
        await asyncio.gather(one.close(), two.close())
        await asyncio.to_thread(kafka.delete_topic, f"{prefix}.checkpoint.shop")


async def test_a_log_that_cannot_be_read_is_said_and_the_table_is_asked(
    tmp_path: Path, kafka: Kafka, mysql: Database, topic: str
):
    prefix = unique("p").replace("_", "")
    with mysql.fresh_schema() as schema:
        mysql.run(ddl("mysql"), schema=schema)
        write = f"INSERT INTO outbox(event_name, topic, payload, created_at) VALUES ('a', '{topic}', 'x', %s)"
        mysql.run(
            write % "'2026-01-01 10:00:00'", write % "'2026-01-01 12:00:00'", write % "UTC_TIMESTAMP()", schema=schema
        )
        table = {f"{schema}.outbox": {"layout": "native"}}
        tailing = Tailing(tmp_path, mysql, kafka, "shop", table, prefix, start="latest")
        setter = CheckpointSetter(KafkaAddress((kafka.bootstrap,)), "shop", prefix=prefix)
        another = GtidSet.parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")
        at = int(datetime(2026, 1, 1, 11, tzinfo=UTC).timestamp())
        old = Position("mysql", "3e11fa47-71ca-11e1-9e33-c80aa9429562", "binlog.000001", 157, another, log_time=at)
        try:
            await setter.set(old, await setter.look(), tables=())
            said = plan(await asyncio.to_thread(put, tailing, "latest", "--yes"))
            assert not said["skipped"]["complete"]
            assert said["rows_in_tables_since"] == {f"{schema}.outbox": 2}
        finally:
            await setter.close()
            await asyncio.to_thread(kafka.delete_topic, tailing.checkpoint_topic)
