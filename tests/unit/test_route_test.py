"""`cdc route test` without servers: made-up rows and files, what is printed, and how it ends."""

import json

import pytest
import yaml
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.routing.partitioner import murmur2

CONFIG = {
    "sources": {
        "shop": {
            "url": "mysql://root@127.0.0.1:1",
            "start": "latest",
            "tables": {
                "shop.outbox": {"layout": "native"},
                "shop.old": {"layout": "debezium", "router": {"table.fields.additional.placement": "shard:partition"}},
            },
        }
    },
    "kafka": {"bootstrap_servers": ["127.0.0.1:1"]},
    "routes": [
        {"match": {"event_name": "user.*"}, "topic": "users", "on_error": "skip"},
        {
            "match": {"event_name": "order.*", "topic": "orders"},
            "topic": "{topic}.v1",
            "key": "$.customer_id",
            "headers": {"add": {"tenant": "{tenant}"}},
            "on_error": "dead_letter",
        },
        {"match": {"event_name": "job.*"}, "key": "tenant", "key_missing": None, "partition": "shard"},
    ],
    "unrouted": "skip",
}


@pytest.fixture
def run(tmp_path):
    config = tmp_path / "cdc.yaml"
    config.write_text(json.dumps(CONFIG))

    def run(*arguments, table="shop.outbox", more=("--partitions", "6"), text=None):
        chosen = ["--table", table] if table else []
        words = ["route", "test", "-c", str(config), *chosen, *more, *arguments]
        return CliRunner().invoke(root, words, input=text)

    return run


@pytest.fixture
def one(run):
    def one(*arguments, **more):
        ended = run("-o", "json", *arguments, **more)
        (found,) = json.loads(ended.stdout)
        assert ended.exit_code == (1 if found["refused"] else 0)
        return found

    return one


def test_a_made_up_row(one):
    found = one(
        "--event-name", "order.created", "--topic", "orders", "--column", 'payload={"customer_id": 7}',
        "--column", "tenant=t1",
    )  # fmt: skip
    assert (found["outcome"], found["route"], found["topic"], found["key"]) == ("record", 1, "orders.v1", "7")
    assert found["partition"] == (murmur2(b"7") & 0x7FFFFFFF) % 6
    assert found["headers"][0] == ["event_id", "00000000-0000-0000-0000-000000000000"]
    assert found["headers"][-1] == ["tenant", "t1"]
    assert found["value"] == '{"customer_id": 7}'
    assert found["why"] == [
        "routes[0] does not: event name 'order.created' is not like user.*",
        "routes[1] matches event name 'order.created' (order.*) and topic 'orders' (orders)",
        "topic: by the template {topic}.v1",
        "key: the row has none, so from $.customer_id in the payload",
        "partition: by murmur2 of the key",
    ]


@pytest.mark.parametrize(
    ("columns", "key", "partition", "why"),
    [
        (["shard=3", "event_key=own", "tenant=t"], "own", 3, ["key: the row's own", "partition: what column shard says"]),
        (["tenant=t"], "t", (murmur2(b"t") & 0x7FFFFFFF) % 6, ["key: the row has none, so from column tenant"]),
        ([], None, None, ["partition: any, for there is no key: such records are spread", "key_missing is null"]),
    ],
)  # fmt: skip
def test_where_key_and_partition_come_from(one, columns, key, partition, why):
    found = one("--event-name", "job.run", "--topic", "jobs", *(f"--column={column}" for column in columns))
    assert (found["key"], found["partition"], found["route"]) == (key, partition, 2)
    assert all(any(text in sentence for sentence in found["why"]) for text in why), found["why"]


