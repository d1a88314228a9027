"""A row nobody takes, in the middle of a transaction of several, with kills in between; and one that only the broker refuses."""

import time

import pytest

from cdc.kafka.dead_letters import Collector
from cdc.outbox.table import ddl
from tests.integration.test_kafka_refusals import set_topic
from tests.running import Tailing
from tests.servers import unique

BIG = "x" * 5000


@pytest.fixture
def tailing(server, kafka, tmp_path):
    with server.fresh_schema() as schema:
        server.run(ddl(server.kind), schema=schema)
        prefix = unique("p").replace("_", "-")
        made = Tailing(
            tmp_path, server, kafka, "shop", {f"{schema}.outbox": {"layout": "native"}}, prefix, start="latest"
        )
        made.more = {"on_error": "dead_letter"}
        yield made
        here = set(kafka.topics())
        kafka.delete_topic(*here & {made.checkpoint_topic, f"{prefix}.dead-letters"})


def write(tailing, small, other):
    """Before, the transaction with the poison (its second row), after."""
    (table,) = tailing.tables

    def row(topic, payload, key="NULL"):
        return (
            f"INSERT INTO {table} (event_name, topic, event_key, payload) VALUES ('x', '{topic}', {key}, '{payload}')"
        )

    tailing.server.run(row(small, "before"))
    tailing.server.run("BEGIN", row(small, "1"), row(small, BIG, "x'00ff'"), row(other, "3"), "COMMIT")
    tailing.server.run(row(small, "after"))


def values(tailing, topic):
    return [r.value for r in tailing.kafka.read_committed(topic)]


def letters(tailing):
    collector = Collector()
    kept = tailing.kafka.read_committed(f"{tailing.prefix}.dead-letters")
    found = [collector.add(record.key, record.value, record.headers) for record in kept]
    assert not collector.torn
    assert not collector.unfinished
    return [letter for letter in found if letter is not None]


def test_it_is_kept_once_whenever_the_tailer_is_killed(tailing, new_topic):
    small, other = new_topic("small", configs={"max.message.bytes": "1000"}), new_topic("other")
    assert tailing.catch_up().code == 0
    write(tailing, small, other)
    for wait in (0.0, 0.3):  # while it works on it
        process = tailing.run()
        process.await_line("reading the log")
        time.sleep(wait)
        process.kill()
    ended = tailing.catch_up()
    assert ended.code == 0, ended.err
    assert (values(tailing, small), values(tailing, other)) == ([b"before", b"1", b"after"], [b"3"])
    [letter] = letters(tailing)
    assert (letter.value, letter.original_topic, letter.original_key) == (BIG.encode(), small, b"\x00\xff")
    assert (letter.source, letter.reason, letter.number) == ("shop", "record_too_large", 2)
    assert letter.row.get("payload") == BIG.encode()


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_what_only_the_broker_refuses_is_found_and_kept(tailing, new_topic):
    """The topic's limit is known and fresh when it is lowered: so the broker refuses a batch, and one of it is named."""
    small, other = new_topic("small"), new_topic("other")
    process = tailing.run()
    process.await_line("reading the log")
    (table,) = tailing.tables
    tailing.server.run(f"INSERT INTO {table} (event_name, topic, payload) VALUES ('x', '{small}', 'first')")
    tailing.kafka.await_records(small, 1)
    set_topic(tailing.kafka, small, max_message_bytes="1000")
    write(tailing, small, other)
    tailing.kafka.await_records(small, 4)
    assert process.stop() == 0
    assert (values(tailing, small), values(tailing, other)) == ([b"first", b"before", b"1", b"after"], [b"3"])
    assert [letter.value for letter in letters(tailing)] == [BIG.encode()]


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_a_topic_that_cannot_keep_letters_is_known_at_the_start(tailing):
    tailing.kafka.create_topic(f"{tailing.prefix}.dead-letters", 1, {"cleanup.policy": "compact"})
    ended = tailing.catch_up()
    assert ended.code == 6, ended.err
    assert "compacted" in ended.err
