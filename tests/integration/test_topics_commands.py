"""`cdc topics` and `topics.create` on a real broker."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import ConfigResource, ResourceType

from cdc.cli.root import root
from cdc.kafka import KafkaAddress
from cdc.kafka.setting import CheckpointSetter
from cdc.outbox.table import ddl
from cdc.position import Position
from tests.running import Ended, Tailing
from tests.servers import Database, Kafka, unique


class Case:
    """A configuration whose source is never asked, and a file of shapes."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self.kafka, self.prefix, self.folder = kafka, unique("p").replace("_", ""), folder
        self.orders, self.bills = f"{self.prefix}-orders", f"{self.prefix}-bills"
        self.checkpoint, self.letters = f"{self.prefix}.checkpoint.shop", f"{self.prefix}.dead-letters"
        source = {"url": "mysql://cdc@127.0.0.1:1", "tables": {"shop.outbox": {"layout": "native"}}, "start": "latest"}
        whole = {
            "sources": {"shop": source},
            "kafka": {"bootstrap_servers": [kafka.bootstrap], "prefix": self.prefix},
            "routes": [{"topic": self.orders}],
        }
        (folder / "cdc.yaml").write_text(json.dumps(whole))
        self.shapes(partitions=2)

    def shapes(self, **bills: Any) -> None:
        (self.folder / "topics.yaml").write_text(json.dumps({"topics": {self.bills: bills}}))

    def cdc(self, command: str, *arguments: str, code: int = 0) -> Ended:
        files = ["-c", str(self.folder / "cdc.yaml"), "-f", str(self.folder / "topics.yaml"), "-o", "json"]
        done = CliRunner().invoke(root, ["topics", command, *files, *arguments], prog_name="cdc")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.stdout + done.stderr
        return Ended(done.exit_code, done.stdout, done.stderr)

    def settings(self, topic: str) -> dict[str, str]:
        [future] = self.kafka.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return {name: entry.value for name, entry in future.result(30).items()}

    @property
    def all(self) -> tuple[str, ...]:
        return self.orders, self.bills, self.checkpoint, self.letters


@pytest.fixture
def case(kafka: Kafka, tmp_path: Path) -> Iterator[Case]:
    made = Case(kafka, tmp_path)
    yield made
    kafka.delete_topic(*made.all)


def test_plan_and_apply(case: Case):
    planned = json.loads(case.cdc("plan", "--exit-code", code=3).out)
    assert [one["topic"] for one in planned["changes"]] == [case.checkpoint, case.letters, case.bills, case.orders]
    assert case.prefix not in " ".join(case.kafka.topics()), "a plan makes nothing"
    assert "--yes" in case.cdc("apply", code=2).err
    assert case.prefix not in " ".join(case.kafka.topics()), "nobody was asked"
    case.cdc("apply", "--yes")
    there = case.kafka.topics()
    assert [there[topic] for topic in case.all] == [6, 2, 1, 1]
    assert case.settings(case.checkpoint)["cleanup.policy"] == "compact"
    assert case.settings(case.letters)["retention.ms"] == "-1"
    case.cdc("plan", "--exit-code")

    # somebody's own setting stays when another one is changed
    case.shapes(partitions=4, settings={"retention.ms": 5000})
    case.kafka.delete_topic(case.bills)
    case.kafka.create_topic(case.bills, 2, {"segment.ms": "77777"})
    left = json.loads(case.cdc("apply", "--yes", code=1).out)
    assert [one["what"] for one in left["done"]] == ["retention.ms"]
    assert [one["what"] for one in left["left"]] == ["partitions"]
    now = case.settings(case.bills)
    assert (now["retention.ms"], now["segment.ms"]) == ("5000", "77777")
    case.cdc("apply", "--yes", "--grow")
    assert case.kafka.topics()[case.bills] == 4
    case.cdc("plan", "--exit-code")

    # what the broker refuses is said, and the rest is done
    case.shapes(settings={"retention.ms": "soon", "segment.ms": 88888})
    failed = case.cdc("apply", "--yes", code=1)
    assert "retention.ms" in failed.err
    assert case.settings(case.bills)["segment.ms"] == "88888"


async def test_a_lost_checkpoint_topic_is_not_made(case: Case):
    setter = CheckpointSetter(KafkaAddress((case.kafka.bootstrap,)), "shop", prefix=case.prefix)
    await setter.set(Position("mariadb", "1", "binlog.000001", 4), await setter.look(), tables=())
    await setter.close()
    case.kafka.delete_topic(case.checkpoint)
    done = await asyncio.to_thread(case.cdc, "apply", "--yes", code=1)
    [left] = json.loads(done.out)["left"]
    assert left["topic"] == case.checkpoint
    assert "cdc checkpoint set" in left["why_not"]
    assert case.checkpoint not in case.kafka.topics()


def test_the_tailer_makes_topics_or_says_what_is_missing(
    tmp_path: Path, kafka: Kafka, mysql: Database, new_topic: Callable[..., str]
):
    prefix, fixed = unique("p").replace("_", ""), unique("fixed")
    of_row = unique("of-row")
    with mysql.fresh_schema() as schema:
        mysql.run(ddl("mysql"), schema=schema)
        mysql.run(
            f"INSERT INTO outbox(event_name, topic, payload) VALUES ('a', '{of_row}', '1'), ('b', '{of_row}', '2')",
            schema=schema,
        )
        table = {f"{schema}.outbox": {"layout": "native"}}
        routes = [{"match": {"event_name": "b"}, "topic": fixed}]
        tailing = Tailing(tmp_path, mysql, kafka, "shop", table, prefix, start="snapshot", more={"routes": routes})
        try:
            refused = tailing.catch_up()
            assert refused.code == 1
            assert f"topic {fixed}, which routes lead to, does not exist" in refused.err
            assert "cdc topics apply" in refused.err
            tailing.more = {"routes": routes, "topics": {"create": "all", "partitions": 3}}
            assert tailing.catch_up().code == 0
            assert {topic: count for topic, count in kafka.topics().items() if topic in (fixed, of_row)} == {
                fixed: 3,
                of_row: 3,
            }
            assert [record.value for record in kafka.read_committed(of_row)] == [b"1"]
            assert [record.value for record in kafka.read_committed(fixed)] == [b"2"]
        finally:
            kafka.delete_topic(tailing.checkpoint_topic, fixed, of_row)