def test_refused_passed_over_and_by_which_policy(one, run):
    parked = one("--event-name", "order.x", "--topic", "orders", "--column", "payload={}")
    assert (parked["outcome"], parked["refused"]["reason"]) == ("dead_letter", "key_missing")
    assert parked["refused"]["hint"]
    stopped = one("--event-name", "job.x", "--topic", "cdc.dead-letters")
    assert (stopped["outcome"], stopped["refused"]["error"]) == ("stop", "TopicNotAllowed")
    far = one("--event-name", "job.x", "--topic", "t", "--column", "shard=6")
    assert far["refused"]["reason"] == "partition_invalid"
    nobody = one("--event-name", "nobody", "--topic", "t")
    assert (nobody["outcome"], nobody["route"], nobody["topic"]) == ("passed over", None, None)
    assert nobody["why"][-1] == "no route matches, and unrouted is skip"
    shown = run("--event-name", "order.x", "--topic", "orders", "--column", "payload={}").stdout
    assert "key_missing: dead_letter" in shown
    assert "hint" in shown


def test_the_debezium_layout(one):
    found = one("--event-name", "job.a", "--topic", "orders", "--column", "shard=2", table="shop.old")
    assert (found["topic"], found["partition"]) == ("outbox.event.orders", 2)
    assert "topic: by route.topic.regex and route.topic.replacement of the table's router" in found["why"]
    assert found["headers"] == [["id", "00000000-0000-0000-0000-000000000000"]]


LINES = [
    {"event_id": {"b64": "AZLzpAAAcACAAAAAAAAAAQ=="}, "event_name": "job.a", "topic": "t", "payload": {"a": 1},
     "shard": 1, "tenant": "x", "headers": {"traceparent": "00-1"}},
    {"gtid": None, "rows": [
        {"table": "shop.old", "columns": {"id": "i", "type": "job.b", "aggregatetype": "u", "payload": None, "tenant": 5,
                                          "shard": None, "aggregateid": "k"}},
        {"table": "shop.outbox", "columns": {"event_id": "i", "event_name": "job.c", "topic": "", "payload": "p"}},
    ]},
]  # fmt: skip


def test_a_file_of_both_kinds_of_lines(run):
    text = "\n".join(map(json.dumps, LINES)) + "\n\n"
    ended = run("--file", "-", "-o", "yaml", text=text)
    first, second, third = yaml.safe_load(ended.stdout)
    assert ended.exit_code == 1
    assert (first["topic"], first["partition"], first["value"]) == ("t", 1, '{"a": 1}')
    assert first["headers"][-1] == ["traceparent", "00-1"]
    assert (second["table"], second["topic"], second["value"]) == ("shop.old", "outbox.event.u", None)
    assert third["refused"]["reason"] == "partition_invalid", "its row has no such column"


@pytest.mark.parametrize(
    "line", ["{", "[1]", b'{"a": "\xff"}', '{"rows": [1]}', '{"table": "x", "columns": {}}', '{"a": {"b64": "?"}}']
)
def test_a_line_that_is_none(run, line):
    ended = run("--file", "-", text=b"\n" + (line if isinstance(line, bytes) else line.encode()))
    assert ended.exit_code == 2
    assert "line 2" in ended.stderr
    assert "hint" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which rows"),
        (["--event-name", "x", "--last", "3"], "say which rows"),
        (["--column", "payload"], "write NAME=VALUE"),
        (["--event-name", "x", "--column", "event_name=y"], "given twice"),
    ],
)
def test_usage(run, arguments, said):
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_which_table_is_meant(run):
    several = run("--event-name", "x", table=None)
    assert (several.exit_code, "several tables may be meant" in several.stderr) == (2, True)
    assert "shop.outbox of shop, shop.old of shop" in several.stderr
    assert run("--event-name", "x", table="shop.none").exit_code == 2
    unknown = run("--source", "nowhere", "--event-name", "x", table=None)
    assert "there is no source 'nowhere'" in unknown.stderr
    assert run("--event-name", "x", "--column", "event_key=1", table="shop.old").exit_code == 0
    nothing = run("--event-name", "x", "--column", "content_type=1", table="shop.old")
    assert (nothing.exit_code, "'content_type' is nothing that layout debezium" in nothing.stderr) == (2, True)


def test_bytes_that_are_no_text(one, run):
    assert one("--event-name", "job.x", "--topic", "t", "--column", "payload=\udcff")["value"] == {"b64": "/w=="}
    ended = run("--event-name", "job.\udcff", "--topic", "t")
    assert (ended.exit_code, "is no text in UTF-8" in ended.stderr) == (2, True)
